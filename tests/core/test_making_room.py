"""Whom to do without, and when."""

from __future__ import annotations

import pytest

from scheduler.core.events import Measurement, MemorySampled
from scheduler.core.model import PoolFootprint
from scheduler.core.policy import Candidate, RotaPolicy
from scheduler.core.settings import PoolBudget

S = 1_000_000_000


def candidate(model, size, priority=50, gap_ns=S):
    return Candidate(model, priority, 0, {"x": size}, reload_ns=S // 10, gap_ns=gap_ns)


@pytest.mark.parametrize(
    ("candidates", "short", "chosen"),
    [
        ([candidate("a", 100), candidate("b", 50, priority=10)], 50, {"b"}),
        ([candidate("a", 100), candidate("b", 100, gap_ns=9 * S)], 50, {"b"}),
        ([candidate("a", 30), candidate("b", 20), candidate("c", 100)], 60, {"c"}),
        ([candidate("a", 40), candidate("b", 30)], 70, {"a", "b"}),
    ],
)
def test_the_least_important_go_first_then_the_last_to_be_wanted_and_none_for_nothing(
    candidates, short, chosen
):
    for order in (candidates, candidates[::-1]):
        assert set(RotaPolicy().choose_victims(order, {"x": short})) == chosen


@pytest.mark.parametrize("short", [71, 1000])
def test_a_set_that_is_not_enough_is_no_set(short):
    candidates = [candidate("a", 40), candidate("b", 30)]
    assert RotaPolicy().choose_victims(candidates, {"x": short}) is None


def test_what_is_idle_makes_room_the_longest_unused_first(world):
    for name in "abc":
        world.model(name, 400)
    world.bring("a")
    world.at(1)
    world.bring("b")
    world.at(2)
    world.ask("a")
    world.ended()
    assert world.ask("c") == ["unload b: make_room"]
    assert world.unloaded("b") == ["load c"]
    world.quiesce()
    world.check_rest("c")


def test_nobody_is_evicted_when_no_set_of_victims_is_enough(world):
    world.model("a", 300)
    world.model("b", 400)
    world.model("c", 601)
    world.hold("b")
    world.loaded("b")
    world.bring("a")
    assert world.ask("c") == []
    assert world.states()["a"] == "ready"
    assert world.waits_for(3) == "waits_for_memory"
    assert world.ended() == ["finish 1 completed", "unload b: make_room"]


def test_an_engine_is_not_evicted_while_it_runs_and_takes_no_new_work_meanwhile(world):
    world.model("a", 600)
    world.model("b", 600, priority=90)
    world.ask("a")
    world.loaded("a")
    world.at(500)
    assert world.ask("b") == []
    world.at(600)
    assert world.ask("a") == []
    assert world.waits_for(3) == "waits_for_turn"
    world.at(2000)
    assert world.ended() == ["finish 1 completed", "unload a: make_room"]
    assert world.unloaded("a") == ["load b"]
    world.loaded("b")
    assert world.ended() == ["finish 2 completed", "unload b: make_room"]
    assert world.unloaded("b") == ["load a"]
    assert world.instances["a"] == 2
    world.quiesce()
    world.check_rest("a")


def test_an_engine_that_was_to_make_room_serves_again_when_the_pressure_is_gone(world):
    world.model("a", 600)
    world.model("b", 600, priority=90)
    world.ask("a")
    world.loaded("a")
    world.ask("b")
    world.ask("a")
    world.cancel(2)
    assert world.ended() == ["finish 1 completed", "run a for 3"]
    world.ended()
    world.check_rest("b")


def test_whoever_waits_for_one_unload_is_not_woken_by_another(world):
    world.model("a", 600)
    world.model("b", 700)
    world.model("c", 100)
    world.bring("a", "c")
    world.unload("c")
    assert world.ask("b") == ["unload a: make_room"]
    assert world.unloaded("c") == ["finish 3 completed"]
    assert world.states()["b"] == "unloaded"
    assert world.unloaded("a") == ["load b"]
    world.quiesce()
    world.check_rest("b")


def test_a_higher_priority_takes_back_a_lease_and_an_equal_one_waits(world):
    world.model("a", 600, priority=50)
    world.model("b", 600)
    world.hold("a")
    world.loaded("a")
    assert world.ask("b", priority=50) == []
    said = world.ask("b", priority=51)
    assert said == ["revoke 1: higher_priority", "finish 1 preempted: higher_priority"]
    assert world.ended(1) == ["unload a: make_room"]
    world.quiesce()
    world.check_rest("a")


def test_a_held_engine_that_a_more_important_request_wants_itself_is_taken_back(world):
    world.model("a")
    world.hold("a", priority=50)
    world.loaded("a")
    assert world.ask("a", priority=50) == []
    said = world.ask("a", priority=51)
    assert said == ["revoke 1: higher_priority", "finish 1 preempted: higher_priority"]
    assert world.ask("a", priority=60) == []  # asked for once
    assert world.ended(1) == ["run a for 4"]


def test_a_more_important_request_starts_after_one_chunk_and_a_swap(world):
    """The holder works in chunks of 1 s and lets go between two of them when it is asked to."""
    world.model("a", 600, priority=20)
    world.model("b", 600, priority=80)
    world.hold("a")
    world.loaded("a")
    world.ask("a", under_lease=1)
    world.at(100)
    assert "revoke 1: higher_priority" in world.ask("b")
    world.at(1000)
    world.ended(2)
    assert world.ended(1) == ["unload a: make_room"]
    world.at(1100)
    assert world.unloaded("a") == ["load b"]
    world.at(1400)
    assert world.loaded("b") == ["run b for 3"]
    world.quiesce()
    world.check_rest("a")


def test_a_load_has_the_priority_of_the_most_important_who_wants_it_as_long_as_it_waits(world):
    world.model("x", 1000, priority=60)
    world.model("a", 1000, priority=20)
    world.model("b", 1000, priority=50)
    world.ask("x")
    world.loaded("x")
    for _ in range(8):
        world.ask("a")
    world.ask("b")
    world.ask("a", priority=90)
    first = world.scheduler.snapshot().waiting[0]
    assert (first.request_id, first.models) == (11, ("a",))
    world.cancel(11)  # and what it lent to the others goes with it
    assert world.scheduler.snapshot().waiting[0].models == ("b",)
    assert world.ended() == ["finish 1 completed", "unload x: make_room"]
    assert world.unloaded("x") == ["load b"]
    world.quiesce()
    world.check_rest("a")


def test_of_engines_that_cost_the_same_the_idle_one_goes_and_not_the_one_that_runs(world):
    for name in ("a_runs", "idle", "held"):
        world.model(name, 300)
    world.model("new", 300, priority=60)
    world.bring("a_runs", "idle", "held")
    world.ask("a_runs")
    world.hold("held")
    assert world.ask("new") == ["unload idle: make_room"]


def dear_and_cheap(world):
    """Two engines in memory, of which the cheaper runs, and no room for a third."""
    world.model("dear", 400, priority=90)
    world.model("cheap", 400, priority=50)
    world.model("new", 400, priority=60)
    world.bring("dear", "cheap")
    world.ask("cheap")


def test_an_engine_that_runs_goes_before_one_that_is_dearer_to_do_without(world):
    dear_and_cheap(world)
    assert world.ask("new") == []
    assert world.ask("cheap") == []
    assert world.waits_for(5) == "waits_for_turn"
    assert world.ended() == ["finish 3 completed", "unload cheap: make_room"]


@pytest.mark.parametrize(("deadline", "decided"), [(399, ["unload dear: make_room"]), (401, [])])
def test_but_not_when_its_run_would_take_too_long_for_the_deadline(world, deadline, decided):
    dear_and_cheap(world)
    world.at(500)
    world.ended()  # it takes half a second
    world.ask("cheap")
    world.at(600)
    assert world.ask("new", deadline=deadline) == decided


def test_a_running_engine_is_preferred_to_a_held_one(world):
    world.model("runs", 400, priority=50)
    world.model("held", 400, priority=10)
    world.model("new", 400, priority=60)
    world.bring("runs", "held")
    world.ask("runs")
    world.hold("held")
    assert world.ask("new") == []
    assert world.ended(1) == ["finish 3 completed", "unload runs: make_room"]


def test_a_patient_request_lets_running_work_give_back_its_workspace(world):
    world.model("a", 300, workspace=300)
    world.model("b", 600, max_wait_ns=2 * S)
    world.bring("a")
    world.ask("a")
    assert world.ask("b") == []
    assert world.ended() == ["finish 2 completed", "load b"]
    assert world.states()["a"] == "ready"


def test_one_whose_patience_is_over_counts_on_nothing_but_what_is_being_unloaded(world):
    world.model("a", 300, workspace=300)
    world.model("c", 300)
    world.model("b", 400, max_wait_ns=2 * S)
    world.bring("a", "c")
    world.ask("a")
    assert world.ask("b") == []  # what the run of `a` gives back would be enough
    assert world.at(1999) == []
    assert world.at(2000) == ["unload c: make_room"]


def test_those_who_wait_behind_use_only_what_the_first_does_not_need(world):
    world.model("a", 500)
    world.model("first", 800)
    world.model("small", 200)
    world.model("large", 300)
    world.ask("a")
    world.loaded("a")
    world.ask("first")
    assert world.ask("large") == []  # it would delay the first
    assert world.ask("small") == ["load small"]
    assert world.ended() == ["finish 1 completed", "unload a: make_room"]
    assert world.unloaded("a") == ["load first"]


def test_a_claim_on_what_is_being_unloaded_is_kept(world):
    world.model("a", 1000)
    world.model("b", 700)
    world.model("c", 400)
    world.bring("a")
    assert world.ask("b") == ["unload a: make_room"]
    assert world.ask("c") == []
    assert world.unloaded("a") == ["load b"]
    assert world.waits_for(3) == "waits_for_memory"


def test_only_one_at_a_time_makes_room(world):
    for name in "ab":
        world.model(name, 500)
        world.ask(name)
        world.loaded(name)
    world.model("c", 500, priority=80)
    world.model("d", 500, priority=70)
    world.ask("c")
    world.ask("d")
    assert [world.waits_for(i) for i in (3, 4)] == ["waits_for_memory", "waits_for_turn"]
    assert world.ended(2) == ["finish 2 completed", "unload b: make_room"]
    assert world.ended(1) == ["finish 1 completed", "unload a: make_room"]
    assert world.unloaded("a") == ["load c"]
    world.quiesce()
    world.check_rest("a")


def test_the_room_may_have_to_be_made_in_the_pool_where_it_is_missing(make_world):
    pools = {name: PoolBudget(budget_bytes=1000) for name in ("host", "cuda:0")}
    world = make_world(pools=pools)
    world.model("h", footprint={"host": PoolFootprint(resident_bytes=800)})
    world.model("d", footprint={"cuda:0": PoolFootprint(resident_bytes=800)})
    world.model("n", footprint={"cuda:0": PoolFootprint(resident_bytes=300)})
    world.bring("h", "d")
    assert world.ask("n") == ["unload d: make_room"]


def test_the_machine_being_short_is_named_as_what_is_waited_for(world):
    world.model("a", 500)
    world.tell(MemorySampled("unified", 100))
    world.ask("a")
    (wait,) = world.scheduler.snapshot().waiting
    assert str(wait.waits_for) == "the machine has 100 B of unified left for a, request 1"


def test_a_loaded_engine_whose_workspace_does_not_fit_makes_room_before_it_runs(world):
    world.model("a", 400, workspace=300)
    world.model("b", 600)
    world.bring("a")
    world.bring("b")
    assert world.ask("a") == ["unload b: make_room"]
    assert world.unloaded("b") == ["run a for 3"]


def test_an_engine_is_loaded_only_if_it_will_be_able_to_run(world):
    world.model("a", 400, workspace=200)
    world.model("b", 500)
    world.hold("b")
    world.loaded("b")
    assert world.ask("a") == []  # 900 would fit, 1100 would not
    assert world.ended() == ["finish 1 completed", "unload b: make_room", "load a"]


def test_a_grown_engine_makes_others_wait_but_is_not_evicted_for_its_own_request(world):
    world.model("a", 300, workspace=100)
    world.model("b", 500)
    world.bring("a", "b")
    world.ask("a")
    world.ended(measured={"a": {"unified": Measurement(450)}})
    assert world.ask("a") == ["unload b: make_room"]


def test_a_lease_on_a_loaded_engine_makes_room_for_its_workspace(world):
    world.model("a", 400, workspace=300)
    world.model("b", 600)
    world.bring("a", "b")
    assert world.hold("a") == ["unload b: make_room"]
    assert world.unloaded("b") == ["hold a for 3"]
    assert world.reserved == 700


def test_of_several_victims_none_goes_before_all_of_them_can(world):
    world.model("a", 400)
    world.model("b", 400)
    world.model("c", 1000, priority=60)
    world.ask("a")
    world.ask("b")
    world.loaded("a")
    world.loaded("b")
    world.ask("c")
    assert world.ended(1) == ["finish 1 completed"]
    assert world.states()["a"] == "ready"
    said = world.ended(2)
    assert said == ["finish 2 completed", "unload a: make_room", "unload b: make_room"]


def test_what_a_load_of_this_moment_gives_back_counts_for_who_comes_next(world):
    world.model("x", 700)
    world.model("z", 100, workspace=50)
    world.model("p", 100, peak=400)
    world.model("a", 200, workspace=300)
    world.hold("x", priority=100)
    world.loaded("x")
    world.ask("z", priority=70)
    world.ask("p", priority=60)
    world.ask("a", priority=50)
    world.ended(1)
    # z keeps 50 for its run; p takes 400 of 850 and gives 300 back; a wants 200, and 500 to run.
    assert world.unloaded("x") == ["load p", "load a"]


def test_an_engine_that_somebody_earlier_waits_for_is_no_victim(make_world):
    world = make_world(resources={"gpu": 1})
    world.model("a", 500, uses={"gpu": 1}, max_wait_ns=0)
    world.model("x", 100, uses={"gpu": 1})
    world.model("b", 700, max_wait_ns=0)
    world.bring("a", "x")
    world.ask("x")
    world.ask("a", priority=60)
    assert world.waits_for(4) == "waits_for_units"
    assert world.ask("b") == []  # `a` is idle, and somebody more important waits for it
    assert world.ended() == ["finish 3 completed", "run a for 4"]


def test_the_peak_of_a_load_counts_as_coming_back_for_who_is_patient(world):
    world.model("idle", 100)
    world.bring("idle")
    world.model("loads", 300, peak=800)
    world.ask("loads")
    world.model("patient", 150)
    assert world.ask("patient") == []
    assert world.loaded("loads") == ["run loads for 2", "load patient"]
    assert world.states()["idle"] == "ready"
