"""Engines that take turns in the same memory: a person is told what would end it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.decisions import RaiseAlarm
from scheduler.core.events import EngineLost, MemorySampled
from scheduler.core.model import PoolFootprint
from scheduler.core.settings import PoolBudget
from tests.core.conftest import MS, POOL, World

ALARM = "alarm None: thrashing"


def alarms(world):
    """Every thrash alarm, with the ms at which it came."""
    return [
        (at / MS, decision)
        for at, decision in zip(world.times, world.decisions, strict=True)
        if isinstance(decision, RaiseAlarm) and decision.reason.code.value == "thrashing"
    ]


def in_turns(world, models, every_ms, until_ms, load_ms=3000):
    """Ask each in turn; a load takes `load_ms`."""
    world.pace = (load_ms, 10, 10)
    at, index = world.now / MS, 0
    while at < until_ms:
        world.ask(models[index % len(models)])
        index += 1
        at += every_ms
        world.at(at)


def two(make_world, budget=1000, **settings):
    world = make_world(budget, **settings)
    world.model("a", 600, workspace=20)
    world.model("b", 500)
    world.model("never used", 5)
    return world


def test_the_alarm_comes_once_and_says_how_much_more_would_end_it(make_world):
    world = two(make_world)
    in_turns(world, "ab", 4000, 120_000)
    ((at_ms, alarm),) = alarms(world)
    assert at_ms == 27_010  # Five reloads of 3 s: the first at 8 s, one each 4 s, each 3.01 s long.
    assert alarm.more_bytes == {POOL: 120}
    assert alarm.reason.detail == (
        "25 % of the last minute went into loading again what had made room: a 3 times, b 2 times; "
        "120 B of unified more would end it"
    )


def test_with_that_many_more_bytes_the_same_workload_does_not_alarm_and_with_fewer_it_does(
    make_world,
):
    for budget, told in ((1000 + 120, 0), (1000 + 99, 1)):
        world = two(make_world, budget)
        in_turns(world, "ab", 4000, 120_000)
        assert len(alarms(world)) == told
        assert world.count("load") == 2 or told


def test_reloads_of_less_than_a_quarter_of_the_time_are_no_thrash(make_world):
    world = two(make_world)
    in_turns(world, "ab", 16_000, 300_000)
    assert world.count("load a") > 9
    assert alarms(world) == []


def test_what_comes_back_after_more_than_a_minute_is_no_reload(make_world):
    world = two(make_world)
    in_turns(world, "ab", 61_000, 600_000, load_ms=40_000)
    assert alarms(world) == []


def test_what_was_unloaded_for_another_reason_or_lost_is_no_reload(make_world):
    world = make_world(1000)
    world.model("a", 600, backoff_ns=1)
    world.pace = (10_000, 10, 10)
    for at in range(0, 240_000, 24_000):
        world.at(at)
        world.load("a")
        world.at(at + 11_000)
        if at % 48_000:
            world.unload("a")
        else:
            world.tell(EngineLost("a", world.instances["a"], "killed"))
        world.at(at + 12_000)
    assert alarms(world) == []


def test_it_is_told_again_only_after_it_was_calm(make_world):
    world = two(make_world)
    in_turns(world, "ab", 4000, 60_000)
    in_turns(world, "ab", 10_000, 180_000)  # 18 of 60 s, then 30 %: never below an eighth.
    assert len(alarms(world)) == 1
    world.at(300_000)
    in_turns(world, "ab", 4000, 400_000)
    assert len(alarms(world)) == 2


def test_all_that_was_used_in_that_minute_and_what_is_pinned_has_to_fit(make_world):
    world = two(make_world, budget=1150)
    world.model("pin", 100, workspace=7, pinned=True)
    world.loaded("pin")
    world.model("other", 100)
    world.pace = (0, 0, 0)
    world.at(100_000)
    world.ask("other")
    in_turns(world, "ab", 4000, 140_000)
    assert alarms(world)[0][1].more_bytes == {POOL: 620 + 500 + 107 + 100 - 1150}


def test_what_is_in_use_all_the_time_belongs_to_the_working_set(make_world):
    world = two(make_world, budget=1300)
    world.model("held", 300)
    world.pace = (0, 0, 0)
    world.hold("held", priority=100)
    world.at(100_000)
    in_turns(world, "ab", 4000, 140_000)
    assert alarms(world)[0][1].more_bytes == {POOL: 620 + 500 + 300 - 1300}


def test_a_load_peak_has_to_fit_beside_the_others(make_world):
    world = make_world(1000)
    world.model("a", 600)
    world.model("b", 500, peak=590)
    in_turns(world, "ab", 4000, 40_000)
    assert alarms(world)[0][1].more_bytes == {POOL: 600 + 590 - 1000}


def test_each_pool_is_told_that_is_too_small(make_world):
    pools = {"host": PoolBudget(budget_bytes=1000), "cuda:0": PoolBudget(budget_bytes=900)}
    world = make_world(pools=pools)
    part = world.settings.pools
    assert set(part) == {"host", "cuda:0"}

    for name in "ab":
        world.model(
            name,
            footprint={
                "host": PoolFootprint(resident_bytes=100),
                "cuda:0": PoolFootprint(resident_bytes=600),
            },
        )
    in_turns(world, "ab", 4000, 40_000)
    assert alarms(world)[0][1].more_bytes == {"cuda:0": 300}


def test_engines_that_exclude_each_other_are_not_helped_by_memory(make_world):
    world = make_world(1000)
    for name in "ab":
        world.model(name, 100, exclusive="g")
    in_turns(world, "ab", 4000, 40_000)
    assert alarms(world)[0][1].more_bytes == {}
    assert alarms(world)[0][1].reason.detail.endswith("; more memory would not end it")


def test_what_the_machine_has_not_is_missing_as_well(make_world):
    world = two(make_world, budget=5000)
    world.tell(MemorySampled(POOL, 1000))
    in_turns(world, "ab", 4000, 40_000)
    assert alarms(world)[0][1].more_bytes == {POOL: 120}


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(50, 500), min_size=2, max_size=5),
    peak=st.integers(0, 600),
    workspace=st.integers(0, 60),
)
def test_whatever_takes_turns_the_figure_ends_it(sizes, peak, workspace):
    names = "abcde"[: len(sizes)]

    def run(budget):
        world = World(budget)
        for name, size in zip(names, sizes, strict=True):
            world.model(name, size, workspace=workspace, peak=peak if name == "a" else 0)
        in_turns(world, names, 4000, 100_000)
        return world

    budget = max(max(sizes) + workspace, peak)
    found = alarms(run(budget))
    for _, alarm in found[:1]:
        again = run(budget + alarm.more_bytes[POOL])
        assert alarms(again) == []
        assert all(again.count(f"load {name}") == 1 for name in names)
    assert found or all(one + two <= budget for one, two in pairwise([*sizes, sizes[0]]))


@pytest.mark.parametrize("policy", ["fifo", "lock"])
def test_other_policies_thrash_as_well(make_world, policy):
    world = two(make_world, policy=policy)
    in_turns(world, "ab", 4000, 60_000)
    assert len(alarms(world)) == 1
