"""Short runs, one after another under one lease: a train.

To decide on a run, hand it to the engine's thread and hear of its end takes longer than a short
run itself. So who queues for an engine that is known to be quick goes with the first, each in an
`infer` call of its own, and all are answered when the last is done. Nobody who comes meanwhile,
whoever it is, waits longer for that than `TRAIN_NS`, as far as run times can be known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scheduler.core.queue import AFTER_ALL
from scheduler.core.request import INFER

if TYPE_CHECKING:
    from scheduler.core.engine import Engine
    from scheduler.core.queue import Lane, OrderKey, Pending
    from scheduler.core.state import State

TRAIN_NS: Final = 1_000_000
"""How long a train is expected to take at most: the shortest deadlines are ten times as long."""


def train_of(state: State, lane: Lane, now: int) -> list[Pending]:
    """The first of a lane, and those of its followers who may go with it.

    As many as will be done in time by nearly the slowest run known. Each must have twice the time
    that this takes until its deadline, and nobody is taken who comes after somebody in another lane
    who wants this engine too.
    """
    head = lane.head
    engine = lane.only
    if len(lane) == 1 or engine is None or not may_go(head) or not state.policy.couples:
        return [head]
    run_ns = engine.figures.work_times.nearly_slowest_ns()
    if not run_ns:
        return [head]
    others_key = first_of_others(state, lane, engine)
    limit_ns = min(TRAIN_NS, (engine.spec.run_timeout_ns or 2 * TRAIN_NS) // 2)
    train: list[Pending] = []
    for key, pending in lane.entries:
        if pending.deadline_ns is not None:
            limit_ns = min(limit_ns, (pending.deadline_ns - now) // 2)
        if not may_go(pending) or key > others_key or (len(train) + 1) * run_ns > limit_ns:
            break
        train.append(pending)
    return train or [head]


def may_go(pending: Pending) -> bool:
    """A load, a lease or an unload is no run; how long several items take nobody knows."""
    return pending.request.kind is INFER and pending.request.items == 1


def first_of_others(state: State, lane: Lane, engine: Engine) -> OrderKey:
    """The first place in the order at which somebody in another lane wants this engine."""
    first = AFTER_ALL
    for other in state.queue.lanes_of(engine.name):
        if other is not lane and other.entries:
            first = min(first, other.head.key)
    return first
