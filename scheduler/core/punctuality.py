"""Whether a request can still be on time, by the loads and runs that were seen.

Its load counts as the fastest remembered. So does its run, while nobody else could use the time:
who could be on time is tried. While somebody as important waits right behind it, in a hurry too,
its run counts as nearly the slowest: else who will hardly be on time makes the next one late as
well, and so on through the whole queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scheduler.core.engine import LOADING, UNLOADED, Engine
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.core.outlook import fit
from scheduler.core.policy import rank
from scheduler.core.request import INFER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.core.durations import Durations
    from scheduler.core.figures import Figures
    from scheduler.core.queue import Pending
    from scheduler.core.state import State

RUNS_TO_TRUST: Final = 3
"""Runs seen before run times count against a deadline: the first run of an engine is often slow."""


def too_late(state: State, pending: Pending, now: int) -> Reason | None:
    """Why a waiting request cannot be on time, or None."""
    if pending.deadline_ns is None:
        return None
    load_ns, run_ns = _least_ns(state, pending, now)
    ready_ns = now + load_ns
    for engine in pending.lane.engines:
        if engine.state is LOADING:
            ready_ns = max(ready_ns, engine.since_ns + engine.load_times.fastest_ns(now))
    if ready_ns + run_ns <= pending.deadline_ns:
        return None
    takes_ns = ready_ns + run_ns - now
    due_ms = (pending.deadline_ns - now) / 1e6
    takes = f"{'can take' if gives_way(pending) else 'takes at least'} {takes_ns / 1e6:.1f} ms"
    grounds = _grounds(state, pending, now)
    detail = f"it {takes} from now, its deadline is in {due_ms:.1f} ms: {grounds}"
    return Reason(ReasonCode.DEADLINE_UNREACHABLE, detail, takes_ns=takes_ns)


def too_late_from_ns(state: State, pending: Pending, now: int) -> int | None:
    """From when on a request that waits cannot be on time, or None if it has no deadline."""
    if pending.deadline_ns is None:
        return None
    return pending.deadline_ns - sum(_least_ns(state, pending, now)) + 1


def _least_ns(state: State, pending: Pending, now: int) -> tuple[int, int]:
    """How long the loads take that have not begun, and then the run; in the quickest form."""
    runs = pending.request.kind is INFER
    engine = pending.lane.engines[0]
    if runs and engine.state is not UNLOADED:
        return (0, _run_ns(engine.figures, pending, now))
    quickest = [_quickest(state, pending, absent, now) for absent in _absent(pending)]
    load_ns = max((figures.load_times.fastest_ns(now) for figures in quickest), default=0)
    return (load_ns, _run_ns(quickest[0], pending, now) if runs else 0)


def _absent(pending: Pending) -> Iterator[Engine]:
    return (e for e in pending.lane.engines if e.state is UNLOADED)


def _quickest(state: State, pending: Pending, engine: Engine, now: int) -> Figures:
    """Of the forms in which the engine can serve this that which loads and runs soonest."""
    if not engine.has_choice:
        return engine.figures
    runs = pending.request.kind is INFER
    forms = fit(state).possible(engine.name, pending.request.items) or engine.forms
    return min(
        forms,
        key=lambda form: (
            form.load_times.fastest_ns(now) + (_run_ns(form, pending, now) if runs else 0)
        ),
    )


def _run_ns(figures: Figures, pending: Pending, now: int) -> int:
    """What a run of this form counts as, 0 when too few are known."""
    slow_ns = figures.run_times.slow_ns(now) if gives_way(pending) else 0
    return slow_ns or figures.run_times.fastest_ns(now, at_least=RUNS_TO_TRUST)


def gives_way(pending: Pending) -> bool:
    """Whether somebody as important, who has a deadline too, comes right after it.

    Where they may go in one batch nobody makes the other late.
    """
    lane = pending.lane
    follower = lane.second
    if follower is None or lane.head is not pending:
        return False
    return (
        follower.deadline_ns is not None
        and follower.request.kind is INFER
        and rank(follower) == rank(pending)
        and lane.engines[0].form.batch_max == 1
    )


def _grounds(state: State, pending: Pending, now: int) -> str:
    """What this is known from: how many were seen, and what they come to."""
    parts: list[str] = []
    for engine in pending.lane.engines:
        absent = engine.state is UNLOADED
        figures = _quickest(state, pending, engine, now) if absent else engine.figures
        if absent or engine.state is LOADING:
            parts += _told(f"load of {engine.name}", figures.load_times, now, 1)
        if pending.request.kind is INFER:
            parts += _told("run", figures.run_times, now, RUNS_TO_TRUST)
    return ", ".join([*parts, "another waits behind it"] if gives_way(pending) else parts)


def _told(what: str, times: Durations, now: int, at_least: int) -> Iterator[str]:
    fastest_ns, slow_ns, n = times.fastest_ns(now, at_least), times.slow_ns(now), len(times)
    if fastest_ns:
        high = f" to {slow_ns / 1e6:.1f} ms ({(n - 1) / (n + 1):.2f}-quantile)" if slow_ns else ""
        yield f"{what} {fastest_ns / 1e6:.1f} ms (fastest of {n}){high}"
