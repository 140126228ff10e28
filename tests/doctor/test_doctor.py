"""`rota doctor`: a machine, and engines that die, leak or are too large, each in its own way."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from scheduler.cli.app import app
from scheduler.core.model import PoolFootprint
from scheduler.doctor.checkup import Checkup, patient_samples
from scheduler.doctor.context import context_cost
from scheduler.doctor.text import render_checkup
from scheduler.doctor.trial import Trial
from scheduler.doctor.verdict import Verdict, leak_per_load_bytes, verdict
from scheduler.memory.machine import MachineKind, machine_kind
from scheduler.memory.probe import PoolSample

MIB = 1024**2

ENGINE = """
import mmap, os, signal
import numpy as np
from scheduler import EngineError, EngineOptions, EngineOutOfMemory, EnginePlugin

def touched(mib):
    held = mmap.mmap(-1, max(1, mib) * 2**20)
    np.frombuffer(held, np.uint8)[::4096] = 1
    return held

LOST = []

class Sick(EnginePlugin):
    class Options(EngineOptions):
        dies_above: int = 10**6
        fails_above: int = 10**6
        per_item: int = 0
        leaks: int = 0
        residue: int = 0
        no_load: bool = False

    def load(self):
        if self.options.no_load:
            raise EngineError("the file is not there")
        if self.options.leaks or (self.options.residue and not LOST):
            LOST.append(touched(self.options.leaks or self.options.residue))

    def infer(self, batch):
        if len(batch) > self.options.dies_above:
            os.kill(os.getpid(), signal.SIGKILL)
        if len(batch) > self.options.fails_above:
            raise EngineOutOfMemory("no room for the batch")
        if self.options.per_item:
            touched(self.options.per_item * len(batch)).close()
        return list(batch)

    def unload(self): pass
    def example(self): return 1
"""


@pytest.fixture
def robot(tmp_path, monkeypatch):
    """Write a configuration with one sick model, and go where it is."""
    (tmp_path / "sick_engine.py").write_text(ENGINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def write(options, budget="99MiB"):
        Path("robot.yaml").write_text(
            f"memory: {{budget: {budget}}}\nmodels:\n"
            f"  m: {{engine: 'sick_engine:Sick', options: {options}, footprint: 1MiB}}\n"
        )

    write("{}")
    return write


@pytest.fixture
def tried(robot):
    """Try a model with these options, without the command."""

    def on(options, *, budget_mib=99, declared_mib=30, **how):
        robot(options)
        trial = Trial(Path("robot.yaml"), "m", batch_max=16, **how)
        steps = list(trial.run())
        declared = PoolFootprint(resident_bytes=declared_mib * MIB)
        found = verdict("m", trial, budget_mib * MIB, 0, declared)
        assert found.steps == tuple(steps)
        return found

    return on


def rota(*words):
    return CliRunner().invoke(app, words)


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ("{dies_above: 5}", "for lack of memory: it was killed (SIGKILL)"),
        ("{fails_above: 5}", "for lack of memory: no room for the batch"),
    ],
)
def test_the_largest_batch_is_found_though_the_engine_dies_of_the_next(tried, options, cause):
    found = tried(options, cycles=1)
    assert found.largest_batch == 5
    assert found.good, "one item runs, and batches are no duty"
    critical = "a batch of 5 runs, one of 6 fails: set batch.max to 5 at most"
    assert critical in found.sentences
    assert [s for s in found.sentences if s.startswith(f"run of 8 fails {cause}")]
    assert [step.items for step in found.steps if step.act == "run"] == [1, 2, 4, 8, 6, 5, 1]


def test_a_leak_is_told_from_what_is_paid_once(tried):
    leaking = tried("{leaks: 5}")
    assert not leaking.good
    assert 5 * MIB <= leaking.leak_bytes < 6 * MIB
    assert "a leak" in " ".join(leaking.sentences)
    paid_once = tried("{residue: 20}")
    assert paid_once.good
    assert paid_once.leak_bytes == 0
    assert "declare it as memory's overhead" in " ".join(paid_once.sentences)


def test_batches_beyond_the_budget_are_named_and_one_item_beyond_it_is_no_good(tried):
    batches = tried("{per_item: 4}", cycles=1, budget_mib=12)
    assert batches.good, "one item fits"
    assert [s for s in batches.sentences if s.startswith("a run of 4 takes ")]
    one = tried("{per_item: 4}", cycles=1, budget_mib=2)
    assert not one.good
    assert [s for s in one.sentences if "more than the budget of 2.0 MiB" in s]


def test_the_command_tells_each_step_and_its_status(robot):
    robot("{per_item: 4}", budget="2MiB")
    done = rota("doctor", "robot.yaml", "m", "--cycles", "1")
    assert done.exit_code == 1
    assert "run of 1" in done.stdout
    assert "over the budget" in done.stdout
    robot("{fails_above: 0}")
    done = rota("doctor", "m", "--config", "robot.yaml")
    assert done.exit_code == 1
    assert "run of 1     failed: no room for the batch" in done.stdout
    assert "unload" not in done.stdout, "nothing further is tried"
    robot("{}")
    done = rota("doctor", "robot.yaml", "m", "--cycles", "1", "--json")
    assert done.exit_code == 0, done.stderr
    assert Verdict.model_validate_json(done.stdout).largest_batch == 8


def test_a_variant_is_tried_by_its_name_in_batches_of_its_own(robot):
    robot("{}")
    text = Path("robot.yaml").read_text().rstrip("\n}")
    small = "{name: b, options: {fails_above: 9}, footprint: 1MiB, batch: {max: 16}}"
    Path("robot.yaml").write_text(f"{text}, variants: [{small}]}}\n")
    done = rota("doctor", "robot.yaml", "m", "--variant", "b", "--cycles", "1", "--json")
    found = Verdict.model_validate_json(done.stdout)
    assert found.largest_batch == 9
    assert max(step.items for step in found.steps) == 16
    done = rota("doctor", "robot.yaml", "m", "--variant", "c")
    assert done.exit_code == 2
    assert 'm has no variant "c"; it has default, b' in done.stderr


def test_one_that_cannot_be_loaded_says_why(tried):
    found = tried("{no_load: true}")
    assert not found.good
    assert found.sentences == ("load fails: the file is not there",)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["faces"], "rota doctor MODEL --config CONFIG"),
        (["m", "--config", "nowhere.yaml"], "nowhere.yaml: does not exist"),
        (["nobody", "--config", "robot.yaml"], 'there is no model "nobody"; there is m'),
    ],
)
@pytest.mark.usefixtures("robot")
def test_wrong_words_are_wrong_usage(words, said):
    done = rota("doctor", *words)
    assert done.exit_code == 2
    assert said in done.stderr


def test_this_machine_is_described():
    done = rota("doctor", "--json")
    found = Checkup.model_validate_json(done.stdout)
    assert done.exit_code == (0 if found.good else 1)
    assert found.machine.cores == os.cpu_count()
    main_memory = found.pools[0]
    assert main_memory.source in {"MemAvailable", "cgroup"}
    assert 0 < main_memory.available_bytes <= main_memory.total_bytes
    assert 0 <= main_memory.age_ms < 60_000
    assert {"synthetic", "onnxruntime"} <= {engine.name for engine in found.engines}
    assert {"swap", "/dev/shm", "pressure"} <= {advice.about for advice in found.advice}
    assert found.machine.kind == machine_kind().value
    console = Console(width=200)
    with console.capture() as captured:
        console.print(render_checkup(found))
    assert "MemAvailable" in captured.get()
    assert "can run" in captured.get()


@pytest.mark.skipif(machine_kind() is MachineKind.DISCRETE, reason="it is for machines without")
def test_without_a_driver_a_context_is_an_error_and_no_crash():
    cost = context_cost()
    assert "CUDA driver" in cost.error
    assert cost.device_bytes is None


class Late:
    """A source that knows nothing until it was asked three times; a broken one never speaks."""

    name = "late"

    def __init__(self):
        self.asked = 0

    def sample(self):
        self.asked += 1
        known = 5 if self.asked >= 3 else None
        return (
            PoolSample(
                pool="unified", total_bytes=9, available_bytes=known, source="late", taken_at_ns=0
            ),
        )


class Broken:
    name = "broken"

    def sample(self):
        raise OSError("gone")


def test_a_source_that_speaks_seldom_is_waited_for_and_a_broken_one_is_not():
    (sample,) = patient_samples([Late(), Broken()], patience_s=60)
    assert sample.available_bytes == 5
    late = Late()
    late.asked = -(10**9)
    assert patient_samples([late], patience_s=0)[0].available_bytes is None


@pytest.mark.parametrize(
    ("held", "leak"),
    [
        ([120, 120, 120, 120, 120, 120], 0),
        ([30, 60, 90, 120, 150, 180], 30),
        ([120, 150, 150, 150, 150, 150], 0),
        ([10, 40, 70, 70, 70, 70], 0),
        ([50, 40, 41, 40, 41, 40], 0),
        ([10, 20, 30], 0),
        ([], 0),
    ],
)
def test_growth_is_a_leak_and_a_residue_is_not(held, leak):
    assert leak_per_load_bytes([mib * MIB for mib in held]) == leak * MIB


@given(st.integers(1, 500), st.integers(2, 60), st.integers(4, 20))
def test_a_steady_leak_is_always_found(first, each, cycles):
    held = [(first + each * cycle) * MIB for cycle in range(cycles)]
    assert leak_per_load_bytes(held) == each * MIB
