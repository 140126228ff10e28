"""How long an engine stays when nobody uses it."""

from __future__ import annotations

import pytest

from scheduler.core.events import PinChanged
from scheduler.core.model import SECOND_NS

MS = 1_000_000

TICK = 1e-6


def test_an_idle_engine_goes_when_its_keep_alive_is_over_counted_from_its_last_use(world):
    world.model("a", keep_alive_ns=2 * SECOND_NS)
    world.bring("a")
    world.at(1500)
    world.ask("a")
    world.at(1600)
    world.ended()
    assert world.at(3600 - TICK) == []
    assert world.at(3600) == ["unload a: keep_alive_over"]
    world.unloaded("a")
    world.check_rest("a")


def test_keep_alive_of_none_is_for_ever(world):
    world.model("a", keep_alive_ns=None)
    world.bring("a")
    assert world.scheduler.next_timer() is None


def test_keep_alive_of_zero_unloads_as_soon_as_nobody_wants_it(world):
    world.model("a", keep_alive_ns=0)
    world.ask("a")
    world.ask("a")
    assert world.loaded("a") == ["run a for 1"]
    assert world.ended() == ["finish 1 completed", "run a for 2"]
    assert world.ended() == ["finish 2 completed", "unload a: keep_alive_over"]


def test_an_engine_that_was_loaded_for_nobody_any_more_is_kept_alive_like_any_other(world):
    world.model("a", keep_alive_ns=SECOND_NS)
    world.ask("a")
    world.cancel(1)
    assert world.loaded("a") == []
    assert world.at(1000) == ["unload a: keep_alive_over"]


@pytest.mark.parametrize("tick", [-1, 0, 1, 500])
def test_a_request_around_the_moment_of_expiry_is_served(world, tick):
    world.model("a", keep_alive_ns=2 * SECOND_NS, exclusive="g")
    world.model("b", exclusive="g")
    world.bring("a")
    world.now = 2 * SECOND_NS + tick  # nobody has said so far that time has passed
    assert world.ask("a") == ["run a for 2"]
    world.ask("b")
    world.quiesce()
    assert [world.outcome(i) for i in (2, 3)] == ["completed"] * 2
    world.check_rest("a")


@pytest.mark.parametrize("late", [0, 1, 5_000_000])
def test_a_request_during_the_unload_loads_the_engine_again(world, late):
    world.model("a", keep_alive_ns=2 * SECOND_NS, exclusive="g")
    world.model("b", exclusive="g")
    world.bring("a")
    assert world.at(2000) == ["unload a: keep_alive_over"]
    world.now += late
    assert world.ask("a") == []
    assert world.waits_for(2) == "waits_for_unload"
    assert world.unloaded("a") == ["load a"]
    world.ask("b")
    world.quiesce()
    assert [world.outcome(i) for i in (2, 3)] == ["completed"] * 2
    world.check_rest("b")


def test_a_lease_stops_the_keep_alive_and_does_not_make_its_timer_spin(world):
    world.model("a", keep_alive_ns=SECOND_NS)
    world.hold("a")
    world.loaded("a")
    world.at(60_000)
    assert world.wakeups <= 2
    world.ended()
    assert world.at(61_000) == ["unload a: keep_alive_over"]


@pytest.mark.parametrize("keep_alive_ns", [0, 1, SECOND_NS])
def test_an_engine_somebody_waits_for_stays_and_its_timer_does_not_spin(make_world, keep_alive_ns):
    world = make_world(resources={"gpu": 1})
    world.model("a", uses={"gpu": 1}, keep_alive_ns=keep_alive_ns, max_wait_ns=1)
    world.model("b", uses={"gpu": 1})
    world.ask("b")
    world.loaded("b")
    world.load("a")
    world.ask("a")
    world.loaded("a")
    world.at(60_000)
    assert world.states()["a"] == "ready"
    assert world.wakeups <= 65
    assert world.ended() == ["finish 1 completed", "run a for 3"]
    world.ended()
    world.quiesce()
    assert world.states()["a"] == "unloaded"


def test_one_that_stopped_waiting_leaves_the_engine_no_more_than_a_second(make_world):
    world = make_world(resources={"gpu": 1})
    world.model("a", uses={"gpu": 1}, keep_alive_ns=0)
    world.model("b", uses={"gpu": 1})
    world.ask("b")
    world.loaded("b")
    world.ask("a")
    world.loaded("a")
    world.at(100)
    world.cancel(2)
    assert world.at(1000) == ["unload a: keep_alive_over"]


def test_a_pin_stops_the_keep_alive_and_its_end_starts_it(world):
    world.model("a", keep_alive_ns=SECOND_NS)
    world.bring("a")
    world.at(500)
    world.tell(PinChanged("a", True))
    world.at(9000)
    assert world.states() == {"a": "ready"}
    world.tell(PinChanged("a", False))
    assert world.at(10_000 - TICK) == []
    assert world.at(10_000) == ["unload a: keep_alive_over"]


def test_keep_alive_does_not_end_a_load_that_takes_longer(world):
    world.model("a", keep_alive_ns=5 * SECOND_NS, load_timeout_ns=30 * SECOND_NS)
    world.ask("a")
    world.at(12_000)
    assert world.loaded("a") == ["run a for 1"]
    assert world.count("load a") == 1
    world.ended()
    world.check_rest("a")


def test_a_run_longer_than_the_keep_alive_is_not_disturbed_by_it(world):
    world.model("a", keep_alive_ns=SECOND_NS)
    world.bring("a")
    world.ask("a")
    world.at(5000)
    assert world.states() == {"a": "ready"}
    world.ended()
    assert world.at(6000) == ["unload a: keep_alive_over"]


@pytest.mark.parametrize("keep_alive_ms", [0, 30])
def test_an_engine_that_would_be_loaded_ahead_at_once_is_kept(make_world, keep_alive_ms):
    """Its keep-alive is shorter than the time by which it is loaded ahead: it would come and go."""
    world = make_world()
    world.pace = (300, 20, 10)
    world.model("a", deadline_ns=100 * MS, keep_alive_ns=keep_alive_ms * MS)
    world.load("a")
    for i in range(10):
        world.later(100 + 2000 * i, lambda: world.ask("a", deadline=600))
    for i in range(10, 20):
        world.later(100 + 2000 * i, lambda: world.ask("a"))
    world.at(40_000)
    assert world.count("load a") <= 21
    assert all(world.outcome(i) == "completed" for i in range(13, 22))
    world.at(60_000)
    assert world.states()["a"] == "unloaded"
    assert world.count("load a") <= 22
