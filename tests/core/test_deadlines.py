"""A request is answered at its deadline, or as soon as it is certain to miss it."""

from __future__ import annotations

from scheduler.core.request import NO_DEADLINE_NS, RequestKind

TICK = 1e-6  # one nanosecond, in ms


def learn_load(world, model, ms):
    """Let the model be loaded once in `ms`, and be gone again."""
    world.load(model)
    world.at(world.now / 1e6 + ms)
    world.loaded(model)
    world.unload(model)
    world.unloaded(model)


def test_a_waiting_request_is_answered_exactly_at_its_deadline(world):
    world.model("a")
    world.ask("a", deadline=100)
    assert world.at(100 - TICK) == []
    assert world.at(100) == ["finish 1 deadline_missed: deadline_passed"]
    assert world.finished_ms[1] == 100
    world.loaded("a")
    world.check_rest("a")


def test_the_sentence_says_what_it_was_waiting_for(world):
    world.model("a")
    world.ask("a", deadline=200, priority=90)
    world.ask("a", deadline=100)
    world.at(200)
    assert "waiting (behind 1 and others)" in str(world.outcomes[2].reason)
    assert "waiting (a is loading)" in str(world.outcomes[1].reason)
    world.loaded("a")
    world.ask("a", deadline=100)
    world.at(300)
    assert "while running" in str(world.outcomes[3].reason)


def test_a_deadline_that_has_passed_on_arrival_is_answered_at_once_and_costs_nothing(world):
    world.model("a")
    assert world.ask("a", deadline=0) == ["finish 1 deadline_missed: deadline_passed"]
    assert "not looked at yet" in str(world.outcomes[1].reason)
    assert world.states() == {"a": "unloaded"}


def test_the_model_has_the_deadline_of_requests_that_name_none(world):
    world.model("a", deadline_ns=50_000_000)
    world.ask("a")
    world.ask("a", deadline=80)
    world.ask("a", deadline_ns=NO_DEADLINE_NS)
    world.hold("a")  # the deadline is for runs
    world.at(79)
    assert [world.outcome(i) for i in (1, 2)] == ["deadline_missed: deadline_passed", "-"]
    world.at(80)
    world.at(9_000_000)
    assert [world.outcome(i) for i in (2, 3, 4)] == ["deadline_missed: deadline_passed", "-", "-"]


def test_running_work_is_answered_at_its_deadline_and_its_slot_stays_taken(world):
    world.model("a")
    world.ask("a", deadline=200)
    world.loaded("a")
    said = ["finish 1 deadline_missed: deadline_passed", "revoke 1: deadline_passed"]
    assert world.at(200) == said
    world.at(250)
    assert world.ask("a") == []
    world.at(300)
    assert world.unload("a") == []
    assert world.waits_for(2) == "waits_for_turn"
    world.at(1000)
    assert world.ended(1) == ["unload a: asked_to_unload"]  # never two threads in one engine
    assert world.unloaded("a") == ["finish 3 completed", "load a"]
    assert world.loaded("a") == ["run a for 2"]
    world.ended()
    world.check_rest("a")


def test_the_answer_does_not_wait_for_a_thread_that_does_not_come_back(world):
    world.model("a")
    world.ask("a", deadline=1000)
    world.loaded("a")
    world.at(1000)
    assert world.finished_ms[1] == 1000
    world.at(30_000)
    assert [lease.lease_id for lease in world.scheduler.snapshot().leases] == [1]
    world.ended(1)
    world.check_rest("a")


def test_a_batch_is_revoked_only_when_nobody_wants_any_of_it(world):
    world.model("a", batch_max=2)
    world.ask("a", deadline=100)
    world.ask("a", deadline=200)
    world.loaded("a")
    assert world.at(100) == ["finish 1 deadline_missed: deadline_passed"]
    assert world.at(200)[1] == "revoke 1: deadline_passed"


def test_an_answer_at_the_deadline_is_in_time_and_one_after_it_is_late(world):
    world.model("a")
    world.bring("a")
    world.ask("a", deadline=100)
    world.now = 100_000_000  # the timer has not been heard yet
    assert world.ended() == ["finish 2 completed"]
    world.ask("a", deadline=100)
    world.now = 200_000_001
    assert world.ended() == ["finish 3 deadline_missed: deadline_passed"]
    assert "0.0 ms too late" in str(world.outcomes[3].reason)


def test_a_cold_load_that_cannot_make_it_is_refused_and_evicts_nobody(world):
    world.model("a", 600)
    world.model("b", 600)
    learn_load(world, "b", 3000)
    world.bring("a")
    assert world.ask("b", deadline=1000) == ["finish 4 deadline_missed: deadline_unreachable"]
    assert world.states()["a"] == "ready"
    assert "at least 3000.0 ms" in str(world.outcomes[4].reason)
    world.check_rest("a")


def test_a_load_time_nobody_knows_is_tried_once_and_learned(world):
    world.model("b")
    assert world.ask("b", deadline=1000) == ["load b"]
    world.at(3000)
    world.loaded("b")
    world.unload("b")
    world.unloaded("b")
    assert world.ask("b", deadline=2999) == ["finish 3 deadline_missed: deadline_unreachable"]
    assert world.ask("b", deadline=3000) == ["load b"]


def test_what_was_learned_is_forgotten_after_a_minute_so_that_one_may_try_again(world):
    world.model("b")
    learn_load(world, "b", 3000)
    world.at(63_000)
    assert world.ask("b", deadline=10) == ["finish 3 deadline_missed: deadline_unreachable"]
    world.at(63_000 + TICK)
    assert world.ask("b", deadline=10) == ["load b"]


def test_the_load_that_is_under_way_counts_from_when_it_began(world):
    world.model("b")
    learn_load(world, "b", 3000)
    world.load("b")
    world.at(5000)  # 2000 of 3000 are over
    assert world.ask("b", deadline=999) == ["finish 4 deadline_missed: deadline_unreachable"]
    assert world.ask("b", deadline=1000) == []


def test_run_times_count_once_three_have_been_seen(world):
    world.model("a")
    world.bring("a")
    for run in range(3):
        world.ask("a", deadline=15)
        world.at(world.now / 1e6 + 20 + run)
        world.ended()
        assert world.outcome(2 + run) == "deadline_missed: deadline_passed"
    assert world.ask("a", deadline=19) == ["finish 5 deadline_missed: deadline_unreachable"]
    assert world.ask("a", deadline=20) == ["run a for 6"]


def test_a_run_that_failed_teaches_nothing_about_run_times(world):
    world.model("a")
    world.bring("a")
    for _ in range(3):
        world.ask("a")
        world.at(world.now / 1e6 + 20)
        world.ended(errors=((world.requests, "bad input"),))
    assert world.ask("a", deadline=1) == ["run a for 5"]


def test_it_is_checked_again_after_the_load_right_before_the_engine_runs(world):
    world.model("a")
    world.bring("a")
    for _ in range(3):
        world.ask("a")
        world.at(world.now / 1e6 + 20)
        world.ended()
    world.unload("a")
    world.unloaded("a")
    world.ask("a", deadline=100)
    world.now += 90_000_000
    assert world.loaded("a") == ["finish 6 deadline_missed: deadline_unreachable"]
    assert world.count("run a") == 3


def test_what_has_to_be_loaded_is_judged_by_load_and_run_together(world):
    world.model("a")
    learn_load(world, "a", 100)
    world.load("a")
    world.at(200)
    world.loaded("a")
    for _ in range(3):
        world.ask("a")
        world.at(world.now / 1e6 + 20)
        world.ended()
    world.unload("a")
    world.unloaded("a")
    assert world.ask("a", deadline=119)[0].endswith("deadline_unreachable")
    assert world.ask("a", deadline=120) == ["load a"]


def test_a_request_to_load_is_judged_by_the_load_alone(world):
    world.model("b")
    learn_load(world, "b", 3000)
    said = world.ask("b", kind=RequestKind.LOAD, deadline=100)
    assert said == ["finish 3 deadline_missed: deadline_unreachable"]


def test_a_run_under_a_lease_that_comes_too_late_is_answered_at_once(world):
    world.model("a")
    world.hold("a")
    world.loaded("a")
    for _ in range(3):
        world.ask("a", under_lease=1)
        lease = max(world.leases)
        world.at(world.now / 1e6 + 20)
        world.ended(lease)
    said = world.ask("a", under_lease=1, deadline=10)
    assert said == ["finish 5 deadline_missed: deadline_unreachable"]


def test_lease_deadline_and_keep_alive_follow_the_one_monotonic_clock(make_world):
    """Where that clock starts does not matter: a wall clock may jump, intervals stay."""
    stories = []
    for start_ms in (0, 3_600_000, 1_700_000_000_000):
        world = make_world()
        world.at(start_ms)
        world.model("a", keep_alive_ns=5_000_000)
        world.hold("a", ttl=100)
        world.loaded("a")
        world.ask("a", deadline=50)
        world.at(start_ms + 100)
        world.ended(1)
        world.at(start_ms + 200)
        stories.append([(at - start_ms * 1_000_000) / 1e6 for at in world.times])
    assert stories[0] == [0, 0, 50, 100, 100, 105]
    assert stories[1:] == [stories[0]] * 2


def test_a_request_that_becomes_too_late_while_it_waits_is_answered_at_that_moment(world):
    world.model("a")
    world.bring("a")
    for _ in range(3):
        world.ask("a")
        world.at(world.now / 1e6 + 20)
        world.ended()
    world.ask("a")
    start = world.now / 1e6
    world.ask("a", deadline=100)
    world.at(start + 80)
    assert world.outcome(6) == "-"
    assert world.at(start + 80 + TICK) == ["finish 6 deadline_missed: deadline_unreachable"]


def test_a_deadline_that_a_load_just_makes_wakes_nobody_before_it_is_missed(world):
    world.model("b")
    learn_load(world, "b", 3000)
    world.ask("b", deadline=3000)
    world.at(5999)
    assert world.wakeups <= 2  # its `max_wait` at the most
    assert world.loaded("b") == ["run b for 3"]
