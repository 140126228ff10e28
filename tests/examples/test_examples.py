"""Everything in examples/ runs as it stands, and says what it should."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

SAYS = {
    "01_two_engines.py": ["asked segmenter, in memory: segmenter"],
    "02_hold_a_lease.py": ["docking stops after", "obstacles answered"],
    "03_deadlines.py": ["missed: it takes at least", "never: huge never fits"],
    "04_from_yaml.py": ["detector answered", "segmenter answered"],
    "07_variants.py": ["detector answered as fp16", "detector answered as int8"],
    "06_fleet.py": ["120 of 120 answered, one node was killed:", "n2 answered", "n3 answered"],
    "08_client.py": [
        "the node has faces, slam",
        "faces answered; frames: through shared memory",
        "refused as deadline_",
        "slam answered three times under a lease",
        "faces is unloaded",
        "faces is ready",
    ],
}


def test_every_example_is_run_here():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", sorted(SAYS))
def test_an_example_runs_as_it_stands(name):
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for sentence in SAYS[name]:
        assert sentence in done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The environment of a machine on which somebody installed the package of the example."""
    target = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "own_plugin"
    source.mkdir()
    for path in (EXAMPLES / "05_own_plugin").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = source / path.relative_to(EXAMPLES / "05_own_plugin")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--target", target, source]
    subprocess.run([*pip, *options], check=True, timeout=120)
    return {**os.environ, "PYTHONPATH": str(target)}


def rota(installed, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "scheduler", *map(str, arguments)],
        env=installed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_engine_in_a_package_of_its_own_is_found(installed):
    done = rota(installed, "engines")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("thermal")]
    assert "rota-thermal" in line
    assert "ready" in line


def test_it_is_used(installed):
    config = EXAMPLES / "05_own_plugin" / "thermal.yaml"
    done = rota(installed, "run", config, "--duration", "1s")
    assert done.returncode == 0, done.stderr
    assert "36.6" in done.stdout


def test_it_keeps_the_contract(installed):
    check = (
        "from rota_thermal import ThermalEngine\n"
        "from scheduler.testing import check_engine\n"
        "print(check_engine(ThermalEngine, {'threshold': 30.0}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check],
        env=installed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
