"""How a request climbs in the order as it waits: once it is overdue, and once it has aged.

One alarm at a time: few wait for so long that they need the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.timers import AGEING, OVERDUE

if TYPE_CHECKING:
    from scheduler.core.queue import Pending
    from scheduler.core.state import State


def watch_climb(state: State, pending: Pending) -> None:
    """Set the alarm for the next time that a waiting request climbs, if there is one."""
    ageing_ns = None if pending.aged else state.settings.ageing_ns
    max_wait_ns = pending.lane.max_wait_ns
    if not pending.overdue and (ageing_ns is None or max_wait_ns <= ageing_ns):
        kind, wait_ns = OVERDUE, max_wait_ns
    elif ageing_ns is not None:
        kind, wait_ns = AGEING, ageing_ns
    else:
        return
    state.timers.set(kind, pending.request.id, pending.arrived_ns + max(wait_ns, 1))


def become_overdue(state: State, request_id: int, now: int) -> None:
    """It has waited for `max_wait`."""
    del now
    pending = state.pending[request_id]
    pending.overdue = True
    _move(state, pending)


def age(state: State, request_id: int, now: int) -> None:
    """It has waited for the ageing time."""
    del now
    pending = state.pending[request_id]
    pending.aged = True
    _move(state, pending)


def _move(state: State, pending: Pending) -> None:
    state.queue.remove(pending)
    pending.key = state.policy.order_key(pending)
    state.queue.add(pending)
    watch_climb(state, pending)
