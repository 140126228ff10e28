"""When a model is asked for, and when it will be next."""

from __future__ import annotations

import pytest

from scheduler.core.demand import FEWEST, MOMENT_NS, REMEMBERED, SILENT, Demand

MS = 1_000_000


def asked(*at_ms):
    demand = Demand()
    for ms in at_ms:
        demand.note(round(ms * MS))
    return demand


def test_of_too_few_nothing_is_expected():
    for count in range(FEWEST + 1):
        demand = asked(*(100 * i for i in range(count)))
        assert demand.usual_ns() == 0
        assert demand.next_ns(400 * MS) is None
        assert not demand.is_steady()
    assert asked(0, 100, 200, 300).next_ns(300 * MS) == 400 * MS


def test_a_stream_that_keeps_time_is_expected_on_its_beat_and_when_overdue_at_once():
    demand = asked(0, 33, 66, 99, 132)
    assert demand.is_steady()
    assert demand.next_ns(133 * MS) == 165 * MS
    assert demand.next_ns(165 * MS) == 165 * MS
    assert demand.next_ns(180 * MS) == 180 * MS


def test_one_odd_gap_at_either_end_does_not_disturb_the_beat():
    dropped = asked(0, 100, 200, 400, 500, 600)
    assert dropped.is_steady()
    assert dropped.usual_ns() == 100 * MS
    hurried = asked(0, 100, 200, 210, 310, 410)
    assert hurried.is_steady()
    assert hurried.usual_ns() == 100 * MS


@pytest.mark.parametrize(("spread", "steady"), [(25, True), (26, False)])
def test_how_much_the_gaps_may_spread(spread, steady):
    gaps = [100, 100, 100 + spread, 100 + spread, 100]
    times = [sum(gaps[:i]) for i in range(len(gaps) + 1)]
    assert asked(*times).is_steady() is steady


def test_of_a_stream_without_beat_the_next_is_a_mean_gap_from_now_whenever_the_last_was():
    demand = asked(0, 10, 300, 310, 800)
    assert not demand.is_steady()
    assert demand.usual_ns() == 200 * MS
    assert demand.next_ns(800 * MS) == 1000 * MS
    assert demand.next_ns(900 * MS) == 1100 * MS


def test_how_much_time_requests_have_is_the_median_of_the_last_that_said_so():
    demand = Demand()
    demand.note(0)
    assert demand.allowed_ns() is None
    for i, allowed in enumerate((50, 90, 70)):
        demand.note((i + 1) * MS, allowed)
    assert demand.allowed_ns() == 70
    demand.note(3 * MS + 1, 10)  # the same moment
    demand.note(4 * MS, 90)
    assert demand.allowed_ns() == 90
    for i in range(REMEMBERED):
        demand.note((5 + i) * MS, 20)
    assert demand.allowed_ns() == 20
    demand.forget()
    assert demand.allowed_ns() is None


def test_after_four_of_its_longest_gaps_nobody_expects_it():
    demand = asked(0, 100, 200, 300)
    end_ns = (300 + SILENT * 100) * MS
    assert demand.next_ns(end_ns) == end_ns
    assert demand.silent_from_ns() == end_ns + 1
    assert demand.next_ns(end_ns + 1) is None
    assert demand.usual_ns() == 100 * MS  # it is still known how they came


def test_a_burst_of_one_moment_counts_as_one_request():
    demand = Demand()
    for at in (0, 100, 200, 300):
        for i in range(5):
            demand.note(at * MS + i)
    assert demand.is_steady()
    assert demand.usual_ns() == 100 * MS
    # The moment lasts from the first of the burst on, and what comes after it counts.
    demand.note(300 * MS + MOMENT_NS)
    assert demand.usual_ns() == 100 * MS
    assert demand.next_ns(302 * MS) == 401 * MS


def test_only_the_last_few_gaps_are_remembered():
    early = [10 * i for i in range(20)]
    late = [1000 + 100 * i for i in range(REMEMBERED + 1)]
    assert asked(*early, *late).usual_ns() == 100 * MS
    assert not asked(*early, *late[:3]).is_steady()


def test_what_was_forgotten_is_expected_when_it_has_come_again():
    demand = asked(0, 100, 200, 300)
    demand.forget()
    assert demand.usual_ns() == 0
    assert demand.next_ns(301 * MS) is None
    assert not demand.is_steady()
    for ms in (1000, 1050, 1100):
        demand.note(ms * MS)
    assert demand.next_ns(1101 * MS) is None  # two gaps: the pause is none of them
    demand.note(1150 * MS)
    assert demand.next_ns(1151 * MS) == 1200 * MS
