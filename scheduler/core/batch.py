"""Who runs together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.amounts import Amounts, fits
from scheduler.core.claim import running_bytes
from scheduler.core.request import RequestKind

if TYPE_CHECKING:
    from scheduler.core.queue import Lane, Pending


def batch_of(lane: Lane, head: Pending, free: Amounts) -> list[Pending]:
    """The head, and as many of its followers as the batch and the free memory take."""
    spec = lane.engines[0].spec
    batch, items = [head], head.request.items
    if spec.batch_max == 1 or head.request.kind is not RequestKind.INFER:
        return batch
    for _, pending in lane.entries[1:]:
        more = items + pending.request.items
        if pending.request.kind is not RequestKind.INFER or more > spec.batch_max:
            break
        if not fits(running_bytes(lane.engines, more), free):
            break
        batch.append(pending)
        items = more
    return batch


def waits_until_ns(lane: Lane, head: Pending, batch: list[Pending], now: int) -> int | None:
    """Until when a batch that is not full waits for others to join it, or None.

    At most half of the time to the deadline of its first is lent to others.
    """
    spec = lane.engines[0].spec
    wait_ns = spec.batch_wait_ns
    if head.deadline_ns is not None:
        wait_ns = min(wait_ns, (head.deadline_ns - head.arrived_ns) // 2)
    until_ns = head.arrived_ns + wait_ns
    if until_ns <= now or head.request.kind is not RequestKind.INFER:
        return None
    full = sum(pending.request.items for pending in batch) >= spec.batch_max
    if full or len(batch) < len(lane):
        return None  # Something else than arrivals limits it: waiting would not help.
    return until_ns
