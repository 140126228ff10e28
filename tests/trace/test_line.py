"""Encoding and decoding: nothing is lost, and nothing but a trace is taken for one."""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from scheduler.core.decisions import Decision, EngineRef, FinishRequest, GrantLease, RaiseAlarm
from scheduler.core.events import (
    EngineLoadFailed,
    Event,
    Measurement,
    ModelRegistered,
    RequestArrived,
    TimerFired,
)
from scheduler.core.mode import Mode
from scheduler.core.model import Form, ModelSpec, PoolFootprint
from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.core.request import Request
from scheduler.core.settings import PoolBudget, Settings
from scheduler.trace.header import Header
from scheduler.trace.line import (
    LARGEST_INT,
    TraceError,
    decode_header,
    decode_record,
    encode_header,
    encode_record,
)
from scheduler.trace.record import Record

EVENTS = get_args(Event)
DECISIONS = get_args(Decision)
NESTED = (
    Request, Mode, PoolFootprint, Form, ModelSpec, Reason, EngineRef, Measurement, PoolBudget,
    Settings,
)  # fmt: skip
"""Each before those that have it: what is not known yet is built with the defaults it has."""


def every_field(cls):
    """Build `cls` with every field drawn, those with a default as well."""
    hints = get_type_hints(cls)
    return st.builds(cls, **{name: st.from_type(hints[name]) for name in names_of(cls)})


def names_of(cls):
    return cls.__struct_fields__ if issubclass(cls, Struct) else [f.name for f in fields(cls)]


st.register_type_strategy(int, st.integers(-LARGEST_INT, LARGEST_INT))
for nested in NESTED:
    st.register_type_strategy(nested, every_field(nested))


def some(classes):
    """A value of any of `classes`, with every field drawn, or with its defaults."""
    return st.one_of([every_field(cls) for cls in classes] + [st.builds(cls) for cls in classes])


RECORDS = st.builds(
    Record,
    sequence=st.integers(0, LARGEST_INT),
    at_ns=st.from_type(int),
    event=some(EVENTS),
    decisions=st.lists(some(DECISIONS), max_size=3).map(tuple),
    reserved_bytes=st.dictionaries(st.text(), st.from_type(int)),
)
HEADERS = st.builds(
    Header,
    node=st.text(),
    started_at=st.text(),
    started_ns=st.from_type(int),
    settings=every_field(Settings),
)


@given(RECORDS)
def test_every_record_comes_back_equal(record):
    line = encode_record(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_record(line) == record


@pytest.mark.parametrize("cls", EVENTS, ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_every_event_comes_back_with_its_own_type(cls, data):
    record = Record(1, 2, data.draw(every_field(cls)), (), {})
    back = decode_record(encode_record(record)).event
    assert type(back) is cls
    assert back == record.event
    assert _types(back) == _types(record.event)


@pytest.mark.parametrize("cls", DECISIONS, ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_every_decision_comes_back_with_its_own_type(cls, data):
    record = Record(1, 2, TimerFired(), (data.draw(every_field(cls)),), {})
    (back,) = decode_record(encode_record(record)).decisions
    assert type(back) is cls
    assert back == record.decisions[0]
    assert _types(back) == _types(record.decisions[0])


def _types(value):
    """The shape of a value in types alone: str enums equal their text, so == does not tell."""
    if is_dataclass(value) or isinstance(value, Struct):
        return type(value), [_types(getattr(value, name)) for name in names_of(type(value))]
    if isinstance(value, Mapping):
        return {key: _types(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_types(part) for part in value)
    return type(value)


@given(HEADERS)
def test_every_header_comes_back_equal(header):
    assert decode_header(encode_header(header)) == header


def test_a_none_that_differs_from_the_default_is_kept():
    spec = ModelSpec(name="slam", footprint={}, keep_alive_ns=None)
    assert ModelSpec(name="slam", footprint={}).keep_alive_ns is not None
    record = Record(1, 2, ModelRegistered(spec), (RaiseAlarm(None, Reason(ReasonCode.LEAK)),), {})
    assert decode_record(encode_record(record)) == record


def test_a_record_reads_as_documented():
    record = Record(
        7, 99, RequestArrived(Request(id=3, models=("faces",))),
        (FinishRequest(3, Outcome.COMPLETED),), {"unified": 5},
    )  # fmt: skip
    assert json.loads(encode_record(record)) == {
        "seq": 7,
        "at_ns": 99,
        "event": {"type": "RequestArrived", "request": {"id": 3, "models": ["faces"]}},
        "decisions": [{"type": "FinishRequest", "request_id": 3, "outcome": "completed"}],
        "reserved_bytes": {"unified": 5},
    }


def test_groups_are_written_in_one_order_whatever_the_hash_seed():
    groups = frozenset(f"group{number}" for number in range(20))
    spec = ModelSpec(name="a", footprint={}, exclusive=groups)
    plain = json.loads(encode_record(Record(1, 2, ModelRegistered(spec), (), {})))
    assert plain["event"]["spec"]["exclusive"] == sorted(groups)


@pytest.mark.parametrize("mapping", [MappingProxyType, ChainMap])
def test_other_mappings_than_dicts_are_written_too(mapping):
    footprint = mapping({"unified": PoolFootprint(resident_bytes=5)})
    record = Record(1, 2, ModelRegistered(ModelSpec(name="a", footprint=footprint)), (), {})
    back = decode_record(encode_record(record)).event
    assert back.spec.footprint == {"unified": PoolFootprint(resident_bytes=5)}


def test_broken_text_deep_inside_is_written_escaped_too():
    ref = EngineRef("m\udcff", 1)
    record = Record(1, 2, TimerFired(), (GrantLease(1, (ref,), ()),), {})
    (back,) = decode_record(encode_record(record)).decisions
    assert back.engines == (EngineRef("m\\udcff", 1),)


def test_text_that_is_not_unicode_is_written_escaped_instead_of_stopping_the_trace():
    record = Record(1, 2, EngineLoadFailed("faces", 1, "no file \udcff.onnx"), (), {})
    back = decode_record(encode_record(record)).event
    assert back == EngineLoadFailed("faces", 1, "no file \\udcff.onnx")


@given(st.binary() | st.text().map(str.encode))
def test_anything_else_is_refused_with_a_sentence(line):
    for decode in (decode_record, decode_header):
        with pytest.raises(TraceError, match=r"\w"):
            decode(line)


@given(RECORDS, st.data())
def test_a_line_cut_anywhere_is_refused(record, data):
    line = encode_record(record)
    cut = data.draw(st.integers(0, len(line) - 2))
    with pytest.raises(TraceError):
        decode_record(line[:cut])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seq": "7"}, "seq"),
        ({"seq": True}, "seq"),
        ({"event": {"type": "Exploded"}}, "Exploded"),
        ({"event": {"request_id": 1}}, "event"),
        ({"event": {"type": "RequestCancelled"}}, "request_id"),
        ({"decisions": [{"type": "TimerFired"}]}, r"decisions\[0\]"),
        ({"reserved_bytes": None}, "reserved_bytes"),
    ],
)
def test_a_wrong_field_is_named(change, says):
    plain = {
        "seq": 7,
        "at_ns": 9,
        "event": {"type": "TimerFired"},
        "decisions": [],
        "reserved_bytes": {},
    }
    assert decode_record(json.dumps(plain).encode()).sequence == 7
    with pytest.raises(TraceError, match=says):
        decode_record(json.dumps(plain | change).encode())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "version 2.*reads 1"),
        ({"format": "otf"}, "'otf'"),
        ({"node": None}, "node"),
    ],
)
def test_a_header_of_something_else_is_refused(change, says):
    header = Header(node="r", started_at="", started_ns=0, settings=Settings(pools={}))
    plain = json.loads(encode_header(header))
    assert decode_header(json.dumps(plain).encode()) == header
    with pytest.raises(TraceError, match=says):
        decode_header(json.dumps(plain | change).encode())
