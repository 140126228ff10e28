"""Other programs take memory: idle engines go in time, and a person is warned."""

from __future__ import annotations

import pytest

from scheduler.core.events import MemorySampled
from scheduler.core.settings import PoolBudget
from tests.core.conftest import POOL

WARN = "alarm None: pool_nearly_full"


@pytest.fixture
def robot(make_world):
    """Two idle engines of 300 each, on a machine of which 100 are left to others."""
    world = make_world(pools={POOL: PoolBudget(budget_bytes=1000, reserve_bytes=100)})
    world.model("a", 300)
    world.model("b", 300, priority=90)
    world.bring("a", "b")
    return world


def test_when_others_press_the_idle_engine_that_costs_least_goes(robot):
    assert robot.tell(MemorySampled(POOL, 100)) == []
    assert robot.tell(MemorySampled(POOL, 99)) == ["unload a: external_pressure"]
    detail = "other programs press: 1 B of unified less than the reserve is left"
    assert robot.decisions[-1].reason.detail == detail
    assert robot.tell(MemorySampled(POOL, 0)) == [], "what is being unloaded will be enough"
    robot.unloaded("a")
    assert robot.states()["b"] == "ready"


def test_what_went_waits_until_there_is_room_again(robot):
    robot.hold("b")
    robot.tell(MemorySampled(POOL, 50))
    robot.unloaded("a")
    robot.tell(MemorySampled(POOL, 399))
    assert robot.ask("a") == []
    assert robot.waits_for(4) == "external_pressure"
    assert robot.tell(MemorySampled(POOL, 400)) == ["load a"]


def test_if_all_are_not_enough_all_go_but_what_runs_and_what_is_pinned(make_world):
    world = make_world(pools={POOL: PoolBudget(budget_bytes=1000, reserve_bytes=500)})
    for name in ("idle", "other", "busy"):
        world.model(name, 100)
    world.model("pin", 100, pinned=True)
    world.loaded("pin")
    world.bring("idle", "other")
    world.ask("busy")
    world.loaded("busy")
    assert world.tell(MemorySampled(POOL, 0)) == [
        "unload idle: external_pressure",
        "unload other: external_pressure",
    ]
    assert world.ended() == ["finish 3 completed", "unload busy: external_pressure"]
    assert world.states()["pin"] == "ready"


def test_a_request_to_a_loaded_engine_is_served_under_pressure(make_world):
    """It needs nothing more; and when it is idle again, it goes."""
    world = make_world(pools={POOL: PoolBudget(budget_bytes=1000, reserve_bytes=500)})
    world.model("pin", 100, pinned=True)
    world.loaded("pin")
    world.tell(MemorySampled(POOL, 0))
    assert world.ask("pin") == ["run pin for 1"]


def test_what_is_booked_since_the_sample_counts_as_taken(robot):
    robot.tell(MemorySampled(POOL, 450))
    robot.model("c", 300)
    assert robot.ask("c") == ["load c"]
    assert robot.tell(MemorySampled(POOL, 390)) == ["unload a: external_pressure"], (
        "c will take 300 of the 390"
    )


def test_without_a_reserve_and_without_a_sample_nobody_goes(world):
    world.model("a", 300)
    world.bring("a")
    assert world.tell(MemorySampled(POOL, 0)) == []
    assert world.tell(MemorySampled(POOL, None, total_bytes=100)) == []


def test_a_pool_that_is_nearly_full_is_warned_of_once_until_it_was_calm_again(world):
    def filled(percent):
        return world.tell(MemorySampled(POOL, 10 * (100 - percent), total_bytes=1000))

    assert filled(89) == []
    assert filled(90) == [WARN]
    assert world.decisions[-1].reason.detail == (
        "unified is 90 % full: 100 B of 1000 B are available, 0 B are booked here, the rest is "
        "taken by others"
    )
    assert filled(99) == []
    assert filled(86) == []
    assert filled(92) == []
    assert filled(84) == []
    assert filled(95) == [WARN]


def test_idle_engines_go_before_the_warning_where_more_than_a_tenth_is_reserved(make_world):
    world = make_world(pools={POOL: PoolBudget(budget_bytes=900, reserve_bytes=120)})
    world.model("a", 300)
    world.bring("a")
    said = []
    for available in range(400, -1, -1):
        said += world.tell(MemorySampled(POOL, available, total_bytes=1000))
        if said:
            break
    assert (said, available) == (["unload a: external_pressure"], 119)


def test_what_is_not_known_is_not_full(world):
    assert world.tell(MemorySampled(POOL, None, total_bytes=1000)) == []
    assert world.tell(MemorySampled(POOL, 0)) == []
    assert world.tell(MemorySampled(POOL, 0, total_bytes=0)) == []


def test_each_pool_is_watched_for_itself(make_world):
    world = make_world(pools={p: PoolBudget(budget_bytes=1000) for p in ("host", "cuda:0")})
    assert world.tell(MemorySampled("host", 1, total_bytes=1000)) == [WARN]
    assert world.tell(MemorySampled("cuda:0", 1, total_bytes=1000)) == [WARN]
    assert world.tell(MemorySampled("host", 1, total_bytes=1000)) == []
