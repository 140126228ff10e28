"""What must hold after every event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.engine import EngineState

if TYPE_CHECKING:
    from scheduler.core.state import State


def check(state: State) -> None:
    """Assert the invariants.

    Nothing here says reserved <= budget: what was measured, or a budget that shrank, can pass it;
    what was decided cannot. Whoever watches a whole run can tell the two apart, see the tests.
    """
    state.ledger.check()
    state.queue.check()
    _check_engines(state)
    _check_groups(state)
    _check_leases(state)
    _check_units(state)
    _check_requests(state)
    _check_likenesses(state)


def _check_engines(state: State) -> None:
    for name, engine in state.engines.items():
        booked = state.ledger.booked(("engine", name))
        match engine.state:
            case EngineState.UNLOADED:
                assert not booked, f"{engine} books {booked}"
            case EngineState.READY:
                assert booked == engine.resident_bytes(), f"{engine} books {booked}"
            case _:
                assert set(booked) == set(engine.form.footprint), f"{engine} books {booked}"
        if engine.state is not EngineState.READY:
            assert engine.run is None, f"{engine} runs"
            assert engine.next_run is None, f"{engine} is to run next"
            assert engine.hold is None, f"{engine} is held"


def _check_groups(state: State) -> None:
    loaded: dict[str, str] = {}
    for name, engine in state.engines.items():
        for group in engine.spec.exclusive if engine.in_memory else ():
            assert group not in loaded, f"{name} and {loaded[group]} are both in group {group}"
            loaded[group] = name


def _check_leases(state: State) -> None:
    for lease in state.leases.values():
        assert lease.pending or lease.revoking, f"{lease} is for nobody"
        for engine in lease.engines:
            if lease.after is None:
                assert (engine.hold if lease.holds else engine.run) is lease
            else:
                assert engine.next_run is lease
                assert engine.run is not None
                assert engine.run.id == lease.after
    engines = state.engines.values()
    on_engines = [lease for e in engines for lease in (e.run, e.next_run, e.hold)]
    assert {lease.id for lease in on_engines if lease} == set(state.leases)


def _check_units(state: State) -> None:
    in_use = dict.fromkeys(state.settings.resources, 0)
    for engine in state.engines.values():
        for name, count in engine.form.uses.items() if engine.run else ():
            in_use[name] += count
    for name, most in state.settings.resources.items():
        assert in_use[name] <= most, f"{in_use[name]} of {most} units of {name} are in use"
        assert state.units[name] == most - in_use[name]


def _check_requests(state: State) -> None:
    waiting = {pending.request.id for pending in state.queue.waiting()}
    leased = {p.request.id for lease in state.leases.values() for p in lease.pending}
    assert not waiting & leased, f"{waiting & leased} wait and hold a lease"
    assert waiting | leased == set(state.pending)
    assert state.queue.payload_bytes == sum(p.request.payload_bytes for p in state.queue.waiting())


def _check_likenesses(state: State) -> None:
    for _, lane in state.queue.heads():
        if lane.likeness is None:
            continue
        engine = lane.engines[0]
        assert engine.state is EngineState.UNLOADED or engine.is_idle, f"{engine} is in use"
        assert lane.judged_in == state.epoch, f"{engine} was judged before"
        assert engine.sole_need == lane.likeness[:3], f"{engine} needs {engine.sole_need}"
        assert lane.importance() == lane.likeness[3], f"{engine} is more important, or less"
