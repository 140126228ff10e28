"""Nobody is sent away to be fetched back at once."""

from __future__ import annotations

import pytest

from scheduler.core.events import PinChanged

MS = 1_000_000
S = 1000 * MS


def camera(make_world, hz=30, seconds=2, **rules):
    """A model of priority 80 that was asked `hz` times a second, and a cold one beside it."""
    world = make_world(1000)
    world.pace = (300, 5, 10)
    rules.setdefault("priority", 80)
    world.model("camera", 600, **rules)
    world.model("cold", 600, priority=30)
    world.load("cold")  # how long that takes is known from now on
    world.at(400)
    world.load("camera")
    count = hz * seconds
    for i in range(count):
        world.later(1000 + 1000 * i / hz, lambda: world.ask("camera"))
    world.at(2000)
    return world


def test_a_less_important_request_that_would_be_overtaken_evicts_nobody(make_world):
    world = camera(make_world)
    world.ask("cold")
    cold = world.requests
    world.at(2950)
    assert world.count("load camera") == 1 == world.count("unload")
    # The stream ends at 3 s; four gaps of silence later nobody expects it.
    last = 1000 + 59 * 1000 / 30
    world.at(last + 4 * 1000 / 30 - 2)
    assert world.count("load camera") == 1 == world.count("unload")
    world.at(last + 4 * 1000 / 30 + 2)
    assert world.count("unload camera") == 1
    world.at(6000)
    assert world.outcome(cold) == "completed"
    world.check_rest("camera")


def test_nor_one_whose_patience_is_over(make_world):
    world = camera(make_world, seconds=6)
    world.ask("cold")
    world.at(6900)
    assert world.count("load camera") == 1 == world.count("unload")


def test_one_that_is_served_before_the_next_frame_does_evict_it(make_world):
    world = make_world(1000)
    world.pace = (300, 5, 10)
    world.model("camera", 600, priority=80)
    world.model("cold", 600, priority=30)
    world.load("cold")
    world.at(400)
    world.load("camera")
    for i in range(8):
        world.later(1000 + 1000 * i, lambda: world.ask("camera"))
    world.at(5100)
    world.ask("cold")
    cold = world.requests
    world.at(5500)
    assert world.outcome(cold) == "completed"


def test_an_equal_one_evicts_it_when_its_patience_is_over(make_world):
    """What is wanted by equals goes in turns: nobody waits for ever behind a stream."""
    world = camera(make_world, seconds=6, priority=30)
    world.ask("cold", priority=30)
    cold = world.requests
    world.at(6500)
    assert world.outcome(cold) == "completed"


def test_a_pin_is_as_patient_as_nobody_but_does_not_evict_the_more_important_stream(make_world):
    world = camera(make_world)
    world.tell(PinChanged("cold", pinned=True))
    world.at(2950)
    assert world.count("load camera") == 1 == world.count("unload")
    world.at(4000)
    assert world.states()["cold"] == "ready"


def test_the_memory_freed_for_one_is_not_won_back_by_a_later_equal(world):
    world.model("a", 600)
    world.model("b", 600)
    world.bring("a")
    assert world.ask("b") == ["unload a: make_room"]
    assert world.ask("a", deadline=50_000) == []  # whose deadline is nearer than none
    assert [w.request_id for w in world.scheduler.snapshot().waiting] == [2, 3]
    assert world.unloaded("a") == ["load b"]
    world.quiesce()
    world.check_rest("a")


def test_the_memory_freed_for_one_is_won_back_by_who_is_more_important(world):
    world.model("a", 600)
    world.model("b", 600)
    world.bring("a")
    world.ask("b")
    world.ask("a", priority=51)
    assert world.unloaded("a") == ["load a"]


def test_nobody_goes_right_before_its_frame_when_later_costs_fewer_deadlines(make_world):
    """In 20 ms the next frame comes; right after it the engine can be away for a whole second."""
    world = make_world(1000)
    world.pace = (300, 5, 10)
    world.model("camera", 600, deadline_ns=400 * MS)
    world.model("cold", 600, max_wait_ns=2 * S)
    world.load("camera")
    for second in range(1, 9):
        world.later(1000 * second, lambda: world.ask("camera"))
    world.load("cold")
    world.at(800)
    world.load("camera")
    world.at(5980)
    world.ask("cold")
    cold = world.requests
    world.at(5999)
    assert world.states()["camera"] == "ready"
    world.at(6500)
    assert world.outcome(cold) == "completed"
    world.at(9000)
    frames = [i for i, d in world.outcomes.items() if world.outcome(i) != "completed"]
    assert frames == []


def test_it_goes_when_the_frame_does_not_come(make_world):
    """The stream has stopped: who waits for its next frame is not left waiting."""
    world = make_world(1000)
    world.pace = (300, 5, 10)
    world.model("camera", 600, deadline_ns=400 * MS)
    world.model("cold", 600, max_wait_ns=60 * S)
    world.load("cold")
    world.at(400)
    world.load("camera")
    for second in range(1, 6):
        world.later(1000 * second, lambda: world.ask("camera"))
    world.at(5980)
    world.ask("cold", deadline=50_000)
    cold = world.requests
    before = world.wakeups
    world.at(20_000)
    assert world.outcome(cold) == "completed"
    assert world.wakeups - before < 10


def test_of_a_stream_without_beat_the_return_is_a_guess_that_binds_the_patient_only(make_world):
    world = make_world(1000)
    world.pace = (300, 5, 10)
    world.model("now and then", 600, priority=80)
    world.model("cold", 600, priority=30, max_wait_ns=2 * S)
    world.load("cold")
    world.at(400)
    world.load("now and then")
    gaps = [50, 250, 90, 400, 60, 300, 120] * 6
    for i in range(len(gaps)):
        world.later(1000 + sum(gaps[:i]), lambda: world.ask("now and then"))
    world.at(3000)
    world.ask("cold")
    world.at(4999)
    assert world.count("unload now and then") == 0
    assert world.at(5010)[0] == "unload now and then: make_room"


def busy_and_two_rare(make_world, **rules):
    """`busy` is asked ten times a second; two that are not fit beside it one at a time."""
    world = make_world(1000)
    world.model("busy", 500)
    for name in ("rare", "other"):
        world.model(name, 500, **rules)
    for i in range(6):
        world.at(100 * i)
        world.ask("busy")
        if not i:
            world.at(90)
            world.loaded("busy")
        world.ended()
    world.at(510)
    world.ask("rare")
    return world


@pytest.mark.parametrize("deadline", [{}, {"deadline": 500}])
def test_rare_ones_take_turns_in_the_same_place(make_world, deadline):
    world = busy_and_two_rare(make_world)
    assert (
        world.ask("other", **deadline) == []
    )  # `busy` is idle, but dearer than `rare`, which loads
    assert world.waits_for(8) == "waits_for_memory"
    world.at(600)
    assert world.loaded("rare") == ["run rare for 7"]
    assert world.ended() == ["finish 7 completed", "unload rare: make_room"]
    assert world.unloaded("rare") == ["load other"]
    world.quiesce()
    world.check_rest("busy")


def test_whose_patience_is_over_does_not_wait_for_what_is_cheaper(make_world):
    world = busy_and_two_rare(make_world, max_wait_ns=50 * MS)
    assert world.ask("other") == []
    assert world.at(559) == []
    assert world.at(560) == ["unload busy: make_room"]


def test_a_load_that_takes_too_long_for_the_deadline_is_not_waited_for(make_world):
    world = busy_and_two_rare(make_world)
    world.loaded("rare")
    world.ended()
    assert world.unload("rare") == ["unload rare: asked_to_unload"]
    world.unloaded("rare")
    world.ask("rare")
    world.at(600)
    world.loaded("rare")  # 90 ms
    world.ended()
    assert world.unload("rare") == ["unload rare: asked_to_unload"]
    world.unloaded("rare")
    world.ask("rare")
    assert world.ask("other", deadline=89) == ["unload busy: make_room"]


def test_what_is_pinned_is_not_waited_for(make_world):
    world = busy_and_two_rare(make_world)
    world.tell(PinChanged("rare", pinned=True))
    assert world.ask("other") == ["unload busy: make_room"]


def test_nor_an_engine_that_is_held(make_world):
    world = busy_and_two_rare(make_world)
    world.loaded("rare")
    world.ended()
    world.hold("rare")
    assert world.ask("other") == ["unload busy: make_room"]


def test_an_engine_serves_the_one_it_was_loaded_for(make_world):
    world = make_world(1000)
    world.model("low", 600, priority=20, workspace=300)
    world.model("small", 100, workspace=200)
    world.model("high", 600, priority=80)
    world.ask("small")
    world.loaded("small")
    world.ask("low")
    world.at(100)
    assert world.loaded("low") == []  # `small` still has the bytes that `low` runs with
    assert world.waits_for(2) == "waits_for_memory"
    assert world.ask("high") == []
    assert world.ended() == ["finish 1 completed", "run low for 2"]
    assert world.ended() == ["finish 2 completed", "unload low: make_room"]


@pytest.mark.parametrize(("priority", "evicted"), [(99, 1), (100, 0)])
def test_a_guess_risks_no_critical_deadline(make_world, priority, evicted):
    world = make_world(1000)
    world.pace = (300, 5, 10)
    world.model("alert", 600, priority=priority, deadline_ns=400 * MS)
    world.model("cold", 600, priority=30)
    world.load("cold")
    world.at(400)
    world.load("alert")
    for ms in (1000, 1900, 3300, 3900, 5200, 5800):
        world.later(ms, lambda: world.ask("alert"))
    world.at(5900)
    world.ask("cold")
    # The next alert is expected 960 ms after, but may come at once; it would be 210 ms late.
    world.at(9000)
    assert world.count("unload alert") == evicted
    # After four of its longest gaps nobody expects one any more.
    world.at(5800 + 4 * 1400 + 2)
    assert world.count("unload alert") == 1
    world.at(13_000)
    assert world.outcome(7 + 2) == "completed"


def test_nor_one_that_does_not_come_back(make_world):
    world = busy_and_two_rare(make_world, load_timeout_ns=20 * MS)
    assert world.at(530) == ["finish 7 failed: load_timeout"]
    assert world.ask("other") == ["unload busy: make_room"]


def test_what_has_run_for_long_is_in_use_and_not_unused_for_as_long(make_world):
    world = make_world(1000)
    world.model("a_runs", 500)
    world.model("idle", 500)
    world.model("new", 500)
    world.bring("a_runs", "idle")
    world.ask("a_runs")
    world.at(4000)
    world.ask("idle")
    world.ended(2)
    world.at(5000)
    assert world.ask("new") == ["unload idle: make_room"]
