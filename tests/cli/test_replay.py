"""`rota replay`, `rota explain` and `rota plan` as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from scheduler.cli.app import app

ROTA = [sys.executable, "-m", "scheduler"]
TWO = """
memory: {budget: 100MiB, sample: 50ms}
models:
  a: {engine: synthetic, options: {load: 50ms, infer: 5ms, memory: 40MiB}, footprint: 48MiB}
  b: {engine: synthetic, options: {load: 50ms, infer: 5ms, memory: 60MiB}, footprint: 68MiB}
sources:
  x: {model: a, from: synthetic, rate: 10Hz}
  y: {model: b, from: synthetic, rate: 10Hz, deadline: 40ms}
"""
Write = Callable[..., Path]


def rota(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path: Path) -> Write:
    def write(text: str = TWO) -> Path:
        path = tmp_path / "robot.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def trace(tmp_path: Path, config: Write) -> Path:
    path = tmp_path / "trace.jsonl"
    done = rota("simulate", config(), "--duration", "5s", "--trace", path)
    assert done.exit_code == 0, done.output
    return path


def without(path: Path, first: int, last: int) -> Path:
    """The same trace without its lines `first` to `last`, counted from 1."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[: first - 1], *lines[last:]]))
    return path


# -- replay -----------------------------------------------------------------------------------


def test_a_real_run_is_decided_the_same_again_and_explained(tmp_path: Path, config: Write) -> None:
    path = tmp_path / "real.jsonl"
    run = [*ROTA, "run", str(config()), "--duration", "2s", "--trace", str(path)]
    subprocess.run(run, check=True, capture_output=True, timeout=60)
    done = rota("replay", path)
    assert done.exit_code == 0, done.output
    steps = len(path.read_bytes().splitlines()) - 1
    assert done.stdout == f"{steps:,} steps, all decisions identical\n"
    assert steps > 50
    story = rota("explain", path, 2)
    assert story.exit_code == 0
    assert story.stdout.startswith("request 2: infer ")
    assert "told from the lines of the trace alone" not in story.stdout
    plan = rota("plan", config(), "--times", path, "--arrivals", path, "--json")
    assert plan.exit_code in (0, 1)
    planned = json.loads(plan.stdout)
    assert planned["models"]["a"]["requests"] > 5
    assert 1 < planned["duration_s"] < 10


def test_a_simulated_run_is_decided_the_same_again(trace: Path) -> None:
    done = rota("replay", trace)
    assert done.exit_code == 0
    assert done.stdout.endswith(" steps, all decisions identical\n")


def test_the_first_difference_is_shown(trace: Path) -> None:
    text = trace.read_text(encoding="utf-8")
    assert '"outcome":"completed"' in text
    trace.write_text(text.replace('"outcome":"completed"', '"outcome":"cancelled"', 1))
    done = rota("replay", trace)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert "steps identical; step " in lines[0]
    assert lines[1].startswith("event: LeaseEnded(")
    assert "recorded:" in lines
    assert "now:" in lines
    assert any("CANCELLED" in line for line in lines[: lines.index("now:")])
    assert not any("CANCELLED" in line for line in lines[lines.index("now:") :])


def test_bytes_that_differ_are_shown(trace: Path) -> None:
    header, first, *rest = trace.read_text(encoding="utf-8").splitlines(keepends=True)
    record = json.loads(first)
    record["reserved_bytes"]["unified"] += 1
    trace.write_text("".join([header, json.dumps(record) + "\n", *rest]), encoding="utf-8")
    done = rota("replay", trace)
    assert done.exit_code == 1
    assert "reserved bytes recorded: " in done.stdout
    assert "reserved bytes now: " in done.stdout


def test_what_does_not_begin_at_the_start_is_wrong_usage(trace: Path) -> None:
    done = rota("replay", without(trace, 2, 5))
    assert done.exit_code == 2
    assert "does not begin at the start of the run, but with record 5" in done.stderr
    assert done.stdout == ""


def test_a_gap_is_wrong_usage(trace: Path) -> None:
    done = rota("replay", without(trace, 20, 22))
    assert done.exit_code == 2
    assert "records 19 to 21 are missing" in done.stderr


def test_a_last_line_that_was_cut_off_is_said(trace: Path) -> None:
    trace.write_bytes(trace.read_bytes()[:-30])
    done = rota("replay", trace)
    assert done.exit_code == 0
    assert "the last line is cut off" in done.stderr


@pytest.mark.parametrize("command", [["replay"], ["explain"]])
@pytest.mark.parametrize("content", [b"", b"{}\n", b"\xff\xfe\n", b'{"format":"rota-trace"}\n'])
def test_what_is_no_trace_is_wrong_usage_and_never_a_traceback(
    tmp_path: Path, command: list[str], content: bytes
) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_bytes(content)
    more = ["1"] if command == ["explain"] else []
    for place in (path, tmp_path / "missing.jsonl", tmp_path):
        done = rota(*command, place, *more)
        assert done.exit_code == 2
        assert str(place) in done.stderr
        assert isinstance(done.exception, SystemExit)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_damaged_trace_is_never_a_traceback(trace: Path, data: st.DataObject) -> None:
    whole = trace.read_bytes()
    damaged = bytearray(whole[:20_000])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    path = trace.with_name("damaged.jsonl")
    path.write_bytes(damaged)
    for arguments in (["replay", path], ["explain", path, 12]):
        done = rota(*arguments)
        assert done.exit_code in (0, 1, 2)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception


# -- explain ----------------------------------------------------------------------------------


def test_a_request_that_never_came_names_the_nearest(trace: Path) -> None:
    done = rota("explain", trace, 100_000)
    assert done.exit_code == 1
    assert "no request 100000 arrives in it; the nearest are 96, 97, 98, 99, 100" in done.stderr
    assert done.stdout == ""


def test_a_request_that_is_no_number_is_wrong_usage(trace: Path) -> None:
    assert rota("explain", trace, "faces").exit_code == 2


def test_a_story_of_a_trace_without_its_beginning_says_so(trace: Path) -> None:
    done = rota("explain", without(trace, 2, 5), 90)
    assert done.exit_code == 0
    assert "told from the lines of the trace alone: it does not begin at the start" in done.stdout


# -- plan -------------------------------------------------------------------------------------


def test_a_plan_that_is_good(config: Write) -> None:
    done = rota("plan", config(TWO.replace("100MiB", "2GiB").replace("40ms", "1s")))
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("good: the set fits; in 600 simulated seconds 12,000 requests")
    assert len(done.stdout.splitlines()) < 24


def test_a_plan_that_is_not(config: Write) -> None:
    done = rota("plan", config(), "--duration", "20s")
    assert done.exit_code == 1
    assert done.stdout.startswith("no: the set fits; ")
    # Its load is longer than its deadline, and the two do not fit at once.
    assert "would fix it: pin b, with 16.0 MiB more of unified" in done.stdout


def test_a_plan_for_programs_is_the_same_each_time(config: Write) -> None:
    arguments = ("plan", config(), "--duration", "10s", "--seed", 3, "--json")
    done = rota(*arguments)
    assert done.exit_code == 1
    plan = json.loads(done.stdout)
    assert plan["good"] is False
    assert plan["fits"] is True
    assert plan["seed"] == 3
    assert plan["duration_s"] == 10
    assert rota(*arguments).stdout == done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--duration", "soon"],
        ["--duration", "0s"],
        ["--times", "missing.jsonl"],
        ["--arrivals", "missing.jsonl"],
        ["--seed", "x"],
    ],
)
def test_a_wrong_option_is_wrong_usage(config: Write, arguments: list[str]) -> None:
    done = rota("plan", config(), *arguments)
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)


@pytest.mark.parametrize(
    "text", ["models: {a: {engin: synthetic, footprint: 512}}\n", "- a list", "models: ["]
)
def test_a_wrong_configuration_is_wrong_usage(config: Write, text: str) -> None:
    done = rota("plan", config(text))
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)
    assert "robot.yaml" in done.stderr
