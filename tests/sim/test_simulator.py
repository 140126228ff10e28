from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from scheduler.core.decisions import (
    EngineRef,
    FinishRequest,
    GrantLease,
    LoadEngine,
    RevokeLease,
    UnloadEngine,
)
from scheduler.core.events import (
    EngineLoaded,
    EngineUnloaded,
    LeaseEnded,
    ModelRegistered,
    ModelRemoved,
    RequestArrived,
    RequestCancelled,
    TimerFired,
)
from scheduler.core.model import ModelSpec, PoolFootprint
from scheduler.core.outcome import Outcome
from scheduler.core.request import Request
from scheduler.core.settings import PoolBudget, Settings
from scheduler.sim.simulator import Simulator
from scheduler.sim.times import FixedTimes
from scheduler.trace.record import Record


def ask_at(simulator: Simulator, due_ns: int, request: Request, caller: Any) -> None:
    simulator.at(due_ns, lambda _: simulator.ask(request, caller))


def steps(records: list[Record]) -> list[tuple[Any, ...]]:
    """The records after the registrations, without the reasons: sentences are the core's affair."""
    no_reason: Any = {"reason": None}
    return [
        (
            record.at_ns,
            record.event,
            [replace(d, **no_reason) if hasattr(d, "reason") else d for d in record.decisions],
            record.reserved_bytes["unified"],
        )
        for record in records
        if not isinstance(record.event, ModelRegistered)
    ]


def test_the_runs_of_a_train_take_their_times_one_after_another(
    simulator: Simulator, records: list[Record], caller: Any
) -> None:
    spec = ModelSpec(name="a", footprint={"unified": PoolFootprint(resident_bytes=200)})
    simulator.tell(ModelRemoved("a"))
    simulator.register(spec)
    for number in range(1, 6):
        ask_at(simulator, number * 1000, Request(id=number, models=("a",)), caller)
    for number in range(6, 10):
        ask_at(simulator, 6000, Request(id=number, models=("a",)), caller)
    simulator.run(10_000)
    granted = [(r.at_ns, d) for r in records for d in r.decisions if isinstance(d, GrantLease)]
    assert [(at_ns, d.request_ids, d.in_turn) for at_ns, d in granted[-2:]] == [
        (6000, (6,), False),
        (6020, (7, 8, 9), True),
    ]
    assert records[-1].at_ns == 6080


def test_two_models_that_do_not_fit_together_take_turns_as_worked_out_by_hand(
    simulator: Simulator, records: list[Record], caller: Any
) -> None:
    first, second = Request(id=1, models=("a",)), Request(id=2, models=("b",))
    ask_at(simulator, 0, first, caller)
    ask_at(simulator, 10, second, caller)

    simulator.run(2000)

    no_reason: Any = None
    assert steps(records) == [
        (0, RequestArrived(first), [LoadEngine("a", 1)], 200),
        (10, RequestArrived(second), [], 200),
        (100, EngineLoaded("a", 1), [GrantLease(1, (EngineRef("a", 1),), (1,))], 200),
        (
            120,
            LeaseEnded(1),
            [FinishRequest(1, Outcome.COMPLETED), UnloadEngine("a", 1, no_reason)],
            200,
        ),
        (130, EngineUnloaded("a", 1), [LoadEngine("b", 1)], 200),
        (230, EngineLoaded("b", 1), [GrantLease(2, (EngineRef("b", 1),), (2,))], 200),
        (250, LeaseEnded(2), [FinishRequest(2, Outcome.COMPLETED)], 200),
        (1250, TimerFired(), [UnloadEngine("b", 1, no_reason)], 200),
        (1260, EngineUnloaded("b", 1), [], 0),
    ]
    assert caller.outcomes == [Outcome.COMPLETED, Outcome.COMPLETED]
    assert simulator.open_requests == 0
    assert simulator.now_ns == 2000


def test_records_are_numbered_from_one_registrations_first(
    simulator: Simulator, records: list[Record], caller: Any
) -> None:
    ask_at(simulator, 0, Request(id=1, models=("a",)), caller)
    simulator.run(50)
    assert [(r.sequence, type(r.event)) for r in records] == [
        (1, ModelRegistered),
        (2, ModelRegistered),
        (3, RequestArrived),
    ]


def test_each_further_item_of_a_batch_makes_its_run_longer(
    simulator: Simulator, records: list[Record], caller: Any
) -> None:
    ask_at(simulator, 0, Request(id=1, models=("a",)), caller)
    ask_at(simulator, 1, Request(id=2, models=("a",), items=2), caller)
    simulator.run(1000)
    ended = [r.at_ns for r in records if isinstance(r.event, LeaseEnded)]
    assert ended == [100 + 20 + 2 * 5]


def test_nothing_hastens_a_run_whose_caller_has_gone(
    simulator: Simulator, records: list[Record], caller: Any
) -> None:
    ask_at(simulator, 0, Request(id=1, models=("a",)), caller)
    simulator.at(105, simulator.tell, RequestCancelled(1))
    simulator.run(1000)
    assert steps(records)[2:] == [
        (
            105,
            RequestCancelled(1),
            [FinishRequest(1, Outcome.CANCELLED), RevokeLease(1, None)],  # type: ignore[arg-type]
            200,
        ),
        (120, LeaseEnded(1), [], 200),
    ]


def test_what_happens_at_the_moment_of_a_deadline_comes_before_it(
    simulator: Simulator, caller: Any
) -> None:
    ask_at(simulator, 0, Request(id=1, models=("a",), deadline_ns=120), caller)
    simulator.run(1000)
    assert caller.outcomes == [Outcome.COMPLETED]


def test_a_deadline_that_nothing_else_marks_is_kept_by_a_timer(
    simulator: Simulator, records: list[Record], caller: Any
) -> None:
    ask_at(simulator, 0, Request(id=1, models=("a",), deadline_ns=119), caller)
    simulator.run(119)
    assert caller.outcomes == []
    simulator.run(1000)
    assert caller.outcomes == [Outcome.DEADLINE_MISSED]
    assert [r.at_ns for r in records if isinstance(r.event, TimerFired)] == [119]


def test_what_is_due_together_happens_in_the_order_in_which_it_was_promised(
    simulator: Simulator,
) -> None:
    order: list[str] = []
    for name in "cab":
        simulator.at(5, order.append, name)
    simulator.at(4, order.append, "first")
    simulator.run(6)
    assert order == ["first", "c", "a", "b"]


def test_stopping_on_the_way_changes_nothing(
    simulator: Simulator, records: list[Record], caller: Any
) -> None:
    for until_ns in (100, 101, 130, 1250):
        simulator.run(until_ns)
    ask_at(simulator, 1250, Request(id=1, models=("a",)), caller)
    for until_ns in (1300, 1350, 3000):
        simulator.run(until_ns)
        assert simulator.now_ns == until_ns
    assert [record.at_ns for record in records[2:]] == [1250, 1350, 1370, 2370, 2380]


def test_a_request_that_has_not_ended_is_counted_as_open(simulator: Simulator, caller: Any) -> None:
    ask_at(simulator, 0, Request(id=1, models=("a",)), caller)
    simulator.run(120)
    assert simulator.open_requests == 1
    assert caller.outcomes == []


def test_a_model_without_times_is_refused(simulator: Simulator) -> None:
    spec = ModelSpec(name="c", footprint={"unified": PoolFootprint(resident_bytes=1)})
    with pytest.raises(KeyError, match="no times for c"):
        simulator.register(spec)


def test_a_core_that_never_rests_is_an_error_and_no_endless_loop(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator.core, "next_timer", lambda: 7)
    with pytest.raises(RuntimeError, match="woken at 7 ns and asks for it at 7"):
        simulator.run(100)


MS = 1_000_000


def quick(watcher: Any) -> Simulator:
    """A model whose runs of 2 ms are known, at 1 s."""
    settings = Settings(pools={"unified": PoolBudget(budget_bytes=300)})
    times = {"a": FixedTimes(load=MS, run=2 * MS, unload=MS)}
    watcher.simulator = simulator = Simulator(settings, times, [watcher])
    footprint = {"unified": PoolFootprint(resident_bytes=200)}
    simulator.register(ModelSpec(name="a", footprint=footprint, keep_alive_ns=None))
    return simulator


def ends(records: list[Record]) -> list[tuple[int, int, Outcome]]:
    """When each lease ended, in ms after 1 s, and how."""
    heard = [(r.at_ns, r.event) for r in records if isinstance(r.event, LeaseEnded)]
    return [(at_ns // MS - 1000, e.lease_id, e.outcome) for at_ns, e in heard if e.lease_id > 4]


def ask_quick(simulator: Simulator, caller: Any, last: int) -> None:
    for number in range(1, 5):
        ask_at(simulator, number * 100 * MS, Request(id=number, models=("a",)), caller)
    for number in range(5, last + 1):
        ask_at(simulator, 1000 * MS, Request(id=number, models=("a",)), caller)


def test_a_run_that_follows_begins_when_the_one_before_it_ends(watcher: Any, caller: Any) -> None:
    simulator = quick(watcher)
    ask_quick(simulator, caller, 7)
    simulator.run(2000 * MS)
    done = Outcome.COMPLETED
    assert ends(watcher.records) == [(2, 5, done), (4, 6, done), (6, 7, done)]
    after = [d.after for r in watcher.records for d in r.decisions if isinstance(d, GrantLease)]
    assert after == [None] * 5 + [5, 6]


def test_one_that_is_called_off_before_it_begins_takes_no_time(watcher: Any, caller: Any) -> None:
    simulator = quick(watcher)
    ask_quick(simulator, caller, 7)
    simulator.at(1001 * MS, simulator.tell, RequestCancelled(6))
    simulator.run(2000 * MS)
    cancelled, done = Outcome.CANCELLED, Outcome.COMPLETED
    assert ends(watcher.records) == [(2, 5, done), (2, 6, cancelled), (4, 7, done)]
