"""The door: what is refused before it waits, for good ("never") or for now ("not now")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from scheduler.core.amounts import Amounts, larger, plus, sized, total
from scheduler.core.outcome import Reason, ReasonCode

if TYPE_CHECKING:
    from scheduler.core.model import ModelSpec
    from scheduler.core.settings import Settings


def never(
    spec: ModelSpec, specs: Mapping[str, ModelSpec], settings: Settings, items: int = 1
) -> Reason | None:
    """Why `spec` can never serve a request of `items` beside the pinned of `specs`, or None.

    Decides on declared figures; the scheduler asks the parts of this with measured ones.
    """
    resident = {pool: part.resident_bytes for pool, part in spec.footprint.items()}
    loading = {pool: part.loading_bytes for pool, part in spec.footprint.items()}
    running = {pool: part.running_bytes(items) for pool, part in spec.footprint.items()}
    pinned = {
        other.name: {pool: part.resident_bytes for pool, part in other.footprint.items()}
        for other in specs.values()
        if other.pinned and other.name != spec.name
    }
    usable = {
        name: pool.budget_bytes - settings.overhead_bytes(name)
        for name, pool in settings.pools.items()
    }
    return (
        never_units(spec, settings.resources)
        or excluded_by_pin(spec, (other for other in specs.values() if other.pinned))
        or never_fits(spec.name, larger(loading, plus(resident, running)), pinned, usable)
    )


def never_units(spec: ModelSpec, resources: Mapping[str, int]) -> Reason | None:
    """More units of a resource than there are."""
    for name, units in spec.uses.items():
        if units > resources.get(name, 0):
            return Reason(
                ReasonCode.NEVER_ENOUGH_UNITS,
                f"{spec.name} never runs: it uses {name}: {units}, "
                f"and resources has {name}: {resources.get(name, 0)}",
            )
    return None


def excluded_by_pin(spec: ModelSpec, pinned: Iterable[ModelSpec]) -> Reason | None:
    """A pinned engine of one of its exclusive groups is always in memory."""
    for other in pinned:
        shared = spec.exclusive & other.exclusive
        if other.name != spec.name and shared:
            return Reason(
                ReasonCode.EXCLUDED_BY_PIN,
                f"{spec.name} never loads: {other.name} is pinned and both are in the "
                f"exclusive group {min(shared)}",
            )
    return None


def never_fits(
    name: str, need: Amounts, pinned: Mapping[str, Amounts], usable: Amounts
) -> Reason | None:
    """More memory than the budget has beside what is pinned. `usable` is budget less overhead."""
    taken = total(pinned.values())
    for pool, amount in need.items():
        if amount <= usable.get(pool, 0) - taken.get(pool, 0):
            continue
        holders = ", ".join(model for model, part in pinned.items() if part.get(pool, 0))
        less = f" less {sized(taken[pool])} pinned by {holders}" if holders else ""
        short = amount - usable.get(pool, 0) + taken.get(pool, 0)
        return Reason(
            ReasonCode.NEVER_FITS,
            f"{name} never fits: needs {sized(amount)}, budget of {pool} is "
            f"{sized(usable.get(pool, 0))}{less}; short by {sized(short)}",
        )
    return None
