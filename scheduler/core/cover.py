"""Choosing the cheapest set that frees enough: a small exact optimisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

EXACT_UP_TO = 16
"""Candidates up to which the cheapest set is found exactly; beyond, the best are looked at."""

Item = tuple[str, int, Mapping[str, int]]
"""A name, what it costs, and what it frees per pool."""


def cheapest_cover(items: Sequence[Item], deficits: Mapping[str, int]) -> tuple[str, ...] | None:
    """The names of the cheapest set of `items` that covers every deficit, or None.

    Among sets of equal cost the smaller wins, then the one that frees less, then the alphabet. Up
    to 16 useful items the answer is exact (branch and bound); of more, those are kept that cost
    least for what they free, with what the cheap ones cannot cover alone.
    """
    useful = [item for item in items if any(item[2].get(pool, 0) > 0 for pool in deficits)]
    useful.sort(key=lambda item: (item[1] / _relief(item[2], deficits), item[0]))
    if not _covers(useful, deficits):
        return None
    if len(useful) > EXACT_UP_TO:
        useful = _shortlist(useful, deficits)
    return _Search(useful, deficits).run()


def _relief(frees: Mapping[str, int], deficits: Mapping[str, int]) -> float:
    """How much of the deficits one item covers, as a sum of shares."""
    return sum(min(frees.get(pool, 0), short) / short for pool, short in deficits.items())


def _covers(items: Sequence[Item], deficits: Mapping[str, int]) -> bool:
    return all(
        sum(frees.get(pool, 0) for _, _, frees in items) >= short
        for pool, short in deficits.items()
    )


def _shortlist(ranked: list[Item], deficits: Mapping[str, int]) -> list[Item]:
    """The cheapest for what they free, as many as it takes to cover, at least EXACT_UP_TO."""
    size = EXACT_UP_TO
    while not _covers(ranked[:size], deficits):
        size += 1
    return ranked[:size] if size == EXACT_UP_TO else _greedy(ranked[:size], deficits)


def _greedy(ranked: list[Item], deficits: Mapping[str, int]) -> list[Item]:
    """A set that covers, without what turns out not to be needed, the dearest left out first."""
    chosen = ranked
    for item in sorted(ranked, key=lambda item: (-item[1], item[0])):
        rest = [other for other in chosen if other is not item]
        if _covers(rest, deficits):
            chosen = rest
    return chosen


class _Search:
    """Depth first over "take it or leave it", in the order of cost for what an item frees."""

    def __init__(self, items: list[Item], deficits: Mapping[str, int]) -> None:
        self.items = items
        self.deficits = deficits
        self.best: tuple[int, int, int, tuple[str, ...]] | None = None

    def run(self) -> tuple[str, ...] | None:
        self._look(0, [], 0, dict(self.deficits))
        return None if self.best is None else self.best[3]

    def _look(self, index: int, chosen: list[Item], cost: int, rest: dict[str, int]) -> None:
        if self.best is not None and cost > self.best[0]:
            return
        if not rest:
            self._keep(chosen, cost)
            return
        remaining = self.items[index:]
        if not _covers(remaining, rest) or not self._promises(remaining, cost, rest):
            return
        item = self.items[index]
        left = {
            pool: short - item[2].get(pool, 0)
            for pool, short in rest.items()
            if short > item[2].get(pool, 0)
        }
        if left != rest:
            self._look(index + 1, [*chosen, item], cost + item[1], left)
        self._look(index + 1, chosen, cost, rest)

    def _promises(self, remaining: list[Item], cost: int, rest: Mapping[str, int]) -> bool:
        """Whether this branch can be as cheap as the best: fractions of items cost no more."""
        if self.best is None:
            return True
        for pool, short in rest.items():
            bound, missing = float(cost), short
            offers = [(price, frees.get(pool, 0)) for _, price, frees in remaining]
            for price, freed in sorted(offers, key=lambda offer: offer[0] / max(offer[1], 1)):
                if freed >= missing:
                    bound += price * missing / max(freed, 1)
                    break
                bound, missing = bound + price, missing - freed
            if bound > self.best[0] + 1:
                return False
        return True

    def _keep(self, chosen: list[Item], cost: int) -> None:
        freed = sum(sum(frees.values()) for _, _, frees in chosen)
        found = (cost, len(chosen), freed, tuple(name for name, _, _ in chosen))
        if self.best is None or found < self.best:
            self.best = found
