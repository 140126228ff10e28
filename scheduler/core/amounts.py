"""Arithmetic on bytes per pool."""

from __future__ import annotations

from collections.abc import Iterable

Amounts = dict[str, int]
"""Bytes by pool name; a pool that is missing counts as 0. Who is given some must not change them.

A plain dict, as the quickest that there is for so few entries, compiled above all."""


def add(result: Amounts, more: Amounts) -> None:
    """Add `more` to what the caller is still counting."""
    for pool, amount in more.items():
        result[pool] = result.get(pool, 0) + amount


def total(parts: Iterable[Amounts]) -> dict[str, int]:
    """The sum of the parts, pool by pool."""
    result: dict[str, int] = {}
    for part in parts:
        add(result, part)
    return result


def plus(first: Amounts, second: Amounts) -> dict[str, int]:
    """The sum of two."""
    result = first.copy()
    add(result, second)
    return result


def larger(first: Amounts, second: Amounts) -> dict[str, int]:
    """The larger of the two, pool by pool."""
    result = first.copy()
    for pool, amount in second.items():
        mine = result.get(pool, 0)
        result[pool] = max(mine, amount)
    return result


def shortage(wanted: Amounts, there: Amounts) -> dict[str, int]:
    """What of `wanted` is not there, for the pools where something is missing."""
    return {
        pool: amount - there.get(pool, 0)
        for pool, amount in wanted.items()
        if amount > there.get(pool, 0)
    }


def fits(wanted: Amounts, there: Amounts) -> bool:
    """Whether all that is wanted is there. Wanting nothing fits even an overdrawn pool."""
    for pool, amount in wanted.items():  # noqa: SIM110 - a generator costs more than the look
        if amount > 0 and amount > there.get(pool, 0):
            return False
    return True


def sized(amount: int) -> str:
    """Bytes for people: `1.9 GiB`."""
    size = float(amount)
    for unit in ("B", "KiB", "MiB"):
        if abs(size) < 1024:  # noqa: PLR2004
            return f"{size:.0f} {unit}" if unit != "MiB" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"


def sizes(amounts: Amounts) -> str:
    """Bytes per pool for people: `200.0 MiB of unified`."""
    return ", ".join(f"{sized(amount)} of {pool}" for pool, amount in amounts.items() if amount > 0)
