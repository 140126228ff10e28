"""Builds a timeline from records, one at a time, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.core import events as ev
from scheduler.core.decisions import (
    Decision,
    FinishRequest,
    GrantLease,
    LoadEngine,
    RevokeLease,
    UnloadEngine,
)
from scheduler.core.model import form_name
from scheduler.core.request import Request, RequestKind
from scheduler.report.builder import ReportBuilder
from scheduler.timeline.bookings import Bookings
from scheduler.timeline.memory import MemoryStep, MemoryTrack
from scheduler.timeline.open_lane import OpenLane
from scheduler.timeline.timeline import MARKED, Lane, Phase, Timeline
from scheduler.trace.beginnings import Beginnings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.core.model import ModelSpec
    from scheduler.trace.header import Header
    from scheduler.trace.record import Record

DRAWN_KINDS = (RequestKind.INFER, RequestKind.HOLD)


@dataclass(slots=True)
class OpenRequest:
    """A request that has not ended; it waits until it is `granted`."""

    request: Request
    granted: bool = False


@dataclass(slots=True)
class OpenLease:
    """A lease that has not ended."""

    grant: GrantLease
    granted_ns: int
    note: str

    @property
    def models(self) -> tuple[str, ...]:
        """The models of its engines."""
        return tuple(engine.model for engine in self.grant.engines)


class TimelineBuilder:
    """Turns records into lanes. `timeline` may be asked at any time, and again later.

    Takes a flight recorder's dump as well: the picture then begins with the first record after the
    registrations, and an engine that was loaded before is drawn from its first lease on.
    """

    def __init__(self, header: Header) -> None:
        settings = header.settings
        self._header = header
        self._start_ns = self._end_ns = header.started_ns
        self._sequence = 0
        self._only_registered = True
        self._report = ReportBuilder(settings, header.started_ns)
        self._bookings = Bookings(settings.trust)
        self._lanes: dict[str, OpenLane] = {}
        self._requests: dict[int, OpenRequest] = {}
        self._leases: dict[int, OpenLease] = {}
        self._beginnings = Beginnings()
        self._pools = {
            name: MemoryTrack(name, pool.budget_bytes) for name, pool in settings.pools.items()
        }

    def observe(self, record: Record) -> None:
        """Draw one step."""
        self._follow(record)
        self._report.observe(record)
        self._event(record.event, record.at_ns)
        for grant in self._beginnings.of(record):
            self._granted(grant, record.at_ns)
        for decision in record.decisions:
            self._decision(decision, record.at_ns)
        for name, reserved_bytes in record.reserved_bytes.items():
            if name in self._pools:
                by_model, running = self._bookings.resident(name), self._bookings.running(name)
                self._pools[name].reserve(
                    MemoryStep(record.at_ns, reserved_bytes, by_model, running)
                )

    def timeline(self) -> Timeline:
        """All that was observed; what still goes on is drawn until the last record."""
        lanes = {model: open_lane.until(self._end_ns) for model, open_lane in self._lanes.items()}
        for lease in self._leases.values():
            for model in lease.models:
                if model in lanes:
                    phase = Phase.HELD if lease.grant.holds else Phase.RUNNING
                    lanes[model].spans[phase].add(lease.granted_ns, self._end_ns, lease.note)
        return Timeline(
            node=self._header.node,
            started_at=self._header.started_at,
            start_ns=self._start_ns,
            end_ns=self._end_ns,
            lanes=tuple(lanes.values()),
            pools=tuple(self._pools.values()),
            report=self._report.report(),
        )

    def _follow(self, record: Record) -> None:
        """Keep the ends of the picture; it begins anew after a gap with nothing drawn before it."""
        gap = record.sequence != self._sequence + 1
        if self._only_registered and gap:
            self._start_ns = record.at_ns
            self._report.started_ns = record.at_ns
        if not isinstance(record.event, ev.ModelRegistered):
            self._only_registered = False
        self._start_ns = min(self._start_ns, record.at_ns)
        self._sequence = record.sequence
        self._end_ns = record.at_ns

    # -- events -----------------------------------------------------------------------------

    def _event(self, event: ev.Event, now: int) -> None:
        match event:
            case ev.RequestArrived(request):
                self._arrived(request, now)
            case ev.LeaseEnded(lease_id):
                self._lease_ended(lease_id, event, now)
            case ev.MemorySampled(pool, _, int(used_bytes)) if pool in self._pools:
                self._pools[pool].sample(now, used_bytes)
            case ev.BudgetChanged(pool, budget_bytes) if pool in self._pools:
                self._pools[pool].rebudget(now, budget_bytes)
            case ev.ModelRegistered(spec):
                self._registered(spec)
            case ev.PinChanged(model, pinned) if model in self._lanes:
                self._lanes[model].lane.pinned = pinned
            case _:
                self._engine_event(event, now)

    def _engine_event(self, event: ev.Event, now: int) -> None:
        match event:
            case ev.EngineLoaded(model, instance) if self._is(model, instance, Phase.LOADING):
                self._bookings.believe(model, event.measured)
                self._bookings.loaded(model)
                self._lanes[model].enter(Phase.RESIDENT, now)
            case ev.EngineUnloaded(model, instance) if self._is(model, instance, Phase.UNLOADING):
                self._bookings.gone(model)
                self._lanes[model].enter(None, now)
            case ev.EngineLoadFailed(model, instance) if self._is(model, instance, Phase.LOADING):
                self._gone(model, f"load failed: {event.error}", now)
            case ev.EngineLost(model, instance) if self._is(model, instance):
                for lease_id in [i for i, lease in self._leases.items() if model in lease.models]:
                    self._close(lease_id, now)
                self._gone(model, f"lost: {event.error}", now)
            case _:
                pass

    def _is(self, model: str, instance: int, phase: Phase | None = None) -> bool:
        """Whether this news is about the engine as it is, and not about an older one."""
        lane = self._lanes.get(model)
        return lane is not None and lane.instance == instance and phase in (None, lane.phase)

    def _gone(self, model: str, note: str, now: int) -> None:
        self._bookings.gone(model)
        self._lanes[model].fail(now, note)

    def _registered(self, spec: ModelSpec) -> None:
        self._bookings.register(spec)
        lane = self._lanes.setdefault(spec.name, OpenLane(Lane(spec.name))).lane
        lane.priority, lane.pinned = spec.priority, spec.pinned

    def _arrived(self, request: Request, now: int) -> None:
        if request.kind in DRAWN_KINDS:
            self._requests[request.id] = OpenRequest(request)
            for lane in self._lanes_of(request):
                lane.wait(now)

    def _lease_ended(self, lease_id: int, event: ev.LeaseEnded, now: int) -> None:
        lease = self._leases.get(lease_id)
        if lease is not None:
            for model in lease.models:
                self._bookings.believe(model, event.measured.get(model, {}))
            self._close(lease_id, now)

    def _close(self, lease_id: int, now: int) -> None:
        lease = self._leases.pop(lease_id)
        self._bookings.end(lease_id)
        phase = Phase.HELD if lease.grant.holds else Phase.RUNNING
        for model in lease.models:
            if model in self._lanes:
                self._lanes[model].lane.spans[phase].add(lease.granted_ns, now, lease.note)

    def _lanes_of(self, request: Request) -> Iterator[OpenLane]:
        return (self._lanes[model] for model in request.models if model in self._lanes)

    # -- decisions --------------------------------------------------------------------------

    def _decision(self, decision: Decision, now: int) -> None:
        match decision:
            case FinishRequest(request_id) if request_id in self._requests:
                self._finished(self._requests.pop(request_id), decision, now)
            case RevokeLease(lease_id, reason) if lease_id in self._leases:
                self._leases[lease_id].note += f", taken back: {reason}"
            case LoadEngine(model, instance, variant, device) if model in self._lanes:
                self._bookings.load(decision)
                self._lanes[model].instance = instance
                self._lanes[model].enter(Phase.LOADING, now, form_name(variant, device))
            case UnloadEngine(model, _, reason) if model in self._lanes:
                self._bookings.unload(model)
                self._lanes[model].enter(Phase.UNLOADING, now, str(reason))
            case _:
                pass

    def _granted(self, grant: GrantLease, now: int) -> None:
        granted = [self._requests[i] for i in grant.request_ids if i in self._requests]
        for entry in granted:
            entry.granted = True
            for lane in self._lanes_of(entry.request):
                lane.stop_waiting(now)
        for engine in grant.engines:
            self._adopt(engine.model, engine.instance, now)
        lease = OpenLease(grant, now, _described(grant))
        self._leases[grant.lease_id] = lease
        items = 1 if grant.in_turn else sum(entry.request.items for entry in granted) or 1
        parent = granted[0].request.under_lease if granted else None
        self._bookings.grant(grant.lease_id, lease.models, items, parent)

    def _adopt(self, model: str, instance: int, now: int) -> None:
        """An engine whose load was not seen is in memory all the same when it is granted."""
        lane = self._lanes.get(model)
        if lane is not None and lane.phase is None:
            lane.instance = instance
            lane.enter(Phase.RESIDENT, now)
            self._bookings.loaded(model)

    def _finished(self, entry: OpenRequest, finish: FinishRequest, now: int) -> None:
        for lane in self._lanes_of(entry.request):
            if not entry.granted:
                lane.stop_waiting(now)
            if finish.outcome in MARKED:
                lane.mark(finish.outcome, now, f"request {finish.request_id}: {finish.reason}")


def _described(grant: GrantLease) -> str:
    requests = " ".join(str(request_id) for request_id in grant.request_ids[:4])
    more = " …" if len(grant.request_ids) > 4 else ""  # noqa: PLR2004
    return f"lease {grant.lease_id}, request {requests}{more}"
