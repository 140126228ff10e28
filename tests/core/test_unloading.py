"""Loads and unloads that somebody asks for."""

from __future__ import annotations

from scheduler.core.events import ModelRemoved
from scheduler.core.request import RequestKind


def test_a_load_ends_when_the_engine_is_ready_and_at_once_when_it_is(world):
    world.model("a")
    assert world.load("a") == ["load a"]
    assert world.loaded("a") == ["finish 1 completed"]
    assert world.load("a") == ["finish 2 completed"]


def test_a_load_of_an_engine_that_runs_ends_at_once(world):
    world.model("a")
    world.ask("a")
    world.loaded("a")
    assert world.load("a") == ["finish 2 completed"]


def test_a_load_that_is_cancelled_leaves_the_engine_to_come(world):
    world.model("a")
    world.load("a")
    world.cancel(1)
    assert world.loaded("a") == []
    world.check_rest("a")


def test_an_unload_ends_when_the_engine_is_out_and_at_once_when_it_is_not_in(world):
    world.model("a")
    assert world.unload("a") == ["finish 1 completed"]
    world.bring("a")
    assert world.unload("a") == ["unload a: asked_to_unload"]
    assert world.unloaded("a") == ["finish 3 completed"]
    world.check_rest("a")


def test_an_unload_goes_before_those_who_wait_and_they_are_served_after_it(world):
    world.model("a")
    world.ask("a")
    world.loaded("a")
    world.ask("a", priority=99)
    world.unload("a")
    assert world.ended() == ["finish 1 completed", "unload a: asked_to_unload"]
    assert world.unloaded("a") == ["finish 3 completed", "load a"]
    assert world.loaded("a") == ["run a for 2"]
    world.ended()
    world.check_rest("a")


def test_an_unload_during_the_load_is_done_when_the_engine_is_there(world):
    world.model("a")
    world.ask("a")
    world.unload("a")
    assert world.loaded("a") == ["unload a: asked_to_unload"]
    assert world.unloaded("a") == ["finish 2 completed", "load a"]


def test_an_unload_takes_back_a_lease_that_is_not_critical(world):
    world.model("a")
    world.hold("a", priority=99)
    world.loaded("a")
    said = world.unload("a")
    assert said == ["revoke 1: higher_priority", "finish 1 preempted: higher_priority"]
    assert world.ended(1) == ["unload a: asked_to_unload"]


def test_an_unload_waits_for_a_critical_lease(world):
    world.model("a")
    world.hold("a", priority=100)
    world.loaded("a")
    assert world.unload("a") == []
    assert world.ended() == ["finish 1 completed", "unload a: asked_to_unload"]


def test_an_unload_of_less_priority_waits_for_its_turn(world):
    world.model("a")
    world.bring("a")
    world.ask("a")
    world.ask("a", priority=60)
    world.ask("a", kind=RequestKind.UNLOAD, priority=10)
    assert world.ended() == ["finish 2 completed", "run a for 3"]
    assert world.ended() == ["finish 3 completed", "unload a: asked_to_unload"]


def test_unloads_are_not_limited_by_the_queue(world):
    world.model("a", queue_limit=1)
    world.ask("a")
    assert world.unload("a") == []
    assert world.unload("a") == []


def test_an_unload_of_a_model_that_is_removed_meanwhile_is_done_with_it(world):
    world.model("a")
    world.ask("a")
    world.loaded("a")
    world.unload("a")
    assert world.tell(ModelRemoved("a")) == []
    assert world.ended() == ["finish 1 completed", "unload a: model_removed"]
    assert world.unloaded("a") == ["finish 2 completed"]
    assert world.states() == {}


def test_others_that_want_the_engine_wait_while_it_is_asked_to_go(world):
    world.model("a", 300)
    world.model("b", 300)
    world.ask("a")
    world.loaded("a")
    world.unload("a")
    assert world.hold("a", "b") == ["load b"]
    assert world.loaded("b") == []
    assert world.ended() == ["finish 1 completed", "unload a: asked_to_unload"]
    assert world.unloaded("a") == ["finish 2 completed", "load a"]
    assert world.loaded("a") == ["hold a+b for 3"]


def test_an_unload_is_done_even_if_somebody_before_it_wants_the_engine_back_at_once(world):
    world.model("a", 300)
    world.model("b", 300)
    world.bring("a", "b")
    world.unload("a")
    world.hold("a", "b", priority=100, deadline=9000)
    assert world.unloaded("a") == ["finish 3 completed", "load a"]


def test_an_unload_that_waits_behind_others_ends_with_its_model(world):
    world.model("held", 1000)
    world.hold("held")
    world.loaded("held")
    world.model("a", 500)
    world.ask("a", priority=60)
    assert world.ask("a", kind=RequestKind.UNLOAD, priority=10) == []
    said = world.tell(ModelRemoved("a"))
    assert said == ["finish 2 rejected: model_removed", "finish 3 completed"]
