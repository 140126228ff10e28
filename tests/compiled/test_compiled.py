"""The compiled core decides what its sources decide."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_says_that_it_is_compiled(compiled):
    assert compiled.run("rota", "--version").stdout.endswith("its core compiled\n")
    extensions = {path.name.partition(".")[0] for path in compiled.folder.rglob("core/*.so")}
    modules = {path.stem for path in (ROOT / "scheduler/core").glob("[!_]*.py")}
    values = modules - extensions
    assert len(values) == 9
    told = (ROOT / "hatch_build.py").read_text()
    assert all(f'"{name}"' in told for name in values)


def test_the_tests_of_the_core_pass(compiled):
    words = ("-q", "-m", "not sources", "-p", "no:xdist", "-p", "no:cacheprovider")
    done = compiled.run("pytest", *words, "tests/core", "tests/scenarios")
    assert done.returncode == 0, done.stdout


def test_a_simulated_minute_is_the_same_to_the_byte(compiled, tmp_path):
    traces = [tmp_path / "compiled.jsonl", tmp_path / "sources.jsonl"]
    words = ("simulate", ROOT / "configs/rover.yaml", "--trace")
    done = compiled.run("rota", *words, traces[0])
    assert done.returncode == 0, done.stderr
    rota = Path(sys.executable).with_name("rota")
    subprocess.run([rota, *words, traces[1]], check=True, capture_output=True, timeout=300)
    first, second = (trace.read_bytes() for trace in traces)
    assert first == second
    assert len(first) > 1_000_000
