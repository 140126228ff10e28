"""Builds a report from records, one at a time, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.decisions import (
    Decision,
    FinishRequest,
    GrantLease,
    LoadEngine,
    UnloadEngine,
)
from scheduler.core.events import (
    BudgetChanged,
    EngineLoaded,
    EngineUnloaded,
    Event,
    MemorySampled,
    ModelRegistered,
    RequestArrived,
)
from scheduler.core.model import SECOND_NS, form_name
from scheduler.core.outcome import ReasonCode
from scheduler.core.request import Request, RequestKind
from scheduler.report.report import Report, SourceReport
from scheduler.report.tally import NS_PER_MS, ModelTally, PoolTally

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.core.settings import Settings
    from scheduler.trace.record import Record


class ReportBuilder:
    """Counts what records tell. `report` may be asked at any time, and again later.

    The run begins at `started_ns`, or with the first record. Only models that were registered have
    figures: what remote callers ask of models that do not exist must not make the report grow.
    """

    def __init__(self, settings: Settings, started_ns: int | None = None) -> None:
        self.swaps = 0
        self.started_ns = started_ns
        self._ended_ns = started_ns
        self._made_room = False
        self._models: dict[str, ModelTally] = {}
        self._pools = {name: PoolTally(pool.budget_bytes) for name, pool in settings.pools.items()}
        self._open: dict[int, tuple[ModelTally, int]] = {}
        self._sources: dict[str, SourceReport] = {}

    def observe(self, record: Record) -> None:
        """Count one step."""
        if self.started_ns is None:
            self.started_ns = record.at_ns
        self._ended_ns = record.at_ns
        self._event(record.event, record.at_ns)
        for decision in record.decisions:
            self._decision(decision, record.at_ns)
        for pool, reserved_bytes in record.reserved_bytes.items():
            self._pools[pool].reserve(reserved_bytes)

    def attach_sources(self, sources: Mapping[str, SourceReport]) -> None:
        """Set the figures of the sources: what they drop never becomes a request."""
        self._sources = dict(sources)

    def last_latency_ms(self) -> dict[str, float]:
        """The latency of each model's last completed request, where there is one."""
        return {
            name: tally.latencies.last_ns / NS_PER_MS
            for name, tally in self._models.items()
            if tally.latencies.last_ns is not None
        }

    def report(self, now_ns: int | None = None) -> Report:
        """The figures until `now_ns`, or until the last record."""
        until_ns = self._ended_ns if now_ns is None else now_ns
        duration_ns = (until_ns or 0) - (self.started_ns or 0)
        minutes = duration_ns / (60 * SECOND_NS)
        return Report(
            duration_s=round(duration_ns / SECOND_NS, 6),
            models={name: tally.report() for name, tally in self._models.items()},
            memory={name: tally.report() for name, tally in self._pools.items()},
            swaps_per_minute=round(self.swaps / minutes, 3) if minutes > 0 else 0.0,
            sources=self._sources or None,
        )

    def _event(self, event: Event, now: int) -> None:
        match event:
            case RequestArrived(request):
                self._arrived(request, now)
            case MemorySampled(pool, _, used_bytes, _, source) if pool in self._pools:
                self._pools[pool].measure(used_bytes, source)
            case EngineLoaded(model) if model in self._models:
                self._models[model].loads += 1
            case EngineUnloaded(model) if model in self._models:
                self._models[model].unloads += 1
            case ModelRegistered(spec):
                self._models.setdefault(spec.name, ModelTally())
            case BudgetChanged(pool, budget_bytes):
                self._pools[pool].budget_bytes = budget_bytes
            case _:
                pass

    def _arrived(self, request: Request, now: int) -> None:
        tally = self._models.get(request.models[0])
        if tally is not None and request.kind is RequestKind.INFER:
            tally.requests += 1
            self._open[request.id] = (tally, now)

    def _decision(self, decision: Decision, now: int) -> None:
        match decision:
            case FinishRequest(request_id, outcome):
                if request_id in self._open:
                    tally, arrived_ns = self._open.pop(request_id)
                    tally.finish(outcome, now - arrived_ns)
            case UnloadEngine(reason=reason) if reason.code is ReasonCode.MAKE_ROOM:
                self._made_room = True
            case LoadEngine():
                self._load(decision)
            case GrantLease(engines=engines):
                for engine in engines:
                    if engine.model in self._models:
                        self._models[engine.model].use(engine.instance)
            case _:
                pass

    def _load(self, load: LoadEngine) -> None:
        if self._made_room:
            self.swaps += 1
            self._made_room = False
        tally, form = self._models.get(load.model), form_name(load.variant, load.device)
        if tally is not None and form:
            tally.forms[form] += 1
        if tally is not None and load.ahead:
            tally.load_ahead(load.instance)
