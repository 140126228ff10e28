from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler.config import Config, load_config
from scheduler.core.model import ModelSpec, PoolFootprint
from scheduler.core.outcome import Outcome
from scheduler.core.settings import PoolBudget, Settings
from scheduler.sim.simulator import Simulator
from scheduler.sim.times import FixedTimes
from scheduler.trace.record import Record


class _Watcher:
    """Keeps the records, and holds time and the core to their word after each."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.simulator: Simulator | None = None

    def observe(self, record: Record) -> None:
        if self.records:
            assert record.at_ns >= self.records[-1].at_ns, "time runs backwards"
            assert record.sequence == self.records[-1].sequence + 1
        self.records.append(record)
        assert self.simulator is not None
        self.simulator.core.check_invariants()


class _Caller:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def finished(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@pytest.fixture
def caller() -> _Caller:
    return _Caller()


@pytest.fixture
def watcher() -> _Watcher:
    return _Watcher()


@pytest.fixture
def records(watcher: _Watcher) -> list[Record]:
    return watcher.records


@pytest.fixture
def simulator(watcher: _Watcher) -> Simulator:
    """Models a and b of 200 bytes, of which the budget holds one: load 100 ns, run 20, unload 10.

    Each further item of a batch takes 5 ns, batches are of up to 4.
    """
    times = {"a": FixedTimes(100, 20, 5, 10), "b": FixedTimes(100, 20, 5, 10)}
    made = Simulator(Settings(pools={"unified": PoolBudget(budget_bytes=300)}), times, [watcher])
    watcher.simulator = made
    footprint = {"unified": PoolFootprint(resident_bytes=200)}
    for name in times:
        made.register(ModelSpec(name=name, footprint=footprint, keep_alive_ns=1000, batch_max=4))
    return made


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Config]:
    """Reads a configuration from its text."""

    def configure(text: str) -> Config:
        path = tmp_path / "robot.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path)

    return configure
