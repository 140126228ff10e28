from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from scheduler.config import Config
from scheduler.core.decisions import EngineRef, FinishRequest, GrantLease, LoadEngine, UnloadEngine
from scheduler.core.events import (
    EngineLoaded,
    EngineLoadFailed,
    EngineUnloaded,
    LeaseEnded,
    RequestArrived,
    TimerFired,
)
from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.core.request import Request
from scheduler.sim import observed
from scheduler.sim.observed import observe_times
from scheduler.sim.times import FixedTimes, written_times
from scheduler.trace.record import Record

FALLBACK = FixedTimes(load=1, run=2, per_item=3, unload=4)
REASON = Reason(ReasonCode.MAKE_ROOM)


def step(at_ns: int, event: object, *decisions: object) -> Record:
    return Record(0, at_ns, event, decisions, {})  # type: ignore[arg-type]


def grant(lease_id: int, *request_ids: int, holds: bool = False) -> GrantLease:
    return GrantLease(lease_id, (EngineRef("a", 1),), request_ids, holds)


def run(at_ns: int, ended: LeaseEnded, *items: int) -> list[Record]:
    """Requests of so many items arrive, run together from `at_ns` on, and end 10 ns per item on."""
    ids = range(1, len(items) + 1)
    return [
        *(
            step(0, RequestArrived(Request(id=i, models=("a",), items=n)))
            for i, n in zip(ids, items, strict=True)
        ),
        step(at_ns, TimerFired(), grant(ended.lease_id, *ids)),
        step(at_ns + 10 * sum(items), ended, *(FinishRequest(i, Outcome.COMPLETED) for i in ids)),
    ]


def test_a_synthetic_engine_takes_what_its_options_say(
    configured: Callable[[str], Config],
) -> None:
    config = configured(
        "memory: {budget: 1GiB}\n"
        "models:\n"
        "  a: {engine: synthetic, options: {load: 7ms, infer: 5ms, per_item: 3ms}, footprint: 1MiB}"
    )
    times = written_times(config.models["a"])
    assert times is not None
    assert times.load_ns() == 7_000_000
    assert [times.run_ns(items) for items in (1, 2, 5)] == [5_000_000, 8_000_000, 17_000_000]
    assert times.unload_ns() == 10_000_000


def test_loads_runs_and_unloads_are_drawn_from_what_was_seen() -> None:
    records = [
        step(100, TimerFired(), LoadEngine("a", 1)),
        step(350, EngineLoaded("a", 1)),
        *run(400, LeaseEnded(1), 1),
        step(500, TimerFired(), UnloadEngine("a", 1, REASON)),
        step(530, EngineUnloaded("a", 1)),
    ]
    times = observe_times(records, {"a": FALLBACK}, seed=1)["a"]
    assert (times.load_ns(), times.run_ns(1), times.unload_ns()) == (250, 10, 30)


def test_what_was_never_seen_takes_the_fallback() -> None:
    times = observe_times([], {"a": FALLBACK}, seed=1)["a"]
    assert (times.load_ns(), times.run_ns(3), times.unload_ns()) == (1, 8, 4)


def test_a_batch_takes_what_the_next_larger_one_took_and_in_proportion_beyond_the_largest() -> None:
    records = [*run(0, LeaseEnded(1), 1), *run(100, LeaseEnded(2), 2, 2)]
    times = observe_times(records, {"a": FALLBACK}, seed=1)["a"]
    assert [times.run_ns(items) for items in (1, 2, 4, 6)] == [10, 40, 40, 60]


def test_a_train_is_so_many_runs_of_one_item() -> None:
    first, *rest = run(0, LeaseEnded(1), 1, 1, 1)
    in_turn = [replace(r, decisions=tuple(map(as_train, r.decisions))) for r in rest]
    times = observe_times([first, *in_turn], {"a": FALLBACK}, seed=1)["a"]
    assert (times.run_ns(1), len(times.runs)) == (10, 1)


def as_train(decision: Any) -> Any:
    return replace(decision, in_turn=True) if isinstance(decision, GrantLease) else decision


@pytest.mark.parametrize(
    "records",
    [
        run(0, LeaseEnded(1, Outcome.FAILED, "broken"), 1),
        run(0, LeaseEnded(1, errors=((1, "bad input"),)), 1),
        [step(0, TimerFired(), grant(1, 1, holds=True)), step(9, LeaseEnded(1))],
        [step(0, TimerFired(), LoadEngine("a", 1)), step(9, EngineLoadFailed("a", 1, "no"))],
        [step(0, TimerFired(), LoadEngine("a", 2)), step(9, EngineLoaded("a", 1))],
        [step(9, EngineLoaded("a", 1)), step(9, EngineUnloaded("a", 1)), step(9, LeaseEnded(1))],
        [step(0, TimerFired(), LoadEngine("other", 1)), step(9, EngineLoaded("other", 1))],
    ],
)
def test_what_failed_was_held_or_began_before_the_trace_counts_for_nothing(
    records: list[Record],
) -> None:
    times = observe_times(records, {"a": FALLBACK}, seed=1)["a"]
    assert (times.load_ns(), times.run_ns(1), times.unload_ns()) == (1, 2, 4)


def test_equal_seeds_draw_equal_times_and_others_do_not() -> None:
    records = [
        record
        for n in range(1, 50)
        for record in (
            step(1000 * n, TimerFired(), LoadEngine("a", n)),
            step(1000 * n + n, EngineLoaded("a", n)),
        )
    ]

    def drawn(seed: int) -> list[int]:
        times = observe_times(records, {"a": FALLBACK}, seed)["a"]
        return [times.load_ns() for _ in range(20)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert set(drawn(1)) <= set(range(1, 50))


def test_a_long_trace_is_sampled_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed, "KEPT", 8)
    one = run(0, LeaseEnded(1), 1)
    long = [replace(r, at_ns=r.at_ns + 10 * n) for n in range(500) for r in one]
    slow_end = [step(10_000, TimerFired(), grant(2, 1)), step(20_000, LeaseEnded(2))] * 500
    times = observe_times([*long, *slow_end], {"a": FALLBACK}, seed=1)["a"]
    drawn = {times.run_ns(1) for _ in range(100)}
    assert drawn == {10, 10_000}, "neither the first nor the last ones are all that is kept"
    assert len(times.runs[1]._kept) == 8


def test_what_has_ended_is_forgotten() -> None:
    watch = observed._Watch(observe_times([], {"a": FALLBACK}, seed=1))
    for record in run(0, LeaseEnded(1), 1, 2):
        watch.hear(record.event, record.at_ns)
        for decision in record.decisions:
            watch.see(decision, record.at_ns)
    assert (watch._items, watch._runs) == ({}, {})
