"""Forms in virtual time: each takes its own time, and the runtime decides the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scheduler.config import Config
from scheduler.core.decisions import LoadEngine
from scheduler.core.events import EngineLoaded, EngineUnloaded
from scheduler.core.model import Form, ModelSpec, PoolFootprint
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.core.settings import PoolBudget, Settings
from scheduler.sim.observed import observe_times
from scheduler.sim.simulation import simulate
from scheduler.sim.simulator import Simulator
from scheduler.sim.times import FixedTimes, times_by_form
from scheduler.trace.record import Record

MS = 1_000_000
CONFIG = """
memory: {budget: 300MiB}
scheduling: {queue_bytes: none}
models:
  a:
    engine: synthetic
    options: {load: 50ms, infer: 9ms}
    footprint: 200MiB
    variants: [{name: int8, options: {load: 20ms, infer: 3ms}, footprint: 90MiB}]
  b: {engine: synthetic, options: {load: 5ms, infer: 1ms}, footprint: 150MiB, pinned: %s}
sources:
  x: {model: a, from: synthetic, rate: 5Hz}
"""


class _Kept:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def observe(self, record: Record) -> None:
        self.records.append(record)

    def took(self, model: str) -> tuple[str, list[float]]:
        """The form of the first load of a model, and how long it took."""
        (began,) = [
            (record.at_ns, made.variant)
            for record in self.records
            for made in record.decisions
            if isinstance(made, LoadEngine) and made.model == model
        ]
        ended = [r.at_ns for r in self.records if r.event == EngineLoaded(model, 1)]
        return began[1], [(at - began[0]) / MS for at in ended]


@pytest.mark.parametrize(
    ("pinned", "variant", "load_ms"), [("false", "default", 50), ("true", "int8", 20)]
)
def test_a_load_takes_what_the_form_takes_that_was_chosen(
    configured: Callable[[str], Config], pinned: str, variant: str, load_ms: float
) -> None:
    config = configured(CONFIG % pinned)
    kept = _Kept()
    simulated = simulate(config, config.settings({}), duration_ns=2000 * MS, observers=[kept])
    assert kept.took("a") == (variant, [load_ms])
    assert simulated.report.models["a"].latency_ms.p50 == (9 if variant == "default" else 3)


def test_the_times_of_each_form_are_known_by_its_name(configured: Callable[[str], Config]) -> None:
    models = configured(CONFIG % "false").models
    times = times_by_form(models["a"])
    assert {key: one and one.load_ns() for key, one in times.items()} == {
        "a/default": 50 * MS,
        "a/int8": 20 * MS,
    }
    assert list(times_by_form(models["b"])) == ["b"]


def test_a_form_without_times_is_told_at_registration() -> None:
    simulator = Simulator(
        Settings(pools={"x": PoolBudget(budget_bytes=9)}), {"a/fp16": FixedTimes()}
    )
    footprint = {"x": PoolFootprint(resident_bytes=1)}
    small = Form(footprint=footprint, variant="int8")
    spec = ModelSpec(name="a", footprint=footprint, variant="fp16", alternatives=(small,))
    with pytest.raises(KeyError, match="no times for a/int8"):
        simulator.register(spec)


def test_times_are_observed_for_each_form() -> None:
    times = {"a/fp16": FixedTimes(), "a/int8": FixedTimes(), "b": FixedTimes()}
    why = Reason(ReasonCode.MAKE_ROOM)
    from scheduler.core.decisions import UnloadEngine

    def step(at_ns: int, event: object, *decisions: object) -> Record:
        return Record(0, at_ns, event, decisions, {})  # type: ignore[arg-type]

    records = [
        step(0, EngineUnloaded("z", 1), LoadEngine("a", 1, "fp16")),
        step(70, EngineLoaded("a", 1), UnloadEngine("a", 1, why), UnloadEngine("b", 1, why)),
        step(75, EngineUnloaded("a", 1), LoadEngine("a", 2, "int8"), LoadEngine("c", 1)),
        step(78, EngineUnloaded("b", 1)),
        step(95, EngineLoaded("a", 2)),
        step(99, EngineLoaded("c", 1)),
    ]
    seen = observe_times(records, times, seed=1)
    assert (seen["a/fp16"].load_ns(), seen["a/fp16"].unload_ns()) == (70, 5)
    assert seen["a/int8"].load_ns() == 20
    assert not seen["a/int8"].unloads
    assert seen["b"].unload_ns() == 8  # It was in memory before the records begin.
