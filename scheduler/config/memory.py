"""How much memory may be used, as it is written."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, PlainValidator, ValidationInfo, model_validator

from scheduler.config.device import DEFAULT_POOL
from scheduler.config.name import PoolName
from scheduler.config.section import Section
from scheduler.config.units import Nanoseconds, PositiveDuration, Size, quoted, read_size
from scheduler.core.model import SECOND_NS
from scheduler.core.settings import PoolBudget, Trust

AUTO_FRACTION = 0.8
"""The share of a machine that `auto` takes where no `reserve` says what to leave. A choice, not a
measurement: whoever knows what else runs on the machine writes a reserve."""

_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?) ?%", re.ASCII)


@dataclass(frozen=True, slots=True)
class BudgetSetting:
    """A budget: `size_bytes`, or a `fraction` of the machine, or (both None) `auto`."""

    size_bytes: int | None = None
    fraction: float | None = None

    @property
    def needs_machine(self) -> bool:
        """Whether the machine's size must be known to resolve it."""
        return self.size_bytes is None

    def resolve(self, total_bytes: int, reserve_bytes: int | None = None) -> int:
        """Return the budget in bytes on a machine (or in a cgroup) of `total_bytes`.

        `auto` is everything but the reserve, or four fifths where none is set.
        """
        if self.size_bytes is not None:
            return self.size_bytes
        if self.fraction is not None:
            return int(total_bytes * self.fraction)
        if reserve_bytes is not None:
            return max(0, total_bytes - reserve_bytes)
        return int(total_bytes * AUTO_FRACTION)


def _read_budget(value: object, info: ValidationInfo) -> BudgetSetting:
    if isinstance(value, BudgetSetting):
        return value
    if value == "auto":
        return BudgetSetting()
    percent = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if percent:
        if not 0 < float(percent[1]) <= 100:  # noqa: PLR2004 - per cent
            raise ValueError(f"{quoted(value)} is out of range; write more than 0% up to 100%")
        return BudgetSetting(fraction=float(percent[1]) / 100)
    from_file = info.context is not None
    return BudgetSetting(size_bytes=read_size(value, from_file=from_file, positive=True))


Budget = Annotated[BudgetSetting, PlainValidator(_read_budget)]
"""A size, a share of the machine (`80%`), or `auto`."""


class PoolConfig(Section):
    """The budget of one pool: what may be used, what others keep, what the process pays once."""

    budget: Budget = BudgetSetting()
    reserve: Size | None = None
    overhead: Size = 0

    def to_budget(self, total_bytes: int) -> PoolBudget:
        """Return the pool's figures on a machine of `total_bytes` (unused for a fixed budget)."""
        return PoolBudget(
            budget_bytes=self.budget.resolve(total_bytes, self.reserve),
            reserve_bytes=self.reserve or 0,
            overhead_bytes=self.overhead,
        )


class Memory(PoolConfig):
    """The memory of the machine: one pool called `unified`, or several `pools` by name."""

    pools: Annotated[dict[PoolName, PoolConfig], Field(min_length=1)] | None = None
    trust: Trust = Trust.MAX
    sample: PositiveDuration = Nanoseconds(SECOND_NS)

    @model_validator(mode="after")
    def _one_pool_or_several(self) -> "Memory":
        single = [key for key in PoolConfig.model_fields if key in self.model_fields_set]
        if single and self.pools is not None:
            raise ValueError(
                f"{' and '.join(single)} cannot stand beside pools; write {single[0]} in each pool"
            )
        return self

    def by_pool(self) -> dict[str, PoolConfig]:
        """Return the pools in the order written; the first is where models are by default."""
        if self.pools is not None:
            return dict(self.pools)
        single: dict[str, Any] = {key: getattr(self, key) for key in PoolConfig.model_fields}
        return {DEFAULT_POOL: PoolConfig.model_construct(**single)}
