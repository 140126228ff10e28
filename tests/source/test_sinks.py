import errno
import io
import json
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from scheduler.config.sink import SinkConfig
from scheduler.core.outcome import Outcome
from scheduler.errors import ConfigError
from scheduler.sink.console import ConsoleSink
from scheduler.sink.jsonl import JsonlSink
from scheduler.sink.outlets import build_sinks
from scheduler.sink.plain import LIST_ELEMENTS, Plain
from scheduler.sink.sink import Outlet, Sink
from scheduler.source.answer import Answer
from scheduler.source.source import Frame


def answer(result=None, *, model="faces", outcome=Outcome.COMPLETED, detail="", **frame):
    return Answer(
        source="camera",
        model=model,
        sequence=3,
        frame=Frame(None, **frame),
        outcome=outcome,
        result=result,
        detail=detail,
        latency_ns=12_345_678,
    )


def strict(text):
    """Parse as strict JSON does: no NaN, no Infinity."""

    def refuse(word):
        raise ValueError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def written(tmp_path, *answers):
    sink = JsonlSink(tmp_path / "out.jsonl")
    for each in answers:
        sink.write(each)
    sink.close()
    sink.close()
    return [strict(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]


def test_a_line_says_who_when_how_long_and_what(tmp_path):
    (line,) = written(tmp_path, answer({"faces": 2}, stamp_ns=1_500_000_000))
    assert line == {
        "model": "faces",
        "source": "camera",
        "sequence": 3,
        "stamp_s": 1.5,
        "latency_ms": 12.345678,
        "outcome": "completed",
        "result": {"faces": 2},
    }


def test_a_failure_has_its_reason_and_a_gap_its_flag(tmp_path):
    (line,) = written(tmp_path, answer(outcome=Outcome.REJECTED, detail="queue full", gap=True))
    assert (line["outcome"], line["reason"], line["gap"]) == ("rejected", "queue full", True)
    assert "result" not in line
    assert line["stamp_s"] is None


class Colour(Enum):
    RED = "red"


@dataclass
class Box:
    x: float
    scores: tuple


class Pose(BaseModel):
    heading: float


@pytest.mark.parametrize(
    ("value", "plain", "non_finite"),
    [
        (float("nan"), None, True),
        ([1.0, float("inf"), -float("inf")], [1.0, None, None], True),
        (np.float32("nan"), None, True),
        (np.array([1.5, np.nan]), [1.5, None], True),
        (np.float32(0.5), 0.5, False),
        (np.int64(7), 7, False),
        (np.bool_(True), True, False),
        (np.zeros((2, 2), np.uint8), [[0, 0], [0, 0]], False),
        (np.zeros((480, 640, 3), np.uint8), {"dtype": "uint8", "shape": [480, 640, 3]}, False),
        (np.array([1j]), {"dtype": "complex128", "shape": [1]}, False),
        (np.array([None]), {"dtype": "object", "shape": [1]}, False),
        (b"\x00\xff", {"type": "bytes", "length": 2}, False),
        ((1, {2}), [1, [2]], False),
        ({1: "a", None: "b"}, {"1": "a", "None": "b"}, False),
        (Box(1.0, (0.5,)), {"x": 1.0, "scores": [0.5]}, False),
        (Pose(heading=1.5), {"heading": 1.5}, False),
        (Colour.RED, "red", False),
        (2**80, hex(2**80), False),
        ("\ud800", "\ud800", False),
        ([0] * (LIST_ELEMENTS + 1), {"type": "list", "length": LIST_ELEMENTS + 1}, False),
        (True, True, False),
        (None, None, False),
    ],
)
def test_each_kind_of_value_has_one_plain_form(tmp_path, value, plain, non_finite):
    made = Plain()
    assert made.value(value) == plain
    assert made.non_finite is non_finite
    (line,) = written(tmp_path, answer(value))
    assert line["result"] == plain
    assert line.get("non_finite", False) is non_finite


def test_a_circle_and_a_broken_repr_end():
    class Broken:
        def __repr__(self):
            raise RuntimeError

    circle = []
    circle.append(circle)
    assert "list" in json.dumps(Plain().value(circle))
    assert Plain().value(Broken()) == "<Broken>"


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.complex_numbers()
    | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=5)
        | st.tuples(inner, inner)
    ),
)


@given(anything)
def test_any_result_becomes_strict_json(value):
    strict(json.dumps(Plain().value(value), allow_nan=False))


def test_a_console_line_is_one_line_and_readable():
    stream = io.StringIO()
    sink = ConsoleSink(stream)
    sink.write(answer({"boxes": np.zeros((3, 4), np.float32), "score": 0.123456, "text": "a\nb"}))
    sink.write(answer(outcome=Outcome.DEADLINE_MISSED, detail="too\nlate"))
    first, second = stream.getvalue().splitlines()
    assert "faces" in first
    assert "12.3 ms" in first
    assert "float32 (3, 4)" in first
    assert "0.1235" in first
    assert second.endswith("deadline_missed: too late")


def test_a_huge_result_stays_a_short_line():
    stream = io.StringIO()
    ConsoleSink(stream).write(answer([["word" * 100] * 100] * 100))
    assert "wordword" in stream.getvalue()
    assert len(stream.getvalue()) < 300


class Full(Sink):
    """A disk with room for one line."""

    def __init__(self):
        self.lines, self.closed = 0, 0

    def write(self, _answer):
        if self.lines:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.lines += 1

    def close(self):
        self.closed += 1
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_sink_that_fails_is_off_with_one_message_and_the_run_goes_on(caplog):
    outlet = Outlet("log", Full())
    for _ in range(5):
        outlet.take(answer())
    outlet.close()
    assert (outlet.written, outlet.lost) == (1, 4)
    assert "No space left" in outlet.failed_by
    assert len(caplog.records) == 1


def test_a_really_full_device_is_noticed():
    outlet = Outlet("log", JsonlSink.__new__(JsonlSink))
    outlet._sink._file = open("/dev/full", "w", encoding="utf-8")  # noqa: PTH123, SIM115
    outlet.take(answer())
    assert "No space left" in outlet.failed_by


def test_a_sink_takes_its_models_and_no_dropped_frames():
    sink = Full()
    outlet = Outlet("log", sink, ["faces"])
    outlet.take(answer(model="words"))
    outlet.take(answer(outcome=None, detail="dropped"))
    assert sink.lines == 0
    outlet.take(answer())
    assert sink.lines == 1


def sinks(**targets):
    return {name: SinkConfig.model_validate({"to": to}) for name, to in targets.items()}


def test_two_sinks_on_one_file_and_an_unwritable_one_are_mistakes(tmp_path):
    (tmp_path / "folder").mkdir()
    file = f"jsonl:{tmp_path}/a.jsonl"
    with pytest.raises(ConfigError) as caught:
        build_sinks(sinks(one=file, two=file, three=f"jsonl:{tmp_path}/folder"))
    two, three = caught.value.mistakes
    assert two.startswith("sinks.two.to: sink one writes")
    assert three.startswith("sinks.three.to:")


def test_the_console_is_a_sink(capsys):
    (outlet,) = build_sinks(sinks(screen="console"))
    outlet.take(answer("hello"))
    outlet.close()
    assert "'hello'" in capsys.readouterr().out
