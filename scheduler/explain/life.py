"""One request from its arrival to its end, as its story is gathered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from scheduler.core.decisions import (
    FinishRequest,
    GrantLease,
    LoadEngine,
    RevokeLease,
    SwitchMode,
    UnloadEngine,
)
from scheduler.core.events import (
    EngineLoaded,
    EngineLoadFailed,
    EngineLost,
    EngineUnloaded,
    LeaseEnded,
    RequestCancelled,
)
from scheduler.core.model import in_form
from scheduler.explain.moment import Moments
from scheduler.explain.span import spoken

if TYPE_CHECKING:
    from scheduler.core.decisions import Decision
    from scheduler.core.events import Event
    from scheduler.core.outcome import Outcome, Reason
    from scheduler.core.request import Request
    from scheduler.trace.record import Record


class Life:
    """The moments of one request. `granted_ns` and `ended_ns` are None until they have come.

    `load_ns` is what the loads of its own models took while it waited, per model.
    """

    def __init__(self, request: Request, arrived_ns: int) -> None:
        self.request = request
        self.arrived_ns = arrived_ns
        self.granted_ns: int | None = None
        self.ended_ns: int | None = None
        self.outcome: Outcome | None = None
        self.reason: Reason | None = None
        self.moments = Moments()
        self.load_ns: dict[str, int] = {}
        self._lease_id: int | None = None
        self._after: int | None = None
        self._loading: dict[tuple[str, int], int] = {}
        self._leaving: dict[tuple[str, int], int] = {}
        self._names_it = re.compile(rf"\brequest {request.id}\b")

    def hear(self, event: Event, now: int) -> None:
        """What has happened to it, or to engines that load or leave for it."""
        text = self._news(event, now)
        if text:
            self.moments.add(now, text)

    def see(self, record: Record) -> None:
        """What was decided about it, until it ended."""
        if self._fell_back(record):
            self.granted_ns = None
            self.moments.add(record.at_ns, "waits again, for a run of fewer")
        for decision in record.decisions:
            text = "" if self.ended_ns is not None else self._act(decision, record.at_ns)
            if text:
                self.moments.add(record.at_ns, text)

    def _fell_back(self, record: Record) -> bool:
        """Whether the run that it shared failed for memory, and it is to be tried again."""
        event, finished = record.event, {getattr(d, "request_id", 0) for d in record.decisions}
        return (
            isinstance(event, LeaseEnded)
            and event.out_of_memory
            and event.lease_id == self._lease_id
            and self.ended_ns is None
            and self.request.id not in finished
        )

    def _news(self, event: Event, now: int) -> str:
        match event:
            case RequestCancelled(request_id) if request_id == self.request.id:
                return "its caller no longer wants it"
            case LeaseEnded(lease_id) if lease_id == self._after and self.ended_ns is None:
                self._after, self.granted_ns = None, now
                return f"runs, as lease {lease_id} has ended"
            case LeaseEnded(lease_id, error=error) if lease_id == self._lease_id:
                return f"its lease ends{f': {error}' if error else ''}"
            case _:
                return self._engine_news(event, now)

    def _engine_news(self, event: Event, now: int) -> str:
        match event:
            case EngineLoaded(model, instance) if (model, instance) in self._loading:
                self.load_ns[model] = now - self._loading.pop((model, instance))
                return f"{model} is loaded, after {spoken(self.load_ns[model])}"
            case EngineLoadFailed(model, instance, error) if (model, instance) in self._loading:
                return f"{model} could not be loaded: {error}"
            case EngineLost(model, _, error) if model in self.request.models:
                return f"{model} is lost: {error}"
            case EngineUnloaded(model, instance) if (model, instance) in self._leaving:
                since_ns = self._leaving.pop((model, instance))
                return f"{model} is out of memory, after {spoken(now - since_ns)}"
            case _:
                return ""

    def _act(self, decision: Decision, now: int) -> str:
        match decision:
            case LoadEngine(model, instance, variant, device) if model in self.request.models:
                self._loading[model, instance] = now
                return f"{model} begins to load{in_form(variant, device)}"
            case UnloadEngine(model, instance, reason) if self._concerns(model, reason):
                self._leaving[model, instance] = now
                return f"{model} has to go: {reason}"
            case GrantLease(lease_id, _, request_ids) if self.request.id in request_ids:
                self._lease_id, self._after = lease_id, decision.after
                self.granted_ns = now if decision.after is None else None
                return self._begun(decision)
            case RevokeLease(lease_id, reason) if self._concerns_lease(lease_id, reason):
                return f"lease {lease_id} is taken back: {reason}"
            case FinishRequest(request_id, outcome, reason) if request_id == self.request.id:
                self.ended_ns, self.outcome, self.reason = now, outcome, reason
                return f"ends: {outcome.value}{f', {reason}' if reason else ''}"
            case _:
                return _mode_news(decision)

    def _begun(self, grant: GrantLease) -> str:
        names = " and ".join(ref.model for ref in grant.engines)
        if grant.holds:
            return f"holds {names}, lease {grant.lease_id}"
        others = len(grant.request_ids) - 1
        if grant.in_turn:
            place = grant.request_ids.index(self.request.id) + 1
            with_others = f", number {place} of {others + 1} short runs in turn"
        else:
            with_others = f", in a batch with {others} more" if others else ""
        if grant.after is not None:
            after = f"after lease {grant.after}"
            return f"is to run on {names} {after}, lease {grant.lease_id}{with_others}"
        return f"runs on {names}, lease {grant.lease_id}{with_others}"

    def _concerns(self, model: str, reason: Reason) -> bool:
        """Decisions name in their sentence for whom they are."""
        return model in self.request.models or self._names_it.search(reason.detail) is not None

    def _concerns_lease(self, lease_id: int, reason: Reason) -> bool:
        return lease_id == self._lease_id or self._names_it.search(reason.detail) is not None


def _mode_news(decision: Decision) -> str:
    if not isinstance(decision, SwitchMode):
        return ""
    return f"{'no mode' if decision.mode is None else f'mode {decision.mode}'} is in force now"
