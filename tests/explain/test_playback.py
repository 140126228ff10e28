from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from msgspec import structs

from scheduler.core.decisions import FinishRequest
from scheduler.core.events import RequestArrived
from scheduler.explain.playback import IncompleteTraceError, Playback, compare
from scheduler.explain.weighing import Listener
from scheduler.trace.header import Header
from scheduler.trace.line import TraceError, decode_record, encode_record
from scheduler.trace.record import Record

Recorded = Callable[..., tuple[Header, list[Record]]]


@pytest.mark.parametrize("policy", ["rota", "fifo", "lock"])
def test_a_run_decides_the_same_again(recorded: Recorded, policy: str) -> None:
    header, records = recorded(policy=policy)
    assert len(records) > 500
    comparison = compare(header.settings, records)
    assert comparison.difference is None
    assert comparison.steps == len(records)


def test_what_was_written_and_read_decides_the_same_again(recorded: Recorded) -> None:
    header, records = recorded(seconds=3)
    read = [decode_record(encode_record(record)) for record in records]
    assert compare(header.settings, read).difference is None


def test_the_first_decision_that_differs_is_found_and_nothing_after_it_is_read(
    recorded: Recorded,
) -> None:
    header, records = recorded(seconds=3)
    at = next(
        i for i, r in enumerate(records) if any(isinstance(d, FinishRequest) for d in r.decisions)
    )
    kept = tuple(d for d in records[at].decisions if not isinstance(d, FinishRequest))
    records[at] = structs.replace(records[at], decisions=kept)

    def until_the_difference() -> Iterator[Record]:
        yield from records[: at + 1]
        pytest.fail("it read on")

    comparison = compare(header.settings, until_the_difference())
    assert comparison.steps == at + 1
    assert comparison.difference is not None
    assert comparison.difference.record is records[at]
    assert any(isinstance(d, FinishRequest) for d in comparison.difference.decisions)


def test_reserved_bytes_that_differ_are_found(recorded: Recorded) -> None:
    header, records = recorded(seconds=1)
    at = len(records) // 2
    less = {pool: amount - 1 for pool, amount in records[at].reserved_bytes.items()}
    records[at] = structs.replace(records[at], reserved_bytes=less)
    difference = compare(header.settings, records).difference
    assert difference is not None
    assert difference.record.sequence == at + 1
    assert difference.decisions == records[at].decisions
    assert difference.reserved_bytes == {pool: amount + 1 for pool, amount in less.items()}


def test_other_settings_decide_otherwise(recorded: Recorded) -> None:
    header, records = recorded(seconds=2)
    assert compare(replace(header.settings, policy="fifo"), records).difference is not None


def test_an_event_that_no_run_ever_had_is_a_difference_and_no_crash(recorded: Recorded) -> None:
    header, records = recorded(seconds=1)
    at = next(i for i, r in enumerate(records) if isinstance(r.event, RequestArrived))
    records[at + 1] = structs.replace(records[at], sequence=at + 2, at_ns=records[at].at_ns)
    difference = compare(header.settings, records).difference
    assert difference is not None
    assert "arrived twice" in difference.error


def test_a_trace_that_begins_in_the_middle_is_not_replayed(recorded: Recorded) -> None:
    header, records = recorded(seconds=1)
    with pytest.raises(IncompleteTraceError, match=r"does not begin at the start.*record 11"):
        compare(header.settings, records[10:])


def test_a_gap_is_named(recorded: Recorded) -> None:
    header, records = recorded(seconds=1)
    with pytest.raises(IncompleteTraceError, match="records 21 to 23 are missing"):
        compare(header.settings, [*records[:20], *records[23:]])


def test_a_policy_of_another_version_is_named(recorded: Recorded) -> None:
    header, _ = recorded(seconds=1)
    with pytest.raises(TraceError, match="'astrology', and this Rota has rota, fifo, lock"):
        Playback(replace(header.settings, policy="astrology"))


def test_a_witness_changes_nothing(recorded: Recorded) -> None:
    header, records = recorded()
    listener = Listener(90)
    playback = Playback(header.settings, listener)
    assert all(playback.step(record) is None for record in records)
