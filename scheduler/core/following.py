"""Who runs next on an engine that runs: granted ahead, it follows without a gap.

Between two runs that are decided one after the other lie the way from the engine's thread to the
event loop and back, and whatever the loop is busy with: a quarter of a millisecond or more. That is
nothing beside a run of 50 ms, and a quarter of the rate beside one of 1 ms. So for engines that are
known to be quick the lease that follows is granted ahead, and begins when the first has ended.

It waits for that with empty hands, and takes over then what the first had: its units, and no more
than its workspace. So it passes nobody who waits for memory or units. Whoever comes meanwhile,
however important, waits for two runs instead of one: `AHEAD_NS` bounds that, and `UNHURRIED_NS`
where no model is more important than this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.amounts import fits
from scheduler.core.batch import batch_of, most_items
from scheduler.core.durations import FEW
from scheduler.core.running import workspace_of
from scheduler.core.train import first_of_others, may_go, train_of

if TYPE_CHECKING:
    from scheduler.core.engine import Engine
    from scheduler.core.queue import Lane, Pending
    from scheduler.core.state import State

AHEAD_NS = 8_000_000
"""How long a run and the one that follows may usually take together: less than the deadlines of
those who are in the greatest hurry, some 10 ms."""
UNHURRIED_NS = 24_000_000
"""The same where nobody is known to be in a greater hurry: less than the 33 ms of a camera."""
WORTH_NS = 200_000
"""The way to a thread and back: what takes less together had better be joined by others first."""


def may_follow(state: State, lane: Lane) -> bool:
    """Whether those who wait here could follow the run that is on their engine.

    That becomes true only when somebody joins them, or when another run begins.
    """
    engine = lane.only
    if engine is None or engine.run is None or engine.next_run is not None:
        return False
    times = engine.figures.work_times
    run_ns = times.usual_ns()
    if len(times) < FEW or not state.policy.couples or not _is_quick(state, engine, 2 * run_ns):
        return False
    if engine.run.parent is not None or engine.run.revoking is not None:
        return False
    if engine.form.batch_max == 1:
        return run_ns * len(lane) >= WORTH_NS
    items = sum(pending.request.items for _, pending in lane.entries)
    return items >= most_items(state, engine)


def _is_quick(state: State, engine: Engine, ahead_ns: int) -> bool:
    """Whether others may wait for two runs of this engine, which usually take so long."""
    if ahead_ns <= AHEAD_NS:
        return True
    others = state.engines.values()
    hurries = any(e.priority > engine.priority and e.disabled is None for e in others)
    return ahead_ns <= UNHURRIED_NS and not hurries


def followers(state: State, lane: Lane, now: int) -> list[Pending]:
    """Who is to follow the run on the engine of this lane, which may: one, a train, a full batch.

    Nobody, while somebody in another lane is before them, or memory is to be given back.
    """
    head, engine = lane.head, lane.engines[0]
    if head.key > first_of_others(state, lane, engine):
        return []
    if state.ledger.is_overdrawn():
        return []  # Perhaps it is to be unloaded as soon as it is idle.
    assert engine.run is not None
    there = state.ledger.booked(("lease", engine.run.id))
    if engine.form.batch_max == 1:
        batch = train_of(state, lane, now) if may_go(head) else []
    else:
        most = most_items(state, engine)
        batch = batch_of(lane, head, there, most)
        if sum(pending.request.items for pending in batch) < most:
            return []
    needs = workspace_of(engine, [pending.request for pending in batch])
    return batch if fits(needs, there) else []
