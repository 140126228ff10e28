"""Measured times as a trace, which the simulator and the planner read with `--times`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler.core.decisions import EngineRef, GrantLease, LoadEngine, UnloadEngine
from scheduler.core.events import (
    EngineLoaded,
    EngineUnloaded,
    LeaseEnded,
    RequestArrived,
    TimerFired,
)
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.core.request import Request
from scheduler.trace.header import Header
from scheduler.trace.line import encode_header, encode_record
from scheduler.trace.record import Record

if TYPE_CHECKING:
    from scheduler.core.decisions import Decision
    from scheduler.core.events import Event
    from scheduler.core.settings import Settings
    from scheduler.profile.measurement import Measurement

Moment = tuple[int, "Event", tuple["Decision", ...]]


def write_times(path: Path, node: str, settings: Settings, measured: Iterable[Measurement]) -> None:
    """Write every load, run and unload that was measured, one after another.

    Each is a decision and the event in which it ended, as in a trace of a run; nothing decided
    them, so such a trace cannot be replayed.
    """
    now = datetime.now(timezone.utc).astimezone().isoformat()
    header = Header(node=node, started_at=now, started_ns=0, settings=settings)
    at_ns = 0
    with path.open("wb") as file:
        file.write(encode_header(header))
        for sequence, (after_ns, event, decisions) in enumerate(_moments(measured)):
            at_ns += after_ns
            file.write(encode_record(Record(sequence, at_ns, event, decisions, {})))


def _moments(measured: Iterable[Measurement]) -> Iterator[Moment]:
    request_id = 0
    for one in measured:
        ref = EngineRef(one.model, 1)
        for took_ns in one.load_times_ns:
            yield 0, TimerFired(), (LoadEngine(ref.model, ref.instance, one.variant),)
            yield took_ns, EngineLoaded(ref.model, ref.instance), ()
        for items, times in one.run_times_ns.items():
            for took_ns in times:
                request_id += 1
                request = Request(id=request_id, models=(ref.model,), items=items)
                yield 0, RequestArrived(request), (GrantLease(request_id, (ref,), (request_id,)),)
                yield took_ns, LeaseEnded(request_id), ()
        reason = Reason(ReasonCode.ASKED_TO_UNLOAD, "it was measured")
        for took_ns in one.unload_times_ns:
            yield 0, TimerFired(), (UnloadEngine(ref.model, ref.instance, reason),)
            yield took_ns, EngineUnloaded(ref.model, ref.instance), ()
