"""What the scheduler does, as the edges want to know it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Optional

import anyio

from scheduler.core import decisions as do
from scheduler.core import events as saw
from scheduler.core.outcome import Outcome, Reason, ReasonCode

if TYPE_CHECKING:
    from scheduler.trace.record import Record

EVENTS_MAX = 256
"""Events that were not published yet; further ones are counted and lost."""


class Ticket:
    """Set in a task before it calls `infer`: learns the number under which the core knows it."""

    __slots__ = ("request_id",)

    def __init__(self) -> None:
        self.request_id: int | None = None


ASKING: ContextVar[Optional[Ticket]] = ContextVar("rota_asking", default=None)
"""Observers are called within the asking task's own call, so its context says who asks."""


class News:
    """An observer: make it before the runtime, give it to both the runtime and the transport.

    Missed deadlines are added up per model, other events are kept one by one until `take_events`.
    """

    def __init__(self) -> None:
        self.lost_events = 0
        self._changed: anyio.Event | None = None
        self._events: deque[dict[str, Any]] = deque()
        self._missed: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._models: dict[int, str] = {}
        self._ends: dict[int, Callable[[Reason | None], None]] = {}
        self._tellers: dict[type, Callable[[Any], None]] = {
            saw.RequestArrived: self._arrived,
            saw.EngineLoaded: self._loaded,
            saw.EngineLoadFailed: self._failed,
            saw.EngineUnloaded: self._unloaded,
            saw.EngineLost: self._lost,
            do.FinishRequest: self._finished,
            do.UnloadEngine: self._evicted,
            do.RaiseAlarm: self._alarm,
        }

    def observe(self, record: Record) -> None:
        """Take in one step."""
        for thing in (record.event, *record.decisions):
            teller = self._tellers.get(type(thing))
            if teller is not None:
                teller(thing)
        if self._changed is not None:
            self._changed.set()

    async def change(self) -> None:
        """Wait for the next step."""
        self._changed = anyio.Event()
        await self._changed.wait()

    def when_finished(self, request_id: int, call: Callable[[Reason | None], None]) -> None:
        """Have `call` called when a request that has not ended yet ends."""
        self._ends[request_id] = call

    def take_events(self) -> list[dict[str, Any]]:
        """What happened since the last call, in order; missed deadlines at the end."""
        taken = [*self._events, *self._missed.values()]
        self._events.clear()
        self._missed.clear()
        return taken

    def _tell(self, event: str, **fields: Any) -> None:
        if len(self._events) >= EVENTS_MAX:
            self.lost_events += 1
            return
        self._events.append({"event": event, **fields})

    def _arrived(self, event: saw.RequestArrived) -> None:
        request = event.request
        self._models[request.id] = request.models[0]
        ticket = ASKING.get()
        if ticket is not None and ticket.request_id is None:
            ticket.request_id = request.id

    def _loaded(self, event: saw.EngineLoaded) -> None:
        measured = {pool: seen.bytes for pool, seen in event.measured.items()}
        self._tell("loaded", model=event.model, measured_bytes=measured)

    def _failed(self, event: saw.EngineLoadFailed) -> None:
        self._tell("load_failed", model=event.model, message=event.error)

    def _unloaded(self, event: saw.EngineUnloaded) -> None:
        residue = {pool: left.bytes for pool, left in event.residue.items() if left.bytes}
        self._tell("unloaded", model=event.model, residue_bytes=residue)

    def _lost(self, event: saw.EngineLost) -> None:
        self._tell("lost", model=event.model, message=event.error)

    def _evicted(self, decision: do.UnloadEngine) -> None:
        self._tell("evicted", model=decision.model, **_why(decision.reason))

    def _alarm(self, decision: do.RaiseAlarm) -> None:
        self._tell("alarm", model=decision.model, **_why(decision.reason))

    def _finished(self, decision: do.FinishRequest) -> None:
        model = self._models.pop(decision.request_id, None)
        call = self._ends.pop(decision.request_id, None)
        if call is not None:
            call(decision.reason)
        if decision.outcome is not Outcome.DEADLINE_MISSED or model is None:
            return
        missed = self._missed.setdefault(model, {"event": "missed", "model": model, "count": 0})
        missed["count"] += 1
        missed.update(_why(decision.reason))


def _why(reason: Reason | None) -> dict[str, str]:
    reason = reason or Reason(ReasonCode.RUN_FAILED, "no reason was given")
    return {"code": reason.code.value, "message": str(reason)}
