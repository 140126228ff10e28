"""What is different in a new configuration, and whether it can be taken over while running."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scheduler.core.events import BudgetChanged, PinChanged
from scheduler.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scheduler.config import Model
    from scheduler.core.settings import Settings
    from scheduler.runtime.driver import Driver
    from scheduler.runtime.registration import Registration


NEEDS_RESTART = (
    "memory (but for budgets), resources and scheduling cannot change while it runs; "
    "restart it, or undo that part"
)


@dataclass(frozen=True, slots=True)
class Change:
    """Models to add, to take away (a changed one is in both), and to pin or unpin.

    `budgets` are new budgets in bytes by pool.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    pinned: tuple[tuple[str, bool], ...]
    budgets: tuple[tuple[str, int], ...]

    async def carry_out(
        self, driver: Driver, models: Mapping[str, Model], added: Iterable[Registration]
    ) -> None:
        """Do all of it; `models` are the new ones, `added` those of them to register."""
        for pool, budget_bytes in self.budgets:
            driver.tell(BudgetChanged(pool, budget_bytes))
        for name, pinned in self.pinned:
            driver.models[name].model = models[name]
            driver.tell(PinChanged(name, pinned=pinned))
        for gone in [driver.remove(name) for name in self.removed]:
            await gone.wait()
        for registered in added:
            driver.register(registered)

    def __str__(self) -> str:
        parts = [
            *(f"change {name}" for name in self.removed if name in self.added),
            *(f"remove {name}" for name in self.removed if name not in self.added),
            *(f"add {name}" for name in self.added if name not in self.removed),
            *(f"{'pin' if pinned else 'unpin'} {name}" for name, pinned in self.pinned),
            *(f"budget of {pool}: {size} bytes" for pool, size in self.budgets),
        ]
        return ", ".join(parts) or "nothing changes"


def compare(
    old: Mapping[str, Model], new: Mapping[str, Model], was: Settings, will_be: Settings
) -> Change:
    """Tell what has to be done. Raises ConfigError for what only a restart can change."""
    budgets = _budgets(was, will_be)
    pinned, changed = [], []
    for name in (name for name in old if name in new):
        if dict(old[name]) | {"pinned": new[name].pinned} != dict(new[name]):
            changed.append(name)
        elif old[name].pinned != new[name].pinned:
            pinned.append((name, new[name].pinned))
    return Change(
        added=tuple(name for name in new if name not in old or name in changed),
        removed=tuple(name for name in old if name not in new or name in changed),
        pinned=tuple(pinned),
        budgets=budgets,
    )


def _budgets(was: Settings, will_be: Settings) -> tuple[tuple[str, int], ...]:
    kept = {
        name: replace(pool, budget_bytes=was.pools[name].budget_bytes)
        for name, pool in will_be.pools.items()
        if name in was.pools
    }
    if replace(will_be, pools=kept, mode=was.mode) != was:
        raise ConfigError([NEEDS_RESTART])
    return tuple(
        (name, pool.budget_bytes)
        for name, pool in will_be.pools.items()
        if pool.budget_bytes != was.pools[name].budget_bytes
    )
