"""Who runs together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.amounts import Amounts, fits
from scheduler.core.claim import running_bytes
from scheduler.core.outlook import fit, usable_bytes
from scheduler.core.request import INFER

if TYPE_CHECKING:
    from scheduler.core.engine import Engine
    from scheduler.core.queue import Lane, Pending
    from scheduler.core.state import State


def most_items(state: State, engine: Engine) -> int:
    """How many items a run of this engine may have: by its form, by the budget, and by memory.

    The budget allows what would fit beside what is pinned, were all others gone.
    """
    most = engine.form.batch_max
    figures = engine.figures
    if figures.room_for[0] != state.epoch:
        figures.room_for = (state.epoch, _room_for(state, engine))
    return min(most, figures.room_for[1], figures.batch_limit or most)


def _room_for(state: State, engine: Engine) -> int:
    most = engine.form.batch_max
    usable, alone = usable_bytes(state), engine.running_bytes(1)
    for pool, part in engine.form.footprint.items():
        if part.per_item_bytes:
            pinned = sum(
                form.resident_bytes().get(pool, 0)
                for name, form in fit(state).pinned.items()
                if name != engine.name
            )
            left = usable[pool] - pinned - engine.resident_bytes()[pool] - alone[pool]
            most = min(most, 1 + max(0, left) // part.per_item_bytes)
    return most


def batch_of(lane: Lane, head: Pending, free: Amounts, most: int) -> list[Pending]:
    """The head, and as many of its followers as the free memory takes, `most` items in all."""
    batch, items = [head], head.request.items
    if most == 1 or head.request.kind is not INFER:
        return batch
    for _, pending in lane.entries[1:]:
        more = items + pending.request.items
        if pending.request.kind is not INFER or more > most:
            break
        if not fits(running_bytes(lane.engines, more), free):
            break
        batch.append(pending)
        items = more
    return batch


def waits_until_ns(lane: Lane, batch: list[Pending], most: int, now: int) -> int | None:
    """Until when a batch of fewer than `most` items waits for others to join it, or None.

    At most half of the time to the deadline of its first is lent to others.
    """
    head = batch[0]
    wait_ns = lane.engines[0].form.batch_wait_ns
    if head.deadline_ns is not None:
        wait_ns = min(wait_ns, (head.deadline_ns - head.arrived_ns) // 2)
    until_ns = head.arrived_ns + wait_ns
    if until_ns <= now or head.request.kind is not INFER:
        return None
    full = sum(pending.request.items for pending in batch) >= most
    if full or len(batch) < len(lane):
        return None  # Something else than arrivals limits it: waiting would not help.
    return until_ns
