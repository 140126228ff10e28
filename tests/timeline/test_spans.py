"""Spans and memory steps: what merging and thinning keep."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.timeline.memory import MemoryStep, MemoryTrack, highest
from scheduler.timeline.scale import Scale, nice_step
from scheduler.timeline.spans import Spans, merged

LENGTHS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=60)


def spans_of(lengths, **limit):
    """Spans from (gap before, length) pairs."""
    spans, now = Spans(**limit), 0
    for gap, length in lengths:
        spans.add(now + gap, now + gap + length)
        now += gap + length
    return spans


@given(LENGTHS, st.integers(0, 60))
def test_merging_keeps_counts_busy_time_and_both_ends(lengths, gap):
    spans = list(spans_of(lengths))
    joined = list(merged(spans, gap))
    assert sum(span.count for span in joined) == len(spans)
    assert sum(span.busy_ns for span in joined) == sum(length for _, length in lengths)
    if spans:
        assert joined[0].start_ns == spans[0].start_ns
        assert joined[-1].end_ns == spans[-1].end_ns
    assert all(b.start_ns - a.end_ns >= gap for a, b in pairwise(joined))
    assert all(0 <= span.busy_share <= 1 for span in joined)


def test_spans_further_apart_stay_apart():
    joined = list(merged(spans_of([(0, 5), (3, 5), (4, 5)]), 4))
    assert [(span.start_ns, span.end_ns, span.count) for span in joined] == [
        (0, 13, 2),
        (17, 22, 1),
    ]
    assert joined[0].busy_share == pytest.approx(10 / 13)


def test_a_long_run_takes_bounded_memory_and_loses_no_count():
    spans = spans_of([(5_000, 1_000)] * 1_000, limit=50)
    assert len(spans) <= 50
    assert sum(span.count for span in spans) == 1_000


def test_a_copy_goes_its_own_way():
    spans = spans_of([(0, 5)])
    spans.copy().add(10, 20)
    assert len(spans) == 1


def step(at_ns, reserved):
    return MemoryStep(at_ns, reserved, {}, 0)


def value_at(steps, at_ns):
    return next((s.reserved_bytes for s in reversed(steps) if s.at_ns <= at_ns), 0)


STEPS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 9)), min_size=1, max_size=60).map(
    lambda pairs: [step(at, reserved) for at, reserved in sorted(pairs)]
)


@given(STEPS, st.integers(1, 80))
def test_thinning_keeps_the_highest_of_each_interval_and_the_end(steps, interval):
    thin = list(highest(steps, interval))
    intervals = {s.at_ns // interval for s in steps}
    assert len(thin) <= 2 * len(intervals)
    for number in intervals:
        within = [s.reserved_bytes for s in steps if s.at_ns // interval == number]
        kept = [s.reserved_bytes for s in thin if s.at_ns // interval == number]
        assert max(kept) == max(within)
        after = (number + 1) * interval - 1
        assert value_at(thin, after) == value_at(steps, after)


def test_a_track_is_bounded_and_keeps_its_high_water():
    track = MemoryTrack("unified", 100, limit=50)
    for at in range(2_000):
        track.reserve(step(at * 10_000, 90 if at == 777 else at % 7))
        track.sample(at * 10_000, 95 if at == 888 else at % 5)
    assert len(track.steps) <= 50
    assert len(track.samples) <= 50
    assert max(s.reserved_bytes for s in track.steps) == 90
    assert max(used for _, used in track.samples) == 95
    assert track.top_bytes == 100


def test_a_step_that_changes_nothing_is_not_kept():
    track = MemoryTrack("unified", 100)
    for at in range(5):
        track.reserve(step(at, 7))
    assert [s.at_ns for s in track.steps] == [0]


@given(st.floats(1e-6, 1e6))
def test_a_step_of_the_axis_is_nice_and_just_large_enough(at_least):
    found = nice_step(at_least)
    assert at_least * (1 - 1e-9) <= found <= at_least * 2.5 * (1 + 1e-9)
    assert f"{found:e}"[0] in "125"


def test_a_scale_goes_from_edge_to_edge_and_labels_whole_steps():
    scale = Scale(5_000_000_000, 35_000_000_000, 900)
    assert (scale.x(scale.start_ns), scale.x(scale.end_ns)) == (0, 900)
    labels = list(scale.labels())
    assert labels[:2] == [(0, "0 s"), (150, "5 s")]
    assert labels[-1] == (900, "30 s")


def test_a_run_of_no_length_has_a_scale():
    assert next(Scale(5, 5, 900).labels()) == (0, "0 s")
