"""The smallest budget of a pool with which everybody is answered in time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scheduler.core.amounts import total

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scheduler.core.model import ModelSpec
    from scheduler.core.settings import Settings

MIB = 1024**2
PARTS = 100
"""The answer is right to 1 MiB, or to a hundredth of the budget where that is more."""


def with_budget(settings: Settings, pool: str, budget_bytes: int) -> Settings:
    """The same settings with another budget of one pool."""
    pools = dict(settings.pools)
    pools[pool] = replace(pools[pool], budget_bytes=budget_bytes)
    return replace(settings, pools=pools)


def least_bytes(specs: Iterable[ModelSpec], settings: Settings, pool: str) -> int:
    """The budget of `pool` below which some model never fits: a lower end for the search."""
    parts = {spec.name: spec.footprint[pool] for spec in specs if pool in spec.footprint}
    pinned = {spec.name for spec in specs if spec.pinned} & set(parts)
    held = sum(parts[name].resident_bytes for name in pinned)
    needs = [held]
    for name, part in parts.items():
        others = held - (part.resident_bytes if name in pinned else 0)
        steady = part.resident_bytes + part.running_bytes(1)
        needs.append(others + max(part.loading_bytes, steady))
    return settings.overhead_bytes(pool) + max(needs)


def ample_bytes(specs: Iterable[ModelSpec], settings: Settings, pool: str) -> int:
    """The budget of `pool` with which all models load and run at once: more helps nobody."""
    most = total({pool: _most(spec, pool)} for spec in specs)
    return settings.overhead_bytes(pool) + most.get(pool, 0)


def _most(spec: ModelSpec, pool: str) -> int:
    part = spec.footprint.get(pool)
    if part is None:
        return 0
    return max(part.loading_bytes, part.resident_bytes + part.running_bytes(spec.batch_max))


def smallest_bytes(suffices: Callable[[int], bool], least: int, enough: int) -> int:
    """The smallest budget from `least` to `enough` that `suffices`, by bisection.

    `enough` is known to suffice. More memory can by chance serve worse, so this is a budget below
    which a slightly smaller one fails, and not a proof that no other one would do.
    """
    if least >= enough or suffices(least):
        return min(least, enough)
    low, high = least, enough
    while high - low > max(MIB, high // PARTS):
        middle = low + (high - low) // 2
        if suffices(middle):
            high = middle
        else:
            low = middle
    return high
