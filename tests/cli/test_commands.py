"""The command as a user runs it: real processes, real exit statuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROTA = [sys.executable, "-m", "scheduler"]
TWO = """
memory: {budget: %s, sample: 50ms}
models:
  a: {engine: synthetic, options: {load: 50ms, infer: 5ms, memory: 40MiB}, footprint: 48MiB}
  b: {engine: synthetic, options: {load: 50ms, infer: 5ms, memory: 60MiB}, footprint: 68MiB}
sources:
  x: {model: a, from: synthetic, rate: 10Hz}
  y: {model: b, from: synthetic, rate: 10Hz}
"""


def rota(*arguments, timeout=60):
    return subprocess.run(
        [*ROTA, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "robot.yaml"
        path.write_text(text)
        return path

    return write


def report_of(config, tmp_path, budget):
    path = tmp_path / "report.json"
    done = rota("run", config(TWO % budget), "--duration", "2s", "--report", path)
    assert done.returncode == 0, done.stderr
    assert "requests served" in done.stdout
    return json.loads(path.read_text())


def test_two_that_do_not_fit_take_turns_within_the_budget(config, tmp_path):
    report = report_of(config, tmp_path, "100MiB")
    assert all(model["completed"] > 0 for model in report["models"].values())
    assert sum(model["loads"] for model in report["models"].values()) > 2
    pool = report["memory"]["unified"]
    assert 0 < pool["high_water_bytes"] <= pool["budget_bytes"] == 100 * 1024**2
    assert 0 < pool["measured_high_water_bytes"] <= pool["budget_bytes"]


def test_two_that_fit_are_loaded_once_each(config, tmp_path):
    report = report_of(config, tmp_path, "200MiB")
    assert [model["loads"] for model in report["models"].values()] == [1, 1]


def test_check_says_what_never_fits_and_by_how_much(config):
    done = rota("check", config(TWO % "60MiB"))
    assert done.returncode == 1
    assert "b never fits: needs 68.0 MiB" in done.stdout
    assert "short by 8.0 MiB" in done.stdout
    assert "a fits" in done.stdout


def test_run_refuses_what_never_fits(config):
    done = rota("run", config(TWO % "60MiB"))
    assert done.returncode == 1
    assert "b never fits" in done.stderr


@pytest.mark.parametrize("command", ["check", "run", "simulate"])
def test_a_wrong_file_is_wrong_usage_and_never_a_traceback(config, command):
    done = rota(command, config("models: {a: {engin: synthetic, footprint: 512}}\n"))
    assert done.returncode == 2
    assert "robot.yaml:1: models.a.footprint:" in done.stderr
    assert 'did you mean "engine"' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_place_that_cannot_be_written_is_found_out_before_the_run(config, tmp_path):
    done = rota("run", config(TWO % "100MiB"), "--report", tmp_path / "nowhere" / "report.json")
    assert done.returncode == 2
    assert "there is no folder" in done.stderr


def test_engines_lists_the_synthetic_one():
    done = rota("engines")
    assert done.returncode == 0
    assert "synthetic" in done.stdout


def test_the_picture_and_the_trace_are_written(config, tmp_path):
    picture, trace = tmp_path / "run.svg", tmp_path / "run.jsonl"
    done = rota(
        "run", config(TWO % "100MiB"), "--duration", "1s", "--timeline", picture, "--trace", trace
    )
    assert done.returncode == 0, done.stderr
    assert picture.read_text().startswith("<svg")
    lines = trace.read_text().splitlines()
    assert json.loads(lines[0])["format"] == "rota-trace"
    assert {json.loads(line)["event"]["type"] for line in lines[1:]} >= {
        "ModelRegistered",
        "RequestArrived",
        "EngineLoaded",
        "LeaseEnded",
    }


SLOW = """
memory: {budget: 100MiB}
models:
  a: {engine: synthetic, options: {load: 3s, infer: 5ms, memory: 40MiB}, footprint: 48MiB}
sources:
  x: {model: a, from: synthetic, rate: 10Hz}
"""


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


@pytest.mark.parametrize("attempt", range(10))
def test_sigterm_in_the_middle_of_a_load_ends_it_within_five_seconds(config, tmp_path, attempt):
    trace = tmp_path / "run.jsonl"
    command = [*ROTA, "run", str(config(SLOW)), "--trace", str(trace)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(lambda: trace.exists() and b"LoadEngine" in trace.read_bytes())
        time.sleep(0.2 * (attempt % 5))
        children = psutil.Process(process.pid).children(recursive=True)
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert time.monotonic() - asked < 5
        assert process.returncode in {0, 128 + signal.SIGTERM}
    assert not any(child.is_running() for child in children)


def test_sigusr1_writes_the_last_steps_as_a_trace_and_the_run_goes_on(config, tmp_path):
    trace = tmp_path / "run.jsonl"
    command = [*ROTA, "run", str(config(TWO % "100MiB")), "--trace", str(trace)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as process:
        wait_for(lambda: trace.exists() and b"LeaseEnded" in trace.read_bytes())
        process.send_signal(signal.SIGUSR1)
        wait_for(lambda: list(tmp_path.glob("*.flight.jsonl")))
        before = trace.stat().st_size
        wait_for(lambda: trace.stat().st_size > before)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    (flight,) = tmp_path.glob("*.flight.jsonl")
    assert str(flight) in said.decode()
    replayed = rota("replay", flight)
    assert (replayed.returncode, "identical" in replayed.stdout) == (0, True), replayed.stdout


def test_an_end_that_nobody_asked_for_leaves_the_last_steps(config, tmp_path):
    broken = (
        "import scheduler.source.feeds as f\n"
        "async def bad(self): raise RuntimeError('boom')\n"
        "f.Feeds.run = bad\n"
        "from scheduler.cli import main\nmain()\n"
    )
    command = [sys.executable, "-c", broken, "run", str(config(TWO % "100MiB"))]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=False)
    assert done.returncode == 1
    assert b"boom" in done.stderr
    (flight,) = tmp_path.glob("*.flight.jsonl")
    assert rota("replay", flight).returncode == 0


def test_a_second_signal_ends_it_at_once(config, tmp_path):
    trace = tmp_path / "run.jsonl"
    text = SLOW.replace("load: 3s", "load: 60s") + "scheduling: {drain: 50s}\n"
    command = [*ROTA, "run", str(config(text)), "--trace", str(trace)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(lambda: trace.exists() and b"LoadEngine" in trace.read_bytes())
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: b"DrainRequested" in trace.read_bytes())
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert time.monotonic() - asked < 2
        assert process.returncode == 128 + signal.SIGINT


def test_an_engine_of_the_working_folder_needs_no_package(config, tmp_path):
    (tmp_path / "my_engines.py").write_text(
        "from scheduler import EnginePlugin\n\n\n"
        "class Doubler(EnginePlugin):\n"
        "    def load(self): pass\n"
        "    def infer(self, batch): return [2 * payload for payload in batch]\n"
        "    def unload(self): pass\n"
        "    def example(self): return 21\n"
    )
    path = config(
        "memory: {budget: 10MiB}\n"
        "models: {d: {engine: 'my_engines:Doubler', footprint: 1MiB}}\n"
        "sources: {s: {model: d, from: synthetic, rate: 20Hz}}\n"
        "sinks: {out: {to: 'jsonl:out.jsonl'}}\n"
    )
    rota_command = Path(sys.executable).with_name("rota")
    done = subprocess.run(
        [rota_command, "run", path, "--duration", "1s"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    results = [json.loads(line)["result"] for line in lines]
    assert results
    assert set(results) == {42}


def test_python_code_of_an_engine_hands_the_interpreter_over_soon(config, tmp_path):
    (tmp_path / "turns.py").write_text(
        "import sys\nfrom scheduler import EnginePlugin\n\n\n"
        "class Turns(EnginePlugin):\n"
        "    def load(self): pass\n"
        "    def infer(self, batch): return [sys.getswitchinterval()] * len(batch)\n"
        "    def unload(self): pass\n"
        "    def example(self): return 1\n"
    )
    path = config(
        "memory: {budget: 10MiB}\n"
        "models: {d: {engine: 'turns:Turns', footprint: 1MiB}}\n"
        "sources: {s: {model: d, from: synthetic, rate: 20Hz}}\n"
        "sinks: {out: {to: 'jsonl:out.jsonl'}}\n"
    )
    command = [*ROTA, "run", path, "--duration", "300ms"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=True)
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert first["result"] == pytest.approx(0.0005)


def test_a_run_begins_in_a_mode_and_switches_when_it_is_told(config, tmp_path):
    modes = "modes: {first: {disable: [b]}, second: {disable: [a], pin: [b]}}\n"
    path, written = tmp_path / "report.json", config(TWO % "100MiB" + modes)
    options = ("--mode", "first", "--at", "1s=second", "--duration", "2s", "--report", path)
    done = rota("run", written, *options)
    assert done.returncode == 0, done.stderr
    assert "mode second: unload a; load b; " in done.stderr
    assert "mode second: reached after" in done.stderr
    report = json.loads(path.read_text())["models"]
    assert all(4 < model["completed"] < 16 for model in report.values())
    assert all(model["rejected"] > 4 for model in report.values())
    assert rota("run", written, "--at", "1s=third").returncode == 2


def test_the_heavy_modules_of_a_variant_are_imported_before_anything_is_measured(config, tmp_path):
    (tmp_path / "heavy.py").write_text("print('heavy is here')\n")
    (tmp_path / "small_engine.py").write_text(
        "from scheduler import EnginePlugin\n\n\n"
        "class Small(EnginePlugin):\n"
        "    LIBRARIES = ('heavy',)\n"
        "    def load(self): print('loads')\n"
        "    def infer(self, batch): return list(batch)\n"
        "    def unload(self): pass\n"
        "    def example(self): return 1\n"
    )
    path = config(
        "memory: {budget: 100MiB}\n"
        "models: {d: {engine: synthetic, footprint: 200MiB, variants: [\n"
        "  {name: small, engine: 'small_engine:Small', footprint: 1MiB}]}}\n"
        "sources: {s: {model: d, from: synthetic, rate: 20Hz}}\n"
    )
    done = subprocess.run(
        [*ROTA, "run", path, "--duration", "500ms", "--report", tmp_path / "report.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("heavy is here") < done.stdout.index("loads")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["models"]["d"]["forms"] == {"small": 1}
