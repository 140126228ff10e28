"""One step of the core: what happened, what it decided, and the books after it."""

from __future__ import annotations

from collections.abc import Mapping

from scheduler.core.decisions import Decision
from scheduler.core.events import Event
from scheduler.core.value import Value


class Record(Value, frozen=True, rename={"sequence": "seq"}):
    """The `sequence`-th call of `Scheduler.handle`, at `at_ns` of the runtime's monotonic clock.

    `reserved_bytes` is the ledger's total per pool after the call.
    """

    sequence: int
    at_ns: int
    event: Event
    decisions: tuple[Decision, ...]
    reserved_bytes: Mapping[str, int]
