"""Engines that may not be loaded together."""

from __future__ import annotations

from scheduler.core.events import PinChanged


def test_two_of_a_group_are_never_loaded_together_though_both_would_fit(world):
    world.model("a", 100, exclusive="g")
    world.model("b", 100, exclusive="g")
    world.ask("a")
    world.loaded("a")
    assert world.ask("b") == []
    assert world.waits_for(2) == "waits_for_memory"
    assert world.ended() == ["finish 1 completed", "unload a: make_room"]
    assert world.unloaded("a") == ["load b"]
    world.quiesce()
    world.check_rest("a")


def test_the_first_load_of_a_group_needs_nobody_to_go(world):
    world.model("a", 100, exclusive="g")
    assert world.ask("a") == ["load a"]


def test_a_rival_that_is_loading_or_unloading_is_waited_for(world):
    world.model("a", 100, exclusive="g")
    world.model("b", 100, exclusive="g")
    world.ask("a")
    assert world.ask("b") == []
    assert world.waits_for(2) == "waits_for_exclusive"
    world.loaded("a")
    world.ended()
    assert world.states()["a"] == "unloading"
    assert world.waits_for(2) == "waits_for_exclusive"


def test_a_model_in_two_groups_waits_for_both(world):
    world.model("a", 100, exclusive="g")
    world.model("c", 100, exclusive="h")
    world.model("b", 100, exclusive="gh")
    world.hold("a")
    world.hold("c")
    world.loaded("a")
    world.loaded("c")
    assert world.ask("b") == []
    assert world.waits_for(3) == "waits_for_exclusive"
    assert world.ended(1) == ["finish 1 completed"]
    assert world.ended(2) == ["finish 2 completed", "unload a: make_room", "unload c: make_room"]
    assert world.unloaded("a") == []
    assert world.unloaded("c") == ["load b"]
    world.quiesce()
    world.check_rest("a")


def test_programs_that_hold_one_of_a_group_and_want_the_other_do_not_deadlock(world):
    world.model("a", 100, exclusive="g")
    world.model("b", 100, exclusive="gh")
    world.model("c", 100, exclusive="h")
    world.hold("a", "c")  # 1
    world.hold("a", "c")  # 2
    world.hold("b")  # 3
    world.quiesce()
    assert [world.outcome(i) for i in (1, 2, 3)] == ["completed"] * 3
    world.check_rest("b")


def test_a_held_rival_of_lower_priority_has_its_lease_taken_back(world):
    world.model("a", 100, exclusive="g")
    world.model("b", 100, exclusive="g")
    world.hold("a", priority=50)
    world.loaded("a")
    assert world.ask("b", priority=50) == []
    assert "revoke 1: higher_priority" in world.ask("b", priority=51)
    assert world.ended(1) == ["unload a: make_room"]


def test_the_budget_wins_over_what_the_groups_would_allow(world):
    world.model("a", 400, exclusive="g")
    world.model("b", 400, exclusive="h")
    world.model("c", 900, exclusive="i")
    world.bring("a", "b")
    assert world.ask("c") == ["unload a: make_room", "unload b: make_room"]
    assert world.unloaded("a") == []
    assert world.unloaded("b") == ["load c"]
    world.quiesce()
    world.check_rest("a")


def test_a_rival_counts_towards_the_room_that_is_missing(world):
    world.model("rival", 300, exclusive="g")
    world.model("other", 600)
    world.model("new", 400, exclusive="g")
    world.bring("rival", "other")
    assert world.ask("new") == ["unload rival: make_room"]
    assert world.states()["other"] == "ready"


def test_a_rival_that_is_pinned_later_ends_the_wait(world):
    world.model("a", 100, exclusive="g")
    world.model("b", 100, exclusive="g")
    world.hold("a")
    world.loaded("a")
    world.ask("b")
    assert world.tell(PinChanged("a", True)) == ["finish 2 rejected: excluded_by_pin"]


def test_a_rival_that_somebody_earlier_needs_is_not_taken_away(world):
    world.model("a", 100, exclusive="g", max_wait_ns=9_000_000_000)
    world.model("b", 100, exclusive="g")
    world.ask("a")
    world.loaded("a")
    world.ask("a", priority=60)
    world.ask("b")
    assert world.waits_for(3) == "waits_for_exclusive"
    assert world.ended() == ["finish 1 completed", "run a for 2"]


def test_the_group_of_who_waits_for_memory_is_kept_for_it(world):
    """`small` would fit meanwhile, and have to be sent away again as soon as `large` can come."""
    world.model("old", 400)
    world.model("small", 250, exclusive=["g"])
    world.model("large", 601, exclusive=["g"], priority=60)
    world.bring("old", "small")
    assert world.ask("large") == ["unload small: make_room", "unload old: make_room"]
    assert world.ask("small") == []
    assert world.unloaded("small") == []
    assert world.waits_for(4) == "waits_for_turn"
    assert world.unloaded("old") == ["load large"]
    world.quiesce()
    world.check_rest("small")


def test_one_of_no_common_group_is_not_kept_out(world):
    world.model("old", 400)
    world.model("small", 100, exclusive=["h"])
    world.model("large", 700, exclusive=["g"], priority=60)
    world.bring("old")
    assert world.ask("large") == ["unload old: make_room"]
    assert world.ask("small") == ["load small"]
