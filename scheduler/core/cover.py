"""Choosing the cheapest set that frees enough: a small exact optimisation.

Items are put together from two halves (Horowitz and Sahni's way with subset sums): of 16 items that
is 256 sets a side, looked at from the cheapest on, where 65,536 sets would have to be tried. So the
answer is exact in bounded time, however alike the items are.
"""

from __future__ import annotations

from operator import add, lt

from scheduler.core.amounts import Amounts

EXACT_UP_TO = 16
"""Candidates up to which the cheapest set is found exactly; beyond, the best are looked at."""
WHOLE = 1 << 20
"""Parts into which a deficit is divided when it is asked how much of it an item covers."""


class Item:
    """Somebody who could go: what that costs, and what it frees per pool."""

    __slots__ = ("cost", "frees", "name")

    def __init__(self, name: str, cost: int, frees: Amounts) -> None:
        self.name = name
        self.cost = cost
        self.frees = frees


Subset = tuple[int, int, int, tuple[str, ...], tuple[int, ...]]
"""Cost, how many, bytes freed in all, the names, bytes freed in each pool that is short."""


def cheapest_cover(items: list[Item], deficits: Amounts) -> tuple[str, ...] | None:
    """The names of the cheapest set of `items` that covers every deficit, or None.

    Among sets of equal cost the smaller wins, then the one that frees less, then the alphabet. Up
    to 16 useful items the answer is exact; of more, those are kept that cost least for what they
    free, with what the cheap ones cannot cover alone.
    """
    useful = [item for item in items if _helps(item, deficits)]
    if len(useful) > EXACT_UP_TO:
        if not _covers(useful, deficits):
            return None
        useful = _shortlist(useful, deficits)
    if len(useful) > EXACT_UP_TO:
        return _greedy(_by_name(useful), deficits)
    sole = _cheapest_alone(useful, deficits)
    if sole is not None:
        if _is_best(sole, useful, deficits):
            return (sole.name,)
    elif not _covers(useful, deficits):
        return None
    return _exact(_by_name(useful), deficits)


def _by_name(items: list[Item]) -> list[Item]:
    return sorted(items, key=lambda item: item.name)


def _helps(item: Item, deficits: Amounts) -> bool:
    """Whether it frees anything that is short."""
    frees = item.frees
    for pool in deficits:  # noqa: SIM110 - a generator costs more than the look
        if frees.get(pool, 0) > 0:
            return True
    return False


def _covers(items: list[Item], deficits: Amounts) -> bool:
    for pool, short in deficits.items():
        freed = 0
        for item in items:
            freed += item.frees.get(pool, 0)
        if freed < short:
            return False
    return True


# -- more items than can be looked at ---------------------------------------------------------


def _shortlist(items: list[Item], deficits: Amounts) -> list[Item]:
    """The cheapest for what they free, as many as it takes to cover, at least EXACT_UP_TO."""
    ranked = sorted(
        items, key=lambda item: (item.cost * WHOLE // _relief(item.frees, deficits), item.name)
    )
    size = EXACT_UP_TO
    while not _covers(ranked[:size], deficits):
        size += 1
    return ranked[:size]


def _relief(frees: Amounts, deficits: Amounts) -> int:
    """How much of the deficits one item covers: WHOLE for each pool that it covers alone."""
    parts = (min(frees.get(pool, 0), short) * WHOLE // short for pool, short in deficits.items())
    return max(sum(parts), 1)


def _greedy(items: list[Item], deficits: Amounts) -> tuple[str, ...]:
    """A set that covers, without what turns out not to be needed, the dearest left out first."""
    chosen = items
    for item in sorted(items, key=lambda item: -item.cost):
        rest = [other for other in chosen if other is not item]
        if _covers(rest, deficits):
            chosen = rest
    return tuple(item.name for item in chosen)


# -- few enough -------------------------------------------------------------------------------


def _cheapest_alone(items: list[Item], deficits: Amounts) -> Item | None:
    """The one item that covers all by itself, if there is one."""
    best: Item | None = None
    for item in items:
        if best is not None and item.cost > best.cost:
            continue
        if _covers_alone(item, deficits) and (best is None or _comes_before(item, best)):
            best = item
    return best


def _covers_alone(item: Item, deficits: Amounts) -> bool:
    frees = item.frees
    for pool, short in deficits.items():  # noqa: SIM110 - a generator costs more than the look
        if frees.get(pool, 0) < short:
            return False
    return True


def _comes_before(item: Item, other: Item) -> bool:
    if item.cost != other.cost:
        return item.cost < other.cost
    freed, other_freed = sum(item.frees.values()), sum(other.frees.values())
    return (freed, item.name) < (other_freed, other.name)


def _is_best(sole: Item, items: list[Item], deficits: Amounts) -> bool:
    """Whether the cheapest that covers alone is provably the best set; a short cut.

    Only a set of cheaper ones, of which none covers alone, could be better.
    """
    cheaper = [item for item in items if item.cost < sole.cost]
    if len(cheaper) < 2:  # noqa: PLR2004
        return True
    two_cost = sum(sorted([item.cost for item in cheaper])[:2])
    return two_cost >= sole.cost or not _covers(cheaper, deficits)


def _exact(items: list[Item], deficits: Amounts) -> tuple[str, ...]:
    """The best of all sets that cover, of which there is one at least."""
    half = len(items) // 2
    pools = tuple(deficits)
    others = sorted(_subsets(items[half:], pools))
    best: Subset | None = None
    for first in sorted(_subsets(items[:half], pools)):
        rest = tuple(deficits[pool] - freed for pool, freed in zip(pools, first[4], strict=True))
        found = _completed(first, others, rest, best)
        best = found or best
    assert best is not None, "what covers was not found"
    return best[3]


def _completed(
    first: Subset, others: list[Subset], rest: tuple[int, ...], best: Subset | None
) -> Subset | None:
    """`first` with the best of `others` (sorted) that covers the rest, if that beats `best`."""
    for other in others:
        if best is not None and first[0] + other[0] > best[0]:
            return None
        if not any(map(lt, other[4], rest)):
            found = _joined(first, other)
            return found if best is None or found < best else None
    return None


def _subsets(items: list[Item], pools: tuple[str, ...]) -> list[Subset]:
    """Every set that can be made of `items`, the empty one included."""
    made: list[Subset] = [(0, 0, 0, (), (0,) * len(pools))]
    for item in items:
        freed = tuple(item.frees.get(pool, 0) for pool in pools)
        alone = (item.cost, 1, sum(item.frees.values()), (item.name,), freed)
        made += [_joined(subset, alone) for subset in made]
    return made


def _joined(first: Subset, second: Subset) -> Subset:
    freed = tuple(map(add, first[4], second[4]))
    return (
        first[0] + second[0],
        first[1] + second[1],
        first[2] + second[2],
        first[3] + second[3],
        freed,
    )
