"""What a policy judges by: the order, the loss, and who may be asked to go."""

from __future__ import annotations

import pytest

from scheduler.core.policy import (
    DOUBLES_EVERY,
    MISS_NS,
    POLICIES,
    SHORTEST_GAP_NS,
    Candidate,
    FifoPolicy,
    RotaPolicy,
    loss,
)

S = 1_000_000_000


def candidate(model="a", **known):
    given = {"priority": 0, "used_ns": 0, "frees": {"x": 100}, "reload_ns": S, "gap_ns": S}
    return Candidate(model, **{**given, **known})


def test_the_loss_is_the_time_to_load_it_again_per_second_of_its_absence():
    assert loss(candidate()) == S
    assert loss(candidate(reload_ns=2 * S)) == 2 * S
    assert loss(candidate(gap_ns=4 * S)) == S // 4


def test_a_deadline_that_is_missed_weighs_as_much_as_a_minute_of_loading():
    assert loss(candidate(reload_ns=0, misses=1)) == MISS_NS == 60 * S
    assert loss(candidate(misses=3)) == S + 180 * S


def test_each_sixteen_points_of_priority_weigh_double():
    assert loss(candidate(priority=DOUBLES_EVERY - 1)) == S
    assert loss(candidate(priority=DOUBLES_EVERY)) == 2 * S
    assert loss(candidate(priority=100)) == 64 * S


def test_what_is_wanted_now_is_not_infinitely_dear():
    assert loss(candidate(gap_ns=0)) == loss(candidate(gap_ns=SHORTEST_GAP_NS)) == 1000 * S


def test_the_cheap_to_have_back_go_before_the_long_unused():
    quick = candidate("quick", used_ns=9 * S, reload_ns=S // 10)
    slow = candidate("slow", used_ns=0, reload_ns=S, gap_ns=5 * S)
    assert RotaPolicy().choose_victims([quick, slow], {"x": 50}) == ("quick",)
    assert FifoPolicy().choose_victims([quick, slow], {"x": 50}) == ("slow",)


@pytest.mark.parametrize(
    ("short", "chosen"), [(100, ("b",)), (101, ("b", "c")), (301, None), (300, ("b", "c", "a"))]
)
def test_fifo_takes_the_least_recently_used_until_it_is_enough(short, chosen):
    there = [candidate("a", used_ns=2), candidate("b", used_ns=1), candidate("c", used_ns=1)]
    assert FifoPolicy().choose_victims(there, {"x": short}) == chosen


def test_fifo_has_to_free_enough_in_each_pool():
    there = [candidate("a", frees={"x": 100}), candidate("b", used_ns=1, frees={"y": 100})]
    assert FifoPolicy().choose_victims(there, {"x": 1, "y": 1}) == ("a", "b")
    assert FifoPolicy().choose_victims(there[:1], {"x": 1, "y": 1}) is None


def test_what_the_policies_are_called():
    assert list(POLICIES) == ["rota", "fifo", "lock"]
