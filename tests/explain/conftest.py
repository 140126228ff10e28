from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scheduler.config import load_config
from scheduler.core.decisions import UnloadEngine
from scheduler.core.events import Event
from scheduler.core.model import SECOND_NS, ModelSpec, PoolFootprint
from scheduler.core.outcome import Outcome
from scheduler.core.request import Request, RequestKind
from scheduler.core.settings import PoolBudget, Settings
from scheduler.explain.story import Story, read_story
from scheduler.explain.text import lines
from scheduler.sim.simulation import simulate
from scheduler.sim.simulator import Simulator
from scheduler.sim.times import FixedTimes, form_key
from scheduler.trace.header import Header
from scheduler.trace.record import Record

ROBOT = """
memory: {budget: 300MiB}
resources: {gpu: 1}
models:
  faces:
    engine: synthetic
    options: {load: 60ms, infer: 12ms, per_item: 4ms}
    footprint: {resident: 120MiB, workspace: 20MiB, per_item: 5MiB}
    priority: 60
    uses: {gpu: 1}
    queue: {limit: 6, keep: latest}
    batch: {max: 4, wait: 5ms}
  text:
    engine: synthetic
    options: {load: 90ms, infer: 30ms}
    footprint: {resident: 140MiB, load_peak: 180MiB}
    exclusive: [heavy]
    uses: {gpu: 1}
    keep_alive: 1s
  speech:
    engine: synthetic
    options: {load: 40ms, infer: 50ms}
    footprint: 150MiB
    exclusive: [heavy]
    deadline: 130ms
  slam:
    engine: synthetic
    options: {load: 20ms, infer: 8ms}
    footprint: 40MiB
    priority: high
sources:
  camera: {model: faces, from: synthetic, rate: 40Hz, jitter: 9ms, deadline: 60ms}
  words: {model: text, from: synthetic, rate: 4Hz, jitter: 100ms}
  talk: {model: speech, from: synthetic, rate: 1Hz, jitter: 300ms}
  map: {model: slam, from: synthetic, rate: 5Hz, lease: {ttl: 1s}}
"""


class Kept:
    """Keeps every record."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def observe(self, record: Record) -> None:
        self.records.append(record)


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., tuple[Header, list[Record]]]:
    """Simulates a configuration and gives its trace, as the reader would."""

    def record(
        text: str = ROBOT, seconds: int = 10, policy: str = "rota"
    ) -> tuple[Header, list[Record]]:
        path = tmp_path / "robot.yaml"
        path.write_text(f"scheduling: {{policy: {policy}}}\n{text}", encoding="utf-8")
        config = load_config(path)
        settings = config.settings({})
        kept = Kept()
        simulate(config, settings, duration_ns=seconds * SECOND_NS, observers=[kept])
        header = Header(node="n", started_at="", started_ns=0, settings=settings)
        return header, kept.records

    return record


MS_NS = 1_000_000
MIB = 1024**2


class Robot:
    """Models of so many MiB in a budget of 1000, and requests at given milliseconds.

    Each loads in 300 ms, runs for 5 ms and unloads in 10 ms. Requests are numbered as they are
    written down, from 1.
    """

    def __init__(self, budget: int = 1000 * MIB, **settings: Any) -> None:
        pools = {"unified": PoolBudget(budget_bytes=budget)}
        self.settings = Settings(pools=pools, **settings)
        self.times: dict[str, FixedTimes] = {}
        self.kept = Kept()
        self.simulator = Simulator(self.settings, self.times, [self.kept])
        self.requests = 0

    def model(self, name: str, mib: int, *, run_ms: int = 5, **rules: Any) -> None:
        footprint = {"unified": PoolFootprint(resident_bytes=mib * MIB)}
        spec = ModelSpec(name=name, footprint=footprint, **rules)
        for form in spec.forms:
            key = form_key(name, form.variant)
            self.times[key] = FixedTimes(300 * MS_NS, run_ms * MS_NS, 0, 10 * MS_NS)
        self.simulator.register(spec)

    def ask(self, at_ms: int, model: str, **fields: Any) -> int:
        self.requests += 1
        request = Request(id=self.requests, models=(model,), **fields)
        self.simulator.at(at_ms * MS_NS, lambda _: self.simulator.ask(request, self))
        return self.requests

    def tell(self, at_ms: int, event: Event) -> None:
        self.simulator.at(at_ms * MS_NS, self.simulator.tell, event)

    def hold(self, at_ms: int, model: str, **fields: Any) -> int:
        self.requests += 1
        request = Request(id=self.requests, models=(model,), kind=RequestKind.HOLD, **fields)
        self.simulator.at(at_ms * MS_NS, lambda _: self.simulator.ask_to_hold(request, self))
        return self.requests

    def finished(self, outcome: Outcome) -> None:
        """See Client."""

    def granted(self, lease_id: int) -> None:
        """See Holder: it is never given back."""

    def revoked(self, lease_id: int) -> None:
        """See Holder."""

    def run(self, until_ms: int) -> None:
        self.simulator.run(until_ms * MS_NS)

    @property
    def unloads(self) -> int:
        decisions = [d for record in self.kept.records for d in record.decisions]
        return sum(isinstance(d, UnloadEngine) for d in decisions)

    @property
    def header(self) -> Header:
        return Header(node="n", started_at="", started_ns=0, settings=self.settings)

    def story(self, request_id: int) -> Story:
        return read_story(self.header, self.kept.records, request_id)

    def told(self, request_id: int) -> str:
        """The story in lines, without the spaces they begin with."""
        return "\n".join(line.strip() for line in lines(self.story(request_id), 0))


@pytest.fixture
def make_robot() -> type[Robot]:
    return Robot


@pytest.fixture
def robot() -> Robot:
    return Robot()
