"""What it would mean to do without an engine, or to have it."""

from __future__ import annotations

import pytest

from scheduler.core.engine import Engine, EngineState
from scheduler.core.model import ModelSpec, PoolFootprint
from scheduler.core.policy import loss
from scheduler.core.prospect import candidate, misses, reload_ns, service_ns, worth
from scheduler.core.settings import Trust

MS = 1_000_000
S = 1000 * MS


def engine(load_ms=None, run_ms=None, asked_ms=(), *, deadline_ms=None, resident=100):
    """One of which loads, runs and requests were seen."""
    deadline_ns = None if deadline_ms is None else deadline_ms * MS
    footprint = {"x": PoolFootprint(resident_bytes=resident)}
    spec = ModelSpec(name="e", footprint=footprint, deadline_ns=deadline_ns)
    seen = Engine(spec, Trust.MAX)
    if load_ms is not None:
        seen.load_times.add(load_ms * MS, 0)
    if run_ms is not None:
        seen.run_times.add(run_ms * MS, 0)
    for ms in asked_ms:
        seen.demand.note(ms * MS)
    return seen


def test_a_load_that_was_never_seen_is_guessed_from_the_size():
    assert reload_ns(engine(resident=300 * MS)) == 300 * MS
    assert reload_ns(engine(load_ms=70)) == 70 * MS


def test_to_serve_takes_the_longest_load_and_a_run():
    absent, slower, there = engine(100, 20), engine(300, 50), engine(500, 20)
    there.enter(EngineState.LOADING, 0)
    there.enter(EngineState.READY, 0)
    assert service_ns((absent,)) == 120 * MS
    assert service_ns((absent, slower, there)) == 320 * MS
    assert service_ns((there,)) == 20 * MS


BEAT = (0, 100, 200, 300)


@pytest.mark.parametrize(
    ("away_ms", "next_ms", "missed"),
    [
        # Back after 50 + 130 + 20 = 200 ms; the deadline allows 60: 140 ms are too late.
        (50, 141, 0),
        (50, 140, 1),
        (50, 41, 1),
        (50, 40, 2),
        (50, 0, 2),
        (1000, 0, 11),
    ],
)
def test_those_are_missed_that_come_before_it_is_back_by_more_than_their_deadline(
    away_ms, next_ms, missed
):
    seen = engine(130, 20, BEAT, deadline_ms=60)
    assert misses(seen, away_ms * MS, next_ms * MS) == missed


def test_nothing_is_missed_without_a_deadline_or_without_a_stream():
    assert misses(engine(130, 20, BEAT), S, 0) == 0
    assert misses(engine(130, 20, (0,), deadline_ms=60), S, 0) == 0


def test_what_a_policy_is_told():
    seen = engine(130, 20, BEAT, deadline_ms=60)
    seen.used_ns = 320 * MS
    told = candidate(seen, {"x": 100}, 50 * MS, 350 * MS)
    assert (told.gap_ns, told.reload_ns, told.misses) == (50 * MS, 130 * MS, 1)
    silent = candidate(seen, {"x": 100}, 50 * MS, 9 * S)
    assert (silent.gap_ns, silent.misses) == (9 * S - 320 * MS + S, 0)


def test_an_engine_is_worth_what_it_costs_to_be_without_it_all_the_time():
    assert worth(engine(130, 20, BEAT), 350 * MS) == loss(
        candidate(engine(130, 20, BEAT), {}, 0, 300 * MS)
    )
    urgent = engine(130, 20, BEAT, deadline_ms=60)
    assert worth(urgent, 350 * MS) > 100 * worth(engine(130, 20, BEAT), 350 * MS)
    assert worth(engine(130, 20, BEAT), 9 * S) == 0  # nobody expects it any more
    assert worth(engine(130, 20), 0) == 0
