"""How long anybody waits at most: ageing, `max_wait`, minimum residency."""

from __future__ import annotations

import pytest

from scheduler.core.model import SECOND_NS

TICK = 1e-6


def stream(world, model, every_ms, until_ms, **request):
    """Requests at a steady rate."""
    at = world.now / 1e6
    while at < until_ms:
        world.later(at, lambda: world.ask(model, **request))
        at += every_ms


def swapping(make_world, **settings):
    """Two models of which one fits; load 300 ms, run 20 ms, unload 10 ms."""
    world = make_world(1000, **settings)
    world.pace = (300, 20, 10)
    return world


def test_a_stream_for_the_loaded_model_holds_up_another_for_max_wait_and_no_longer(make_world):
    world = swapping(make_world)
    world.model("a", 600, max_wait_ns=5 * SECOND_NS)
    world.model("b", 600, max_wait_ns=5 * SECOND_NS)
    stream(world, "a", 20, 30_000)
    world.at(1001)
    world.ask("b")
    b = world.requests
    world.at(31_000)
    assert 6000 < world.granted_ms[b] <= 6001 + 20 + 10 + 300
    resumed = min(ms for ms in world.granted_ms.values() if ms > world.granted_ms[b])
    assert resumed <= world.granted_ms[b] + 20 + 10 + 300
    world.quiesce()
    world.check_rest("a")


def test_a_swapped_in_model_stays_for_its_minimum_residency(make_world):
    world = swapping(make_world)
    world.model("a", 600, max_wait_ns=0)
    world.model("b", 600, max_wait_ns=0, min_residency_ns=2 * SECOND_NS)
    world.at(1)
    world.ask("b")
    world.at(400)
    assert world.outcome(1) == "completed"
    world.ask("a")
    assert world.at(2301 - TICK) == []
    assert world.at(2301) == ["unload b: make_room"]
    world.quiesce()
    world.check_rest("b")


def test_minimum_residency_does_not_hold_up_somebody_more_important(make_world):
    world = swapping(make_world)
    world.model("a", 600, priority=60)
    world.model("b", 600, priority=50, min_residency_ns=60 * SECOND_NS)
    world.ask("b")
    world.at(400)
    assert world.ask("a") == ["unload b: make_room"]


def test_a_low_request_under_full_load_of_higher_ones_runs_once_it_has_aged(make_world):
    world = swapping(make_world, ageing_ns=10 * SECOND_NS)
    world.model("high", 600, priority=75)
    world.model("low", 600, priority=10)
    stream(world, "high", 20, 30_000)
    world.later(0.5, lambda: world.ask("low"))
    world.at(30_500)
    low = 2  # the second to arrive
    assert 10_000 < world.granted_ms[low] < 10_000 + 400
    world.quiesce()
    world.check_rest("low")


def test_ageing_does_not_wait_for_a_longer_max_wait(make_world):
    world = swapping(make_world, ageing_ns=10 * SECOND_NS)
    world.model("high", 600, priority=75, max_wait_ns=60 * SECOND_NS)
    world.model("low", 600, priority=10, max_wait_ns=60 * SECOND_NS)
    stream(world, "high", 20, 30_000)
    world.later(0.5, lambda: world.ask("low"))
    world.at(30_500)
    assert world.granted_ms[2] < 10_000 + 400


def test_without_ageing_the_order_is_strict_and_the_oldest_wait_can_be_seen(make_world):
    world = swapping(make_world, ageing_ns=None)
    world.model("high", 600, priority=75)
    world.model("low", 600, priority=10)
    stream(world, "high", 20, 30_000)
    world.later(0.5, lambda: world.ask("low"))
    world.at(29_000)
    assert 2 not in world.granted_ms
    oldest = min(wait.arrived_ns for wait in world.scheduler.snapshot().waiting)
    assert oldest == 500_000
    world.at(30_500)
    world.quiesce()
    world.check_rest("low")


def test_an_aged_request_counts_as_99_and_passes_nobody_critical(make_world):
    world = make_world(ageing_ns=10 * SECOND_NS)
    world.model("a", max_wait_ns=60 * SECOND_NS)
    world.ask("a")
    world.loaded("a")
    world.ask("a", priority=0)
    assert world.at(10_000 - TICK) == []
    assert world.scheduler.snapshot().waiting[0].priority == 0
    world.at(10_000)
    assert world.scheduler.snapshot().waiting[0].priority == 99
    world.ask("a", priority=99)
    world.ask("a", priority=100)
    assert [w.request_id for w in world.scheduler.snapshot().waiting] == [4, 2, 3]


def test_who_has_waited_for_max_wait_goes_first_among_its_equals_and_not_before_its_betters(world):
    world.model("a", max_wait_ns=2 * SECOND_NS)
    world.ask("a")
    world.loaded("a")
    world.ask("a")
    world.at(1000)
    world.ask("a", deadline=5000)
    world.ask("a", priority=51, deadline=9000)
    assert [w.request_id for w in world.scheduler.snapshot().waiting] == [4, 3, 2]
    world.at(2000)
    assert [w.request_id for w in world.scheduler.snapshot().waiting] == [4, 2, 3]


@pytest.mark.parametrize("ageing_ns", [0, 1])
def test_ageing_and_max_wait_of_nothing_count_at_once(make_world, ageing_ns):
    world = make_world(ageing_ns=ageing_ns)
    world.model("a", max_wait_ns=0)
    world.ask("a")
    world.ask("a", deadline=9000)
    world.at(TICK)
    assert [w.priority for w in world.scheduler.snapshot().waiting] == [99, 99]


def test_the_alarms_of_those_who_wait_go_when_they_go(make_world):
    world = make_world(ageing_ns=10 * SECOND_NS)
    world.model("a")
    world.ask("a", deadline=9000)
    world.cancel(1)
    assert world.scheduler.next_timer() is None
    world.ask("a")
    world.loaded("a")
    assert world.scheduler.next_timer() is None


def test_customers_of_a_loaded_engine_are_served_before_a_patient_request_swaps_it_out(world):
    world.model("a", 600, max_wait_ns=2 * SECOND_NS)
    world.model("b", 600, max_wait_ns=2 * SECOND_NS)
    world.ask("a")
    world.loaded("a")
    world.ask("b", deadline_ns=None)
    world.ask("a")
    world.ask("a")
    assert world.ended() == ["finish 1 completed", "run a for 3"]
    assert world.ended() == ["finish 3 completed", "run a for 4"]
    assert world.ended() == ["finish 4 completed", "unload a: make_room"]


def test_a_deadline_shortens_the_patience_to_half_of_the_time_there_is(world):
    world.model("a", 600, max_wait_ns=2 * SECOND_NS)
    world.model("b", 600, max_wait_ns=2 * SECOND_NS)
    world.ask("a")
    world.loaded("a")
    world.ask("b", deadline=1000)
    world.at(400)
    world.ask("a")
    assert world.ended() == ["finish 1 completed", "run a for 3"]
    world.at(500)  # from now on nothing new starts there
    world.ask("a")
    assert world.ended() == ["finish 3 completed", "unload a: make_room"]


def test_who_is_more_important_does_not_wait_for_the_customers_of_others(world):
    world.model("a", 600)
    world.model("b", 600)
    world.ask("a")
    world.loaded("a")
    world.ask("a")
    world.ask("b", priority=51)
    assert world.ended() == ["finish 1 completed", "unload a: make_room"]


def test_those_who_have_aged_are_served_by_arrival_under_an_overload_of_deadlines(make_world):
    """Each run takes 100 ms, a request with a deadline comes every 50: the queue only grows."""
    world = make_world(ageing_ns=SECOND_NS)
    world.pace = (10, 100, 10)
    world.model("a", max_wait_ns=60 * SECOND_NS, queue_limit=1000)
    world.ask("a")
    world.at(200)
    world.ask("a")
    plain = world.requests
    for i in range(200):
        world.later(201 + 50 * i, lambda: world.ask("a", deadline=60_000))
    world.at(11_000)
    assert world.granted_ms[plain] <= 200 + 1000 + 200
    aged = sorted(i for i, ms in world.granted_ms.items() if ms > 2500)
    assert [i for i in world.granted_ms if i in aged] == aged
    assert len(aged) > 50


def test_age_gives_no_importance_and_hides_none(make_world):
    world = make_world(ageing_ns=SECOND_NS)
    world.model("a", 600, priority=50)
    world.model("b", 600, priority=10)
    world.hold("a")
    world.loaded("a")
    world.ask("b")
    assert world.at(5000) == []  # it has aged, and takes nothing back
    assert world.scheduler.snapshot().waiting[0].priority == 99
    said = world.ask("b", priority=60)
    assert said == ["revoke 1: higher_priority", "finish 1 preempted: higher_priority"]
    assert world.ended(1) == ["unload a: make_room"]
    assert world.unloaded("a") == ["load b"]
    assert world.loaded("b") == ["run b for 2"]


def test_an_aged_lease_that_goes_first_is_taken_back_in_the_same_moment_by_the_important(
    make_world,
):
    world = make_world(1000, ageing_ns=SECOND_NS)
    world.model("a", 600, priority=10)
    world.model("b", 600, priority=90)
    world.ask("a")
    world.loaded("a")
    world.hold("a")
    world.at(1500)
    world.ask("b")
    said = world.ended()
    assert said[:2] == ["finish 1 completed", "hold a for 2"]
    assert said[2:] == ["revoke 2: higher_priority", "finish 2 preempted: higher_priority"]
    assert world.ended(2) == ["unload a: make_room"]


def crowded(make_world):
    """Three pinned engines run in turns; always one of their workspaces is just given back."""
    world = make_world(1300)
    for name in ("r1", "r2", "r3"):
        world.model(name, 300, workspace=100, pinned=True)
    for name in ("r1", "r2", "r3"):
        world.loaded(name)
    world.model("x", 250, max_wait_ns=20_000_000)
    world.pace = (10, 90, 10)
    for turn in range(33):
        world.later(30 * turn, lambda turn=turn: world.ask(f"r{turn % 3 + 1}"))
    return world


def test_who_waits_for_running_work_alone_is_not_passed_by_the_next_runs_for_ever(make_world):
    """Two of the three workspaces, no more than one of which is free at a time, and no victim."""
    world = crowded(make_world)
    asked = []
    world.later(500, lambda: (world.ask("x", priority=60), asked.append(world.requests)))
    world.at(900)
    assert world.granted_ms[asked[0]] < 500 + 20 + 90 + 10


def test_nor_is_a_pin(make_world):
    world = crowded(make_world)
    world.later(500, lambda: world.switch("m", pin=("x",)))
    world.at(900)
    assert world.states()["x"] == "ready"
