"""Percentiles: exact while few, close enough when many."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scheduler.report.latency import ACCURACY, EXACT_LIMIT, Latencies

SHARES = st.floats(0, 1)
VALUES = st.lists(st.integers(0, 10**12), min_size=1, max_size=200)


def of(values, **limit):
    latencies = Latencies(**limit)
    for value in values:
        latencies.add(value)
    return latencies


def nearest_rank(values, q):
    """By definition: at least the share q lies at or below it, and nothing smaller is so."""
    return min(v for v in values if sum(other <= v for other in values) >= q * len(values))


def test_of_nothing_nothing_is_known():
    empty = Latencies()
    assert (empty.quantile_ns(0.5), empty.max_ns, empty.last_ns) == (None, None, None)


@given(VALUES, SHARES)
def test_few_are_exact(values, q):
    assert of(values).quantile_ns(q) == nearest_rank(values, q)


@example([399], 0.0)
@given(VALUES, SHARES)
def test_many_are_within_the_accuracy_that_is_promised(values, q):
    exact = nearest_rank(values, q)
    found = of(values, exact_limit=0).quantile_ns(q)
    assert abs(found - exact) <= ACCURACY * exact + 1


@given(VALUES)
def test_last_and_largest_are_exact_however_many(values):
    many = of(values, exact_limit=0)
    assert (many.max_ns, many.last_ns, many.count) == (max(values), values[-1], len(values))
    assert many.quantile_ns(1) <= max(values)


def test_the_step_from_exact_to_sketched_loses_none():
    values = [number * 1_000_000 for number in range(1, 101)]
    few, many = of(values, exact_limit=100), of(values, exact_limit=99)
    assert few.quantile_ns(0.99) == 99_000_000
    assert many.quantile_ns(0.99) != 99_000_000
    assert many.quantile_ns(0.99) == pytest.approx(99_000_000, rel=ACCURACY)
    assert many.quantile_ns(0.01) == pytest.approx(1_000_000, rel=ACCURACY)


def test_an_hour_at_a_hundred_a_second_stays_small():
    latencies = of(1_000_000 + 37 * number for number in range(EXACT_LIMIT * 3))
    assert len(latencies._exact) == 0
    assert len(latencies._buckets) <= math.log(3) / math.log1p(ACCURACY)
    assert sum(latencies._buckets.values()) == latencies.count == EXACT_LIMIT * 3
