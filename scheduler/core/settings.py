"""The limits within which the core decides, fixed for its life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from scheduler.core.mode import Mode
from scheduler.core.model import SECOND_NS


class Trust(str, Enum):
    """Which figure of an engine's resident bytes is counted."""

    DECLARED = "declared"
    MEASURED = "measured"
    MAX = "max"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolBudget:
    """The bytes of one pool.

    `budget_bytes` may be used, of which `overhead_bytes` are booked from the start for what the
    process pays once; `reserve_bytes` of the machine's available memory are always left to others.
    """

    budget_bytes: int
    reserve_bytes: int = 0
    overhead_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the core is told once. `ageing_ns` of None turns ageing off; `mode` is the first one.

    `queue_bytes` bounds the payloads that wait; they live in `queue_pool` and are booked there from
    the start, since a payload that had to wait for memory could keep out the engine it waits for.
    """

    pools: Mapping[str, PoolBudget]
    resources: Mapping[str, int] = field(default_factory=dict)
    trust: Trust = Trust.MAX
    ageing_ns: int | None = 10 * SECOND_NS
    queue_bytes: int | None = None
    queue_pool: str | None = None
    policy: str = "rota"
    mode: Mode | None = None

    def overhead_bytes(self, pool: str) -> int:
        """What of a pool's budget engines never get."""
        queued = self.queue_bytes or 0 if pool == self.queue_pool else 0
        return self.pools[pool].overhead_bytes + queued
