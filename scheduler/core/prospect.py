"""What it would mean to do without an engine, or to have it: expected from what was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scheduler.core.engine import LOADING, READY
from scheduler.core.model import SECOND_NS
from scheduler.core.policy import Candidate, loss

if TYPE_CHECKING:
    from scheduler.core.amounts import Amounts
    from scheduler.core.engine import Engine
    from scheduler.core.figures import Figures

GUESSED_BYTES_PER_NS: Final = 1
"""How fast an engine is thought to load before one load was seen: 1 GB/s, a warm page cache."""


def reload_ns(engine: Engine) -> int:
    """How long it usually takes to have the engine back."""
    return load_ns(engine.figures)


def load_ns(figures: Figures) -> int:
    """How long a load of this form usually takes."""
    seen_ns = figures.load_times.usual_ns()
    return seen_ns or sum(figures.resident_bytes().values()) // GUESSED_BYTES_PER_NS


def service_ns(engines: tuple[Engine, ...]) -> int:
    """How long until engines that are not in memory would have served one request."""
    loads_ns = 0
    for engine in engines:
        if engine.state is not READY:
            loads_ns = max(loads_ns, reload_ns(engine))
    return loads_ns + engines[0].run_times.usual_ns()


def idle_from_ns(engine: Engine, now: int) -> int:
    """When an engine that loads, runs or is ready will usually have done what it is there for."""
    run_ns = engine.run_times.usual_ns()
    if engine.run is not None:
        return max(now, engine.run.granted_ns + run_ns) + (run_ns if engine.next_run else 0)
    if engine.state is LOADING:
        return max(now, engine.since_ns + reload_ns(engine)) + run_ns
    return now


def misses(engine: Engine, away_ns: int, until_next_ns: int, figures: Figures | None = None) -> int:
    """How many of its requests would miss their deadlines if it were given away for `away_ns`.

    Those that come before it is back by more than their deadline; the next in `until_next_ns`,
    the others at their usual distance. It comes back in the form of `figures`, or as it is.
    """
    deadline_ns = engine.allowed_ns()
    gap_ns = engine.demand.usual_ns()
    if deadline_ns is None or not gap_ns:
        return 0
    back = figures or engine.figures
    run_ns = back.run_times.usual_ns() or engine.run_times.usual_ns()
    back_ns = away_ns + load_ns(back) + run_ns
    too_late_ns = back_ns - deadline_ns - until_next_ns
    return 0 if too_late_ns < 0 else too_late_ns // gap_ns + 1


def until_next_ns(engine: Engine, now: int) -> int | None:
    """How long until the engine is wanted, or None when nothing is expected."""
    next_ns = engine.demand.next_ns(now)
    return None if next_ns is None else next_ns - now


def candidate(engine: Engine, frees: Amounts, away_ns: int, now: int) -> Candidate:
    """What a policy may know of an engine that would be given away for `away_ns`."""
    wanted_ns = until_next_ns(engine, now)
    runs = engine.run is not None
    used_ns = now if runs else engine.used_ns
    return Candidate(
        model=engine.name,
        priority=engine.priority,
        used_ns=used_ns,
        runs=runs,
        frees=frees,
        reload_ns=reload_ns(engine),
        # Of an engine that nobody is known to want: unused for so long, unused for as long again.
        gap_ns=now - used_ns + SECOND_NS if wanted_ns is None else wanted_ns,
        misses=0 if wanted_ns is None else misses(engine, away_ns, wanted_ns),
    )


def worth(engine: Engine, now: int) -> int:
    """What it is worth to have this engine in memory all the time, as `loss` counts it."""
    gap_ns = engine.demand.usual_ns()
    if not gap_ns or engine.demand.next_ns(now) is None:
        return 0
    known = Candidate(
        model=engine.name,
        priority=engine.priority,
        used_ns=engine.used_ns,
        frees={},
        reload_ns=reload_ns(engine),
        gap_ns=gap_ns,
        misses=min(1, misses(engine, 0, 0)),
    )
    return loss(known)
