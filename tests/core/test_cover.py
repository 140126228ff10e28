"""The cheapest set that frees enough, against trying all of them."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core import cover
from scheduler.core.cover import EXACT_UP_TO, Item, cheapest_cover

amounts = st.integers(0, 12)
frees = st.fixed_dictionaries({}, optional={"x": amounts, "y": amounts, "z": amounts})
shorts = st.integers(1, 30)
deficits = st.one_of(
    st.fixed_dictionaries({"x": shorts}), st.fixed_dictionaries({"x": shorts, "y": shorts})
)


def named(parts):
    """Items out of costs and what they free: `m00`, `m01` ..."""
    return [Item(f"m{i:02}", cost, freed) for i, (cost, freed) in enumerate(parts)]


def by_trying_all(items, short):
    """What the docstring promises, word for word."""
    useful = [i for i in items if any(i.frees.get(pool, 0) for pool in short)]
    found = []
    for count in range(len(useful) + 1):
        for chosen in combinations(useful, count):
            if all(sum(i.frees.get(p, 0) for i in chosen) >= s for p, s in short.items()):
                freed = sum(sum(i.frees.values()) for i in chosen)
                names = tuple(sorted(i.name for i in chosen))
                found.append((sum(i.cost for i in chosen), count, freed, names))
    return min(found)[3] if found else None


def test_of_sets_that_cost_the_same_the_one_that_frees_less_is_taken():
    items = named([(1, {"x": 10}), (1, {"x": 6}), (1, {"x": 1}), (1, {"x": 6})])
    assert cheapest_cover(items, {"x": 11}) == ("m00", "m02")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), frees), max_size=10).map(named), deficits)
def test_no_set_is_cheaper_and_ties_go_as_they_should(items, short):
    assert cheapest_cover(items, short) == by_trying_all(items, short)


@settings(max_examples=50, deadline=None)
@given(st.permutations(named([(3, {"x": 5}), (3, {"x": 5}), (2, {"x": 4}), (0, {"x": 1})])))
def test_the_order_in_which_they_are_given_does_not_matter(items):
    assert cheapest_cover(items, {"x": 9}) == ("m00", "m02")


@pytest.mark.parametrize(
    ("parts", "chosen"),
    [
        ([(4, {"x": 9}), (2, {"x": 5}), (2, {"x": 5})], ("m00",)),
        ([(4, {"x": 9}), (4, {"x": 8})], ("m01",)),
        ([(4, {"x": 9, "y": 3}), (4, {"x": 9})], ("m01",)),
        ([(4, {"x": 9}), (4, {"x": 9})], ("m00",)),
        ([(4, {"x": 9}), (1, {"x": 5}), (1, {"x": 5})], ("m01", "m02")),
        ([(4, {"x": 9}), (1, {"x": 5}), (1, {"x": 5}), (3, {"x": 1})], ("m01", "m02")),
        # A share of a deficit is no reason: what is cheap for its size is too small alone.
        ([(1, {"x": 7}), (5, {"x": 8})], ("m01",)),
    ],
    ids=[
        "the smaller",
        "less freed",
        "less freed elsewhere",
        "the alphabet",
        "two",
        "two of three",
        "exact",
    ],
)
def test_ties(parts, chosen):
    assert cheapest_cover(named(parts), {"x": 8}) == chosen


def test_what_frees_nothing_that_is_short_does_not_go_though_it_costs_nothing():
    items = named([(0, {"y": 9}), (0, {}), (5, {"x": 3})])
    assert cheapest_cover(items, {"x": 3}) == ("m02",)


def test_nothing_is_enough():
    assert cheapest_cover(named([(1, {"x": 2}), (1, {"x": 2})]), {"x": 5}) is None
    assert cheapest_cover([], {"x": 1}) is None


def test_large_costs_are_told_apart_to_the_last_unit():
    items = named([(2**62, {"x": 1}), (2**62 - 1, {"x": 1})])
    assert cheapest_cover(items, {"x": 1}) == ("m01",)


@pytest.mark.parametrize("cost", [lambda _: 7, lambda i: i, lambda i: 90 + 7 * i])
def test_as_many_as_are_looked_at_exactly_take_little_work_however_alike(cost, monkeypatch):
    """A search that takes them one by one tries tens of thousands of sets here."""
    joined = []
    join = cover._joined
    monkeypatch.setattr(cover, "_joined", lambda a, b: joined.append(1) or join(a, b))
    items = named([(cost(i), {"x": 90 + 7 * i}) for i in range(EXACT_UP_TO)])
    chosen = cheapest_cover(items, {"x": 1111})
    assert sum(90 + 7 * int(name[1:]) for name in chosen) >= 1111
    assert len(joined) < 4 * 2 ** (EXACT_UP_TO // 2)


def test_of_more_than_that_the_best_for_what_they_free_are_looked_at():
    dear = [(1000, {"x": 10}) for _ in range(30)]
    cheap = [(1, {"x": 10}), (2, {"x": 10}), (3, {"x": 10})]
    items = named(dear + cheap)
    assert cheapest_cover(items, {"x": 20}) == ("m30", "m31")


def test_of_more_than_that_which_are_all_needed_none_goes_for_nothing():
    items = named([(i, {"x": 10}) for i in range(40)])
    chosen = cheapest_cover(items, {"x": 200})
    assert chosen == tuple(f"m{i:02}" for i in range(20))
    # The dear one that is large makes seven of the others unnecessary.
    more = [*items[:20], Item("n", 10**6, {"x": 175})]
    assert cheapest_cover(more, {"x": 300}) == (*(f"m{i:02}" for i in range(13)), "n")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), frees), min_size=17, max_size=40).map(named), deficits)
def test_of_any_number_the_set_is_enough_and_nobody_in_it_is_superfluous(items, short):
    short = {pool: amount * 8 for pool, amount in short.items()}
    chosen = cheapest_cover(items, short)
    there = {item.name: item.frees for item in items}
    for pool, amount in short.items():
        enough = sum(freed.get(pool, 0) for freed in there.values()) >= amount
        assert enough or chosen is None
    if chosen is None:
        return
    for left_out in (None, *chosen):
        rest = [there[name] for name in chosen if name != left_out]
        covers = all(sum(f.get(pool, 0) for f in rest) >= s for pool, s in short.items())
        assert covers == (left_out is None)


def test_of_more_than_that_what_is_cheap_for_what_it_frees_comes_before_what_is_merely_cheap():
    items = named([*[(1, {"x": 1})] * 16, (5, {"x": 100})])
    assert cheapest_cover(items, {"x": 16}) == ("m16",)
