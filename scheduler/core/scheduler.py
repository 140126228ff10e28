"""The one door to the core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.apply import apply
from scheduler.core.arrival import arrive, watch_wait
from scheduler.core.events import RequestArrived
from scheduler.core.expire import expire
from scheduler.core.invariants import check
from scheduler.core.settle import settle
from scheduler.core.snapshot import Snapshot, photograph
from scheduler.core.state import State
from scheduler.core.switch import announce

if TYPE_CHECKING:
    from scheduler.core.decisions import Decision
    from scheduler.core.events import Event
    from scheduler.core.mode import Mode
    from scheduler.core.settings import Settings
    from scheduler.core.witness import Witness


class Scheduler:
    """Decides who is in memory, who runs and who waits.

    Deterministic: the same settings, events and times give the same decisions. It reads no clock,
    waits for nothing and keeps no reference to what it was given but the values themselves. A
    `witness` is told what is weighed; it sees live engines, which it must not change.
    """

    def __init__(self, settings: Settings, witness: Witness | None = None) -> None:
        self._state = State(settings)
        self._state.witness = witness
        self._now = 0
        self._arrivals = 0
        self._look_again_ns: int | None = None

    def handle(self, event: Event, now: int) -> list[Decision]:
        """Take in one event at `now` (monotonic nanoseconds) and decide all that follows from it.

        Applies the event, lets expire what time has ended, and settles until nothing more can be
        decided. `now` must not run backwards. Raises ValueError for a model that exists already or
        names an unknown pool; nothing has changed then.
        """
        assert now >= self._now, f"time runs backwards: {now} after {self._now}"
        state = self._state
        state.decisions = []
        is_settled = False
        if isinstance(event, RequestArrived):
            self._arrivals += 1
            is_settled = arrive(state, event.request, self._arrivals, now)
        else:
            apply(event, state, now)
        self._now = now
        self._look_again_ns = None
        if not is_settled:
            self._settle(event, now)
        if state.switching_ns is not None:
            announce(state, now)
        return state.decisions

    def _settle(self, event: Event, now: int) -> None:
        state = self._state
        if state.timers.has_due(now):
            expire(state, now)
        self._look_again_ns = settle(state, now)
        if isinstance(event, RequestArrived):
            watch_wait(state, event.request.id, now)

    def next_timer(self) -> int | None:
        """When to send TimerFired (monotonic ns), or None while time alone changes nothing.

        An early or an extra one is a no-op.
        """
        alarm_ns, look_ns = self._state.timers.next_ns(), self._look_again_ns
        if alarm_ns is None or look_ns is None:
            return look_ns if alarm_ns is None else alarm_ns
        return min(alarm_ns, look_ns)

    @property
    def mode(self) -> Mode | None:
        """The mode that is in force."""
        return self._state.mode

    def snapshot(self) -> Snapshot:
        """The state as of the last event."""
        return photograph(self._state, self._now)

    def reserved_bytes(self) -> dict[str, int]:
        """The ledger's total per pool."""
        return self._state.ledger.reserved_bytes()

    def check_invariants(self) -> None:
        """Assert what must always hold; see `invariants`."""
        check(self._state)
