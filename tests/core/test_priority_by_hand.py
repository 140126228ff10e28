"""A model's priority, changed while it runs."""

from __future__ import annotations

from scheduler.core.events import ModelRemoved, PriorityChanged


def priorities(world):
    snapshot = world.scheduler.snapshot()
    return {engine.model: engine.priority for engine in snapshot.engines}


def test_who_waits_without_a_priority_of_his_own_has_that_of_his_model(world):
    world.model("a", priority=50)
    world.ask("a")
    world.loaded("a")
    world.ask("a")
    world.ask("a", priority=60)
    world.tell(PriorityChanged("a", 70))
    assert [wait.request_id for wait in world.scheduler.snapshot().waiting] == [2, 3]
    world.tell(PriorityChanged("a", None))
    assert [wait.request_id for wait in world.scheduler.snapshot().waiting] == [3, 2]


def test_a_lease_goes_by_it_unless_it_was_given_one(world):
    world.model("a", priority=50)
    world.hold("a")
    world.loaded("a")
    world.tell(PriorityChanged("a", 80))
    assert world.ask("a", priority=70) == []
    assert world.tell(PriorityChanged("a", 60)) == [
        "revoke 1: higher_priority",
        "finish 1 preempted: higher_priority",
    ]


def test_a_lease_that_was_given_a_priority_keeps_it(world):
    world.model("a", priority=50)
    world.hold("a", priority=80)
    world.loaded("a")
    world.ask("a", priority=70)
    assert world.tell(PriorityChanged("a", 0)) == []


def test_that_of_a_mode_stands_before_it_for_as_long_as_the_mode_lasts(world):
    world.model("a", priority=50)
    world.switch("m", priority={"a": 20})
    world.tell(PriorityChanged("a", 90))
    assert priorities(world) == {"a": 20}
    world.switch(None)
    assert priorities(world) == {"a": 90}
    world.tell(PriorityChanged("a", None))
    assert priorities(world) == {"a": 50}


def test_a_model_that_is_gone_or_going_has_none_to_change(world):
    world.model("a", priority=50)
    world.ask("a")
    world.loaded("a")
    world.tell(ModelRemoved("a"))
    world.tell(PriorityChanged("a", 90))
    assert priorities(world) == {"a": 50}
    assert world.tell(PriorityChanged("nobody", 90)) == []
