"""Rota with some of the models, and what it did."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from scheduler import Runtime
from scheduler.core import decisions as do
from scheduler.core import events as ev
from scheduler.core.settings import PoolBudget, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from member import Member


class Steps:
    """Counts what was decided, and keeps the times of switches and the sizes of batches."""

    def __init__(self) -> None:
        self.loads: Counter[str] = Counter()
        self.alarms: Counter[str] = Counter()
        self.batches: dict[str, Counter[int]] = {}
        self.most_booked_bytes: Counter[str] = Counter()
        self.places: dict[str, set[str]] = {}
        self.out_of_memory = 0
        self.switches_ms: list[float] = []
        self._unload_ns: int | None = None

    def observe(self, record: Any) -> None:
        """Take in one step."""
        event = record.event
        if isinstance(event, (ev.EngineLoadFailed, ev.LeaseEnded)):
            self.out_of_memory += event.out_of_memory
        if isinstance(event, ev.EngineLoaded) and self._unload_ns is not None:
            self.switches_ms.append((record.at_ns - self._unload_ns) / 1e6)
            self._unload_ns = None
        for pool, reserved in record.reserved_bytes.items():
            self.most_booked_bytes[pool] = max(self.most_booked_bytes[pool], reserved)
        for decision in record.decisions:
            self._count(decision, record.at_ns)

    def _count(self, decision: Any, at_ns: int) -> None:
        if isinstance(decision, do.LoadEngine):
            self.loads[decision.model] += 1
            self.places.setdefault(decision.model, set()).add(decision.device)
        elif isinstance(decision, do.UnloadEngine):
            self._unload_ns = at_ns
        elif isinstance(decision, do.RaiseAlarm):
            self.alarms[decision.reason.code.value] += 1
        elif isinstance(decision, do.GrantLease) and not decision.holds:
            sizes = self.batches.setdefault(decision.engines[0].model, Counter())
            runs = len(decision.request_ids) if decision.in_turn else 1
            sizes[len(decision.request_ids) // runs] += runs


def rota(
    members: Iterable[Member],
    pools: dict[str, int],
    steps: Steps,
    rules: dict[str, dict[str, Any]] | None = None,
    resources: dict[str, int] | None = None,
) -> Runtime:
    """A runtime of these models with budgets in bytes; the first pool is theirs by default."""
    budgets = {pool: PoolBudget(budget_bytes=budget) for pool, budget in pools.items()}
    settings = Settings(pools=budgets, resources=resources or {})
    runtime = Runtime(settings, observers=[steps], drain_limit_s=30)
    for one in members:
        given = (rules or {}).get(one.name, {})
        model = one.model(given.pop("device", next(iter(pools))), **given)
        runtime.register(model, engine=one.engine, options=one.options)
    return runtime
