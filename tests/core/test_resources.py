"""Units that are held while running."""

from __future__ import annotations

from scheduler.core.events import BudgetChanged


def gpu_world(make_world, units=1):
    world = make_world(resources={"gpu": units})
    for name in "abc":
        world.model(name, uses={"gpu": 1})
    world.bring("a", "b", "c")
    return world


def test_engines_that_share_a_unit_do_not_run_together_though_both_are_loaded(make_world):
    world = gpu_world(make_world)
    assert world.ask("a") == ["run a for 4"]
    assert world.scheduler.snapshot().resources_in_use == {"gpu": 1}
    assert world.ask("b") == []
    assert world.waits_for(5) == "waits_for_units"
    assert world.ended() == ["finish 4 completed", "run b for 5"]
    world.ended()
    world.check_rest("c")


def test_as_many_run_as_there_are_units(make_world):
    world = gpu_world(make_world, units=2)
    for name in "abc":
        world.ask(name)
    assert world.count("run") == 2
    world.quiesce()
    world.check_rest("a")


def test_a_run_that_nobody_wants_keeps_its_unit_until_it_has_stopped(make_world):
    world = gpu_world(make_world)
    world.ask("a")
    world.ask("b")
    assert world.cancel(4) == ["finish 4 cancelled: caller_cancelled", "revoke 1: caller_cancelled"]
    assert world.states()["b"] == "ready"
    assert world.count("run b") == 0
    assert world.ended(1) == ["run b for 5"]
    world.ended()
    world.check_rest("a")


def test_an_engine_that_is_lost_gives_its_units_back(make_world):
    world = gpu_world(make_world)
    world.ask("a")
    world.ask("b")
    assert world.lost("a") == ["finish 4 failed: engine_lost", "run b for 5"]
    world.leases.pop(1)
    world.ended()
    world.check_rest("b")


def test_a_holder_takes_units_only_while_it_runs(make_world):
    world = gpu_world(make_world)
    world.hold("a")
    assert world.ask("b") == ["run b for 5"]
    assert world.ask("a", under_lease=1) == []
    assert world.waits_for(6) == "waits_for_units"
    assert world.ended(2) == ["finish 5 completed", "run a for 6"]


def test_one_that_needs_two_units_is_not_starved_by_those_that_need_one(make_world):
    world = make_world(resources={"gpu": 2})
    world.model("a", uses={"gpu": 1})
    world.model("b", uses={"gpu": 1})
    world.model("two", uses={"gpu": 2})
    world.bring("a", "b", "two")
    world.ask("a")
    world.ask("two")
    assert world.ask("b") == []
    assert world.ended() == ["finish 4 completed", "run two for 5"]
    world.quiesce()
    world.check_rest("b")


def test_who_waits_for_memory_does_not_keep_the_units_from_others(make_world):
    world = make_world(resources={"gpu": 1})
    world.model("a", 300, workspace=200, uses={"gpu": 1})
    world.model("held", 300)
    world.model("b", 300, uses={"gpu": 1})
    world.bring("a", "b")
    world.hold("held")
    world.loaded("held")
    world.tell(BudgetChanged("unified", 1000))
    assert world.ask("a") == ["unload b: make_room"]
    world.unloaded("b")
    assert world.count("run a") == 1
