"""The smallest budget of a pool with which everybody is answered in time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scheduler.core.model import ModelSpec, PoolFootprint
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
    """The budget of `pool` below which some model never fits: a lower end for the search.

    Of a model with several forms the least that one of them takes.
    """
    specs = tuple(specs)
    resident = {spec.name: min(_parts(spec, pool, _resident)) for spec in specs}
    held = sum(resident[spec.name] for spec in specs if spec.pinned)
    needs = [held]
    for spec in specs:
        others = held - (resident[spec.name] if spec.pinned else 0)
        needs.append(others + min(_parts(spec, pool, _one_run)))
    return settings.overhead_bytes(pool) + max(needs)


def ample_bytes(specs: Iterable[ModelSpec], settings: Settings, pool: str) -> int:
    """The budget of `pool` with which all models load and run at once: more helps nobody."""
    most = [
        max(
            _most(form.footprint[pool], form.batch_max) if pool in form.footprint else 0
            for form in spec.forms
        )
        for spec in specs
    ]
    return settings.overhead_bytes(pool) + sum(most)


def _parts(spec: ModelSpec, pool: str, size: Callable[[PoolFootprint], int]) -> list[int]:
    """What each form of a model takes of `pool`."""
    parts = [form.footprint.get(pool) for form in spec.forms]
    return [0 if part is None else size(part) for part in parts]


def _resident(part: PoolFootprint) -> int:
    return part.resident_bytes


def _one_run(part: PoolFootprint) -> int:
    return _most(part, 1)


def _most(part: PoolFootprint, items: int) -> int:
    return max(part.loading_bytes, part.resident_bytes + part.running_bytes(items))


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
