"""Engines that stay in memory whatever comes."""

from __future__ import annotations

from scheduler.core.events import BudgetChanged, ModelRemoved, PinChanged
from scheduler.core.model import SECOND_NS


def test_a_pinned_model_is_loaded_as_soon_as_it_is_registered(world):
    assert world.model("a", pinned=True) == ["load a"]


def test_a_pinned_engine_is_never_evicted_and_has_no_keep_alive(world):
    world.model("a", 500, pinned=True, keep_alive_ns=SECOND_NS, priority=0)
    world.model("b", 400)
    world.model("c", 400)
    world.loaded("a")
    world.bring("b")
    world.at(99_000)
    assert world.ask("c", priority=100) == ["unload b: make_room"]
    assert world.states()["a"] == "ready"


def test_pinning_loads_and_makes_room_like_a_request_of_its_priority(world):
    world.model("a", 600)
    world.model("b", 600)
    world.bring("a")
    assert world.tell(PinChanged("b", True)) == ["unload a: make_room"]
    assert world.unloaded("a") == ["load b"]
    world.loaded("b")
    world.tell(PinChanged("b", False))
    world.check_rest("a")


def test_what_is_pinned_goes_before_everybody_who_waits(world):
    world.model("x", 600)
    world.model("a", 600)
    world.model("b", 600)
    world.hold("x")
    world.loaded("x")
    world.ask("a")
    assert world.tell(PinChanged("b", True)) == ["finish 2 rejected: never_fits"]
    assert world.ended(1) == ["finish 1 completed", "unload x: make_room"]
    assert world.unloaded("x") == ["load b"]


def test_a_pinned_model_that_never_fits_is_left_alone_until_it_does(world):
    world.model("a", 1200, pinned=True)
    assert world.states() == {"a": "unloaded"}
    assert world.tell(BudgetChanged("unified", 1200)) == ["load a"]


def test_a_pinned_engine_cannot_be_unloaded_by_request(world):
    world.model("a", pinned=True)
    world.loaded("a")
    assert world.unload("a") == ["finish 1 rejected: model_pinned"]


def test_a_pinned_engine_that_was_lost_comes_back_after_its_back_off(world):
    world.model("a", pinned=True)
    world.loaded("a")
    assert world.lost("a") == []
    assert world.at(1000) == ["load a"]
    world.loaded("a")
    world.check_rest("a")


def test_a_pin_refuses_the_unload_that_waits_and_brings_back_what_is_on_its_way_out(world):
    world.model("a")
    world.bring("a")
    world.ask("a")
    world.unload("a")
    assert world.tell(PinChanged("a", True)) == ["finish 3 rejected: model_pinned"]
    assert world.ended() == ["finish 2 completed"]
    world.tell(PinChanged("a", False))
    world.unload("a")
    assert world.tell(PinChanged("a", True)) == ["finish 4 rejected: model_pinned"]
    assert world.unloaded("a") == ["load a"]


def test_two_pins_are_loaded_one_making_room_at_a_time(world):
    for name in "abcd":
        world.model(name, 450)
    world.bring("a", "b")
    world.tell(PinChanged("c", True))
    assert world.states()["a"] == "unloading"
    world.tell(PinChanged("d", True))
    world.quiesce()
    assert world.states() == {"a": "unloaded", "b": "unloaded", "c": "ready", "d": "ready"}


def test_pins_of_models_that_are_gone_or_unknown_change_nothing(world):
    assert world.tell(PinChanged("a", True)) == []
    world.model("a", pinned=True)
    world.tell(ModelRemoved("a"))
    assert world.tell(PinChanged("a", True)) == []
    assert world.loaded("a") == ["unload a: model_removed"]
    assert world.unloaded("a") == []
    assert world.states() == {}


def test_removing_a_model_that_is_not_in_memory_forgets_it_at_once(world):
    world.model("a")
    world.model("b")
    world.bring("b")
    world.tell(ModelRemoved("a"))
    assert world.states() == {"b": "ready"}
    assert world.tell(ModelRemoved("a")) == []
    assert world.tell(ModelRemoved("b")) == ["unload b: model_removed"]
    assert world.tell(ModelRemoved("b")) == []


def test_a_pin_that_loads_keeps_no_memory_for_a_run_that_nobody_has_asked_for(world):
    world.model("held", 1000)
    world.hold("held")
    world.loaded("held")
    world.model("pinned", 400, workspace=300, pinned=True)
    world.model("a", 600)
    world.ask("a")
    assert world.ended() == ["finish 1 completed", "unload held: make_room"]
    assert world.unloaded("held") == ["load pinned", "load a"]
