"""Writer, reader and flight recorder against real files."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from scheduler.core.events import EngineLoaded, ModelRegistered, ModelRemoved, TimerFired
from scheduler.core.model import ModelSpec
from scheduler.core.settings import PoolBudget, Settings
from scheduler.trace.flight import FlightRecorder
from scheduler.trace.header import Header
from scheduler.trace.line import TraceError, encode_header, encode_record
from scheduler.trace.reader import read_trace
from scheduler.trace.record import Record
from scheduler.trace.writer import TraceWriter

if TYPE_CHECKING:
    from pathlib import Path

HEADER = Header(
    node="rover-1",
    started_at="2026-01-02T03:04:05+00:00",
    started_ns=1_000,
    settings=Settings(pools={"unified": PoolBudget(budget_bytes=420)}),
)


def step(sequence: int, event=None) -> Record:
    return Record(sequence, sequence * 10, event or TimerFired(), (), {"unified": sequence})


def write(path: Path, *lines: bytes) -> None:
    path.write_bytes(encode_header(HEADER) + b"".join(lines))


def test_what_was_observed_is_read_back_in_order(tmp_path):
    steps = [step(number) for number in range(1, 5_001)]
    with TraceWriter(tmp_path / "t.jsonl", HEADER) as writer:
        for record in steps:
            writer.observe(record)
    header, records = read_trace(tmp_path / "t.jsonl")
    assert header == HEADER
    assert list(records) == steps
    assert records.warnings == []
    assert writer.lost == 0


def test_records_reach_the_file_while_the_run_goes_on(tmp_path):
    path = tmp_path / "t.jsonl"
    with TraceWriter(path, HEADER) as writer:
        writer.observe(step(1))
        written = threading.Event()
        for _ in range(500):
            if path.read_bytes().count(b"\n") == 2:
                written.set()
                break
            written.wait(0.01)
        assert written.is_set()
        assert list(read_trace(path)[1]) == [step(1)]


def test_a_slow_disk_costs_records_and_says_so(tmp_path):
    writer = TraceWriter(tmp_path / "t.jsonl", HEADER, limit_lines=0)
    writer.observe(step(1))
    writer.observe(step(2))
    assert writer.lost == 2
    with pytest.raises(TraceError, match="too slow and 2 records were lost"):
        writer.close()
    assert list(read_trace(tmp_path / "t.jsonl")[1]) == []


def test_a_disk_that_is_full_from_the_start_is_an_error_at_once():
    with pytest.raises(OSError, match="No space left"):
        TraceWriter("/dev/full", HEADER)


def test_a_file_that_fails_later_ends_the_trace_and_not_the_robot(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = TraceWriter(pipe, HEADER)
    os.close(reader)
    writer.observe(step(1))
    writer._thread.join(10)
    assert isinstance(writer.error, BrokenPipeError)
    writer.observe(step(2))
    with pytest.raises(TraceError, match=r"/pipe: Broken pipe; .* 2 records were lost\. Free"):
        writer.close()
    assert writer.lost == 2


def test_an_error_of_the_caller_is_not_hidden_by_a_lost_record(tmp_path):
    writer = TraceWriter(tmp_path / "t", HEADER, limit_lines=0)
    writer.observe(step(1))
    writer.__exit__(KeyError, KeyError(), None)
    assert not writer._thread.is_alive()
    assert writer.lost == 1


def test_a_path_that_cannot_be_opened_is_an_error_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        TraceWriter(tmp_path / "absent" / "t.jsonl", HEADER)


def test_a_cut_off_last_line_is_left_out_with_a_warning(tmp_path):
    write(tmp_path / "t", encode_record(step(1)), encode_record(step(2))[:-20])
    _, records = read_trace(tmp_path / "t")
    assert list(records) == [step(1)]
    assert records.warnings == [f"{tmp_path / 't'}:3: the last line is cut off and was left out"]


def test_a_corrupt_line_in_the_middle_is_an_error_with_its_place(tmp_path):
    write(tmp_path / "t", encode_record(step(1)), b"{}\n", encode_record(step(3)))
    _, records = read_trace(tmp_path / "t")
    reading = iter(records)
    assert next(reading) == step(1)
    with pytest.raises(TraceError, match=r"/t:3: .*missing required field `seq`"):
        next(reading)


def test_a_gap_is_a_warning(tmp_path):
    write(tmp_path / "t", *(encode_record(step(number)) for number in (1, 2, 6)))
    _, records = read_trace(tmp_path / "t")
    assert [record.sequence for record in records] == [1, 2, 6]
    assert records.warnings == [f"{tmp_path / 't'}:4: records 3 to 5 are missing"]


def test_records_out_of_order_are_an_error(tmp_path):
    write(tmp_path / "t", encode_record(step(2)), encode_record(step(2)))
    with pytest.raises(TraceError, match="record 2 comes after record 2"):
        list(read_trace(tmp_path / "t")[1])


def test_records_can_be_read_twice(tmp_path):
    write(tmp_path / "t", encode_record(step(1)), encode_record(step(3)))
    _, records = read_trace(tmp_path / "t")
    assert list(records) == list(records)
    assert len(records.warnings) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "is empty"), (b"\n", ":1: the first line is not"), (b"\x00" * 50, ":1: the first line")],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path, content, says):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(TraceError, match=says):
        read_trace(tmp_path / "t")


def test_the_flight_recorder_keeps_the_last_records_and_dumps_a_trace(tmp_path):
    flight = FlightRecorder(HEADER, limit=3)
    for number in range(1, 11):
        flight.observe(step(number))
    assert len(flight) == 3
    flight.dump(tmp_path / "t")
    header, records = read_trace(tmp_path / "t")
    assert header == HEADER
    assert list(records) == [step(8), step(9), step(10)]
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_the_flight_recorder_remembers_how_present_models_were_registered(tmp_path):
    registered = step(1, ModelRegistered(ModelSpec(name="slam", footprint={})))
    gone = step(2, ModelRegistered(ModelSpec(name="text", footprint={})))
    recent = step(5, ModelRegistered(ModelSpec(name="faces", footprint={})))
    rest = [step(3, ModelRemoved("text")), step(4, EngineLoaded("slam", 1)), recent]
    flight = FlightRecorder(HEADER, limit=2)
    for record in (registered, gone, *rest):
        flight.observe(record)
    flight.dump(tmp_path / "t")
    _, records = read_trace(tmp_path / "t")
    assert list(records) == [registered, rest[1], recent]
    assert records.warnings == [f"{tmp_path / 't'}:3: records 2 to 3 are missing"]


def test_a_failed_dump_leaves_the_old_file(tmp_path):
    path = tmp_path / "t"
    path.write_text("old")
    flight = FlightRecorder(HEADER)
    flight.observe(Record(1, 1, object(), (), {}))
    with pytest.raises(NotImplementedError):
        flight.dump(path)
    assert path.read_text() == "old"
