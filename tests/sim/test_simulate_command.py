from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from scheduler.cli.simulate import simulate
from scheduler.core.policy import POLICIES
from scheduler.report.report import Report
from scheduler.trace.reader import read_trace

APP = typer.Typer()
APP.command()(simulate)

ROBOT = """
memory: {budget: 300MiB}
models:
  detector:
    {engine: synthetic, options: {load: 300ms, infer: 20ms, per_item: 2ms}, footprint: 210MiB}
  segmenter: {engine: synthetic, options: {load: 300ms, infer: 20ms}, footprint: 210MiB}
sources:
  camera: {model: detector, from: synthetic, rate: 10Hz, jitter: 20ms}
  docking: {model: segmenter, from: synthetic, rate: 0.5Hz, arrivals: poisson}
"""


@pytest.fixture
def robot(tmp_path: Path) -> Path:
    path = tmp_path / "robot.yaml"
    path.write_text(ROBOT)
    return path


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def test_json_is_the_report_and_nothing_else(robot: Path) -> None:
    result = command(robot, "--duration", "30s", "--json")
    assert result.exit_code == 0
    report = Report.model_validate(json.loads(result.stdout))
    assert report.duration_s == 30
    assert set(report.models) == {"detector", "segmenter"}
    assert report.models["detector"].requests > 200
    assert report.memory["unified"].budget_bytes == 300 * 1024**2
    assert report.sources is not None
    assert set(report.sources) == {"camera", "docking"}


def test_a_person_gets_tables_and_the_way_to_the_trace(robot: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    result = command(robot, "--trace", trace)
    assert result.exit_code == 0
    assert "60.0 s:" in result.stdout
    assert "detector" in result.stdout
    assert f"trace: {trace}" in result.stdout


def test_the_trace_is_whole_and_the_report_agrees_with_it(robot: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    result = command(robot, "--trace", trace, "--json")
    header, records = read_trace(trace)
    assert header.settings.pools["unified"].budget_bytes == 300 * 1024**2
    assert header.started_ns == 0
    kinds = [type(record.event).__name__ for record in records]
    assert records.warnings == []
    report = Report.model_validate_json(result.stdout)
    assert kinds.count("RequestArrived") == sum(m.requests for m in report.models.values())
    assert kinds.count("EngineLoaded") == sum(m.loads for m in report.models.values())


def simulated_apart(robot: Path, trace: Path, hash_seed: str, seed: str = "1") -> bytes:
    """The trace and the report of a simulation in a process of its own."""
    code = (
        "import typer; from scheduler.cli.simulate import simulate; "
        "app = typer.Typer(); app.command()(simulate); app()"
    )
    arguments = [str(robot), "--trace", str(trace), "--json", "--seed", seed]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=True,
        capture_output=True,
    )
    return trace.read_bytes() + done.stdout


def test_equal_seeds_are_equal_to_the_byte_whatever_the_hash_seed(
    robot: Path, tmp_path: Path
) -> None:
    text = ROBOT.replace("footprint: 210MiB}", "footprint: 210MiB, exclusive: [x, y, z, heavy]}")
    robot.write_text(text)
    first = simulated_apart(robot, tmp_path / "1.jsonl", "1")
    assert first == simulated_apart(robot, tmp_path / "2.jsonl", "1")
    assert first == simulated_apart(robot, tmp_path / "3.jsonl", "4242")
    assert first != simulated_apart(robot, tmp_path / "4.jsonl", "1", seed="2")
    assert len(first) > 100_000


def test_times_and_arrivals_come_from_traces(robot: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    first = Report.model_validate_json(command(robot, "--trace", trace, "--json").stdout)
    robot.write_text(ROBOT.replace("infer: 20ms", "infer: 19ms"))
    again = command(robot, "--json", "--times", trace, "--arrivals", trace)
    assert again.exit_code == 0
    report = Report.model_validate_json(again.stdout)
    assert report.models == first.models
    assert report.sources is None


def test_another_policy_takes_the_place_of_the_configuration_s(
    robot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(POLICIES, "other", POLICIES["rota"])
    trace = tmp_path / "trace.jsonl"
    assert command(robot, "--policy", "other", "--trace", trace).exit_code == 0
    assert read_trace(trace)[0].settings.policy == "other"


def test_a_budget_of_this_machine_is_said_to_be_one(robot: Path) -> None:
    robot.write_text(ROBOT.replace("budget: 300MiB", "budget: 50%"))
    result = command(robot, "--json")
    assert "memory.budget: " in result.stderr
    assert "of this machine; write a size to simulate another one" in result.stderr
    json.loads(result.stdout)


def test_a_cut_off_trace_is_used_as_far_as_it_goes_and_said(robot: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    command(robot, "--trace", trace)
    trace.write_bytes(trace.read_bytes()[:-20])
    result = command(robot, "--times", trace)
    assert result.exit_code == 0
    assert "the last line is cut off and was left out" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policy", "best"], '--policy: "best" is no policy; choose rota'),
        (["--duration", "60"], '--duration: "60" has no unit; write 60ms or 60s'),
        (["--duration", "0s"], '--duration: "0s" is no time at all'),
        (["--times", "missing.jsonl"], "missing.jsonl: No such file or directory"),
        (["--arrivals", "robot.yaml"], "robot.yaml:1: the first line is not a trace's header"),
        (["--trace", "missing/trace.jsonl"], "missing/trace.jsonl: No such file or directory"),
        (["--mode", "dock"], '--mode: "dock" is not in modes; known: none'),
        (["--at", "10s"], '--at: "10s" is no switch; write TIME=MODE, as 10s=docking'),
        (["--at", "10=none"], '--at: "10" has no unit'),
        (["--at", "10s=dock"], '--at: "dock" is not in modes; known: none'),
        (["--trace", "robot.yaml"], "--trace: robot.yaml is what is read; write to another"),
    ],
)
def test_wrong_usage_says_what_and_exits_with_2(
    robot: Path, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(robot.parent)
    result = command("robot.yaml", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""
    assert robot.read_text() == ROBOT


def test_a_full_disk_is_an_error(robot: Path) -> None:
    result = command(robot, "--trace", "/dev/full")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr


def test_a_wrong_configuration_is_told_line_by_line(robot: Path) -> None:
    robot.write_text(ROBOT.replace("300MiB", "512").replace("rate: 10Hz", "rate: 10"))
    result = command(robot)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 2


MODES = (
    ROBOT
    + """
modes:
  docking: {pin: [segmenter], disable: [detector]}
  both: {pin: [segmenter, detector]}
"""
)


def test_a_simulation_begins_in_a_mode_and_switches_when_it_is_told(robot: Path) -> None:
    robot.write_text(MODES)
    result = command(
        robot, "--mode", "docking", "--at", "40s=docking", "--at", "20s=none", "--json"
    )
    report = Report.model_validate_json(result.stdout)
    assert report.models["detector"].completed == pytest.approx(190, abs=12)
    assert report.models["detector"].rejected == pytest.approx(400, abs=12)
    assert report.models["segmenter"].rejected == 0


def test_a_switch_that_is_refused_is_told_and_the_simulation_goes_on(robot: Path) -> None:
    robot.write_text(MODES)
    result = command(robot, "--at", "10s=both", "--json")
    assert result.exit_code == 0
    assert "at 10.0 s: not switched: mode both: detector never fits" in result.stderr
    assert Report.model_validate_json(result.stdout).models["detector"].completed > 300


def test_a_simulation_tells_its_alarms_once(robot: Path) -> None:
    heavy = (
        "memory: {budget: 300MiB}\nscheduling: {queue_bytes: none}\nmodels:\n"
        "  a: {engine: synthetic, options: {load: 2s, infer: 10ms}, footprint: 200MiB}\n"
        "  b: {engine: synthetic, options: {load: 2s, infer: 10ms}, footprint: 180MiB}\n"
        "sources:\n"
        "  x: {model: a, from: synthetic, rate: 0.2Hz, arrivals: poisson}\n"
        "  y: {model: b, from: synthetic, rate: 0.2Hz, arrivals: poisson}\n"
    )
    robot.write_text(heavy)
    result = command(robot, "--duration", "10m")
    assert result.stderr.count("thrashing: ") == 1
    assert "80.0 MiB of unified more would end it" in result.stderr
    robot.write_text(heavy.replace("300MiB", "380MiB"))
    assert "thrashing" not in command(robot, "--duration", "10m").stderr
