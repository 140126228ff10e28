"""Loads that fail, engines that are lost, threads that do not come back."""

from __future__ import annotations

from scheduler.core.events import (
    EngineLoaded,
    EngineLoadFailed,
    EngineLost,
    EngineUnloaded,
    LeaseEnded,
    Measurement,
    ModelRemoved,
)
from scheduler.core.model import SECOND_NS
from scheduler.core.outcome import Outcome

TICK = 1e-6


def test_a_failed_load_gives_all_back_and_answers_all_who_wait(world):
    world.model("a", 300, peak=500)
    world.ask("a")
    world.ask("a")
    said = world.load_failed("a", "no such file")
    assert said == ["finish 1 failed: load_failed", "finish 2 failed: load_failed"]
    assert world.reserved == 0
    assert str(world.outcomes[1].reason) == "a could not be loaded: no such file"


def test_five_loads_that_fail_half_way_leave_nothing_and_the_mended_one_serves(world):
    world.model("a", 300)
    for failure in range(5):
        world.ask("a")
        world.load_failed("a")
        assert world.reserved == 0
        retry_ns = world.scheduler.snapshot().engines[0].ready_again_ns
        assert retry_ns == world.now + (SECOND_NS << failure)
        assert world.unload("a") == [f"finish {world.requests} completed"]  # not an error
        world.at(retry_ns / 1e6)
    world.check_rest("a")


def test_back_off_refuses_with_the_time_after_which_to_try_again(world):
    world.model("a", backoff_ns=2 * SECOND_NS)
    world.ask("a")
    world.load_failed("a")
    world.at(500)
    assert world.ask("a") == ["finish 2 rejected: backing_off"]
    assert world.outcomes[2].reason.retry_after_ns == 1_500_000_000
    assert "failed once; next try in 1.5 s" in str(world.outcomes[2].reason)
    world.at(2000 - TICK)
    assert world.ask("a") == ["finish 3 rejected: backing_off"]
    world.at(2000)
    assert world.ask("a") == ["load a"]


def test_back_off_doubles_six_times_and_no_more(world):
    world.model("a", backoff_ns=1000)
    waits = []
    for _ in range(9):
        world.ask("a")
        world.load_failed("a")
        waits.append(world.scheduler.next_timer() - world.now)
        world.now = world.scheduler.next_timer()
    assert waits == [1000, 2000, 4000, 8000, 16000, 32000, 64000, 64000, 64000]


def test_an_engine_that_is_lost_at_every_first_run_is_left_alone_longer_each_time(world):
    world.model("a")
    for wait_s in (1, 2, 4):
        world.ask("a")
        world.loaded("a")
        world.lost("a")
        world.leases.clear()
        assert world.scheduler.next_timer() == world.now + wait_s * SECOND_NS
        world.now += wait_s * SECOND_NS
    world.ask("a")
    world.loaded("a")
    world.ended()  # a run that went well ends the row
    world.ask("a")
    world.lost("a")
    world.leases.clear()
    assert world.scheduler.next_timer() == world.now + SECOND_NS


def test_lack_of_memory_at_load_is_tried_no_second_time_and_others_go_on_serving(world):
    world.model("a", 500)
    world.model("b", 300)
    world.ask("b")
    world.loaded("b")
    world.ask("a")
    instance = world.loading.pop("a")
    said = world.tell(EngineLoadFailed("a", instance, "largest block is 300", out_of_memory=True))
    assert said == ["finish 2 failed: out_of_memory"]
    assert world.reserved == 300
    assert world.count("load a") == 1
    assert world.ask("a") == ["finish 3 rejected: backing_off"]
    world.ended()
    world.check_rest("b")


def test_a_request_to_unload_is_served_by_a_load_that_fails(world):
    world.model("a")
    world.ask("a")
    world.unload("a")
    said = world.load_failed("a")
    assert said == ["finish 1 failed: load_failed", "finish 2 completed"]


def test_a_lost_engine_ends_its_run_at_once_and_its_memory_is_there(world):
    world.model("a", 600)
    world.model("b", 600)
    world.ask("a")
    world.loaded("a")
    world.ask("b")
    assert world.lost("a") == ["finish 1 failed: engine_lost", "load b"]
    assert world.tell(LeaseEnded(1)) == []
    world.leases.clear()
    world.quiesce()
    world.check_rest("a")


def test_a_load_begins_as_soon_as_the_memory_of_a_crashed_engine_is_known_to_be_free(world):
    """No waiting for a drop that has come already: what counts is what is free."""
    world.model("a", 1000, backoff_ns=SECOND_NS)
    world.bring("a")
    world.lost("a")
    assert world.reserved == 0
    world.at(1000)
    assert world.ask("a") == ["load a"]
    world.quiesce()
    world.check_rest("a")


def test_an_engine_may_be_lost_while_it_loads_or_unloads(world):
    world.model("a")
    world.ask("a")
    assert world.lost("a") == ["finish 1 failed: engine_lost"]
    world.at(1000)
    world.bring("a")
    world.unload("a")
    assert world.lost("a") == ["finish 3 completed"]
    assert world.reserved == 0
    assert world.tell(EngineLost("a", world.instances["a"], "again")) == []
    world.at(9000)
    world.check_rest("a")


def test_late_news_of_an_old_instance_touches_no_newer_one(world):
    world.model("a", 400)
    world.ask("a")
    world.cancel(1)
    world.lost("a")  # a#1
    world.at(1000)
    world.ask("a")  # a#2 is on its way
    for stale in (
        EngineUnloaded("a", 1, {"unified": Measurement(50)}),
        EngineLoaded("a", 1),
        EngineLoadFailed("a", 1, "late"),
        EngineLost("a", 1, "late"),
    ):
        assert world.tell(stale) == []
    assert world.reserved == 400
    assert world.loaded("a") == ["run a for 2"]
    for stale in (EngineUnloaded("a", 1), EngineLost("a", 1, "late"), EngineUnloaded("a", 2)):
        assert world.tell(stale) == []
    assert world.reserved == 400
    world.ended()
    world.check_rest("a")


def test_a_model_that_is_registered_again_goes_on_counting_its_instances(world):
    world.model("a", 400)
    world.bring("a")
    world.tell(ModelRemoved("a"))
    world.unloaded("a")
    world.model("a", 400)
    world.ask("a")
    assert world.loading == {"a": 2}
    assert world.tell(EngineLost("a", 1, "late")) == []
    assert world.loaded("a") == ["run a for 2"]


def test_a_load_that_takes_too_long_answers_who_waits_and_keeps_its_bytes(world):
    world.model("a", 300, load_timeout_ns=8 * SECOND_NS)
    world.at(1000)
    world.ask("a")
    assert world.at(9000 - TICK) == []
    assert world.at(9000) == ["finish 1 failed: load_timeout"]
    assert str(world.outcomes[1].reason) == "a has not loaded in 8.0 s"
    assert world.reserved == 300
    assert world.ask("a") == ["finish 2 rejected: engine_hung"]
    world.at(13_000)
    assert world.loaded("a") == ["unload a: load_timeout"]
    assert world.unloaded("a") == []
    assert world.reserved == 0
    assert world.ask("a") == ["finish 3 rejected: backing_off"]  # not at once
    world.at(14_000)
    world.check_rest("a")


def test_a_load_that_timed_out_and_then_fails_is_over(world):
    world.model("a", 300, load_timeout_ns=8 * SECOND_NS)
    world.ask("a")
    world.at(8000)
    assert world.load_failed("a") == []
    world.at(9000)
    world.check_rest("a")


def test_a_load_in_time_is_not_bothered_by_its_timeout(world):
    world.model("a", load_timeout_ns=8 * SECOND_NS)
    world.bring("a")
    assert world.scheduler.next_timer() is None


def test_while_a_hung_engine_is_waited_for_others_are_served(world):
    world.model("a", 600, run_timeout_ns=5 * SECOND_NS)
    world.model("b", 300)
    world.ask("a")
    world.loaded("a")
    world.ask("a")
    world.at(1000)
    assert world.ask("b") == ["load b"]
    assert world.loaded("b") == ["run b for 3"]
    world.ended(2)
    assert world.at(5000) == [
        "finish 1 failed: run_timeout",
        "revoke 1: run_timeout",
        "finish 2 failed: run_timeout",
    ]
    assert world.reserved == 900  # until it is really free
    assert world.ask("a") == ["finish 4 rejected: engine_hung"]
    assert world.unload("a") == []
    world.at(60_000)
    assert world.ended(1) == ["unload a: run_timeout"]
    assert world.unloaded("a") == ["finish 5 completed"]
    assert world.reserved == 300
    world.at(61_000)
    world.check_rest("a")


def test_the_run_timeout_counts_for_work_that_nobody_wants_any_more_too(world):
    world.model("a", run_timeout_ns=5 * SECOND_NS)
    world.ask("a")
    world.loaded("a")
    world.cancel(1)
    world.ask("a")
    assert world.at(5000) == ["finish 2 failed: run_timeout"]


def test_a_run_that_hangs_under_a_lease_takes_the_lease_with_it(world):
    world.model("a", run_timeout_ns=5 * SECOND_NS)
    world.hold("a")
    world.loaded("a")
    world.ask("a", under_lease=1)
    assert world.at(5000) == [
        "finish 2 failed: run_timeout",
        "revoke 2: run_timeout",
        "revoke 1: run_timeout",
        "finish 1 preempted: run_timeout",
    ]
    world.ended(1)
    assert world.ended(2) == ["unload a: run_timeout"]
    world.unloaded("a")
    world.at(9000)
    world.check_rest("a")


def test_an_engine_that_answers_in_time_is_not_condemned(world):
    world.model("a", run_timeout_ns=5 * SECOND_NS)
    world.ask("a")
    world.loaded("a")
    world.ended()
    assert world.at(9000) == []
    world.check_rest("a")


def test_a_condemned_engine_makes_no_room_for_others_twice(world):
    world.model("a", 600, run_timeout_ns=5 * SECOND_NS)
    world.model("b", 600)
    world.ask("a")
    world.loaded("a")
    world.at(5000)
    assert world.ask("b") == []
    assert world.ended(1) == ["unload a: run_timeout"]
    assert world.unloaded("a") == ["load b"]


def test_a_run_that_failed_is_answered_and_the_engine_serves_on(world):
    world.model("a")
    world.ask("a")
    world.ask("a")
    world.loaded("a")
    said = world.ended(outcome=Outcome.FAILED, error="bad shape")
    assert said == ["finish 1 failed: run_failed", "run a for 2"]
    world.ended()
    world.check_rest("a")


def test_a_model_removed_while_it_fails_is_simply_gone(world):
    world.model("a")
    world.ask("a")
    world.tell(ModelRemoved("a"))
    assert world.load_failed("a") == []
    assert world.states() == {}
    assert world.scheduler.next_timer() is None
