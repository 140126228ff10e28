"""The right to use engines for a bounded time."""

from __future__ import annotations

from scheduler.core.events import LeaseEnded, LeaseRenewed, LeaseRevocationAsked, ModelRemoved
from scheduler.core.outcome import Outcome

TICK = 1e-6


def held(world, ttl=None, **request):
    world.model("a")
    world.hold("a", **({} if ttl is None else {"ttl": ttl}), **request)
    assert world.loaded("a") == ["hold a for 1"]


def test_a_lease_ends_well_when_its_holder_lets_go(world):
    held(world)
    assert world.ended() == ["finish 1 completed"]
    world.check_rest("a")


def test_a_lease_expires_exactly_after_its_time_to_live(world):
    held(world, ttl=100)
    assert world.at(100 - TICK) == []
    assert world.at(100) == ["revoke 1: lease_expired", "finish 1 preempted: lease_expired"]
    world.ended(1)
    world.check_rest("a")


def test_the_time_to_live_begins_with_the_grant(world):
    world.model("a")
    world.hold("a", ttl=100)
    world.at(500)
    world.loaded("a")
    assert world.scheduler.snapshot().leases[0].expires_ns == 600_000_000
    world.at(599)
    assert world.outcome(1) == "-"


def test_a_renewal_starts_the_time_to_live_again_and_a_late_one_does_nothing(world):
    held(world, ttl=100)
    for ms in (50, 120, 200):
        world.at(ms)
        world.tell(LeaseRenewed(1))
    assert world.at(300 - TICK) == []
    world.now = 300_000_000  # it comes with the alarm: its time has run out
    assert world.tell(LeaseRenewed(1)) == [
        "revoke 1: lease_expired",
        "finish 1 preempted: lease_expired",
    ]
    assert world.tell(LeaseRenewed(1)) == []
    world.ended(1)
    assert world.tell(LeaseRenewed(1)) == []


def test_a_lease_without_a_time_to_live_cannot_be_renewed_and_does_not_expire(world):
    held(world)
    world.tell(LeaseRenewed(1))
    assert world.scheduler.next_timer() is None


def test_a_peer_that_went_silent_loses_its_lease_after_three_missed_beats(world):
    held(world, ttl=6000)  # three beats of 2 s
    for beat in (2000, 4000):
        world.at(beat)
        world.tell(LeaseRenewed(1))
    world.ask("a")
    world.at(10_000)
    assert world.outcome(1) == "preempted: lease_expired"
    assert world.ended(1) == ["run a for 2"]
    assert world.tell(LeaseRenewed(1)) == []
    said = world.ask("a", under_lease=1)
    assert said == ["finish 3 rejected: unknown_lease"]  # a late frame of the old lease
    world.ended()
    world.check_rest("a")


def test_while_a_lease_is_taken_back_its_runs_are_refused_with_the_reason(world):
    held(world, ttl=100)
    world.at(100)
    assert world.ask("a", under_lease=1) == ["finish 2 rejected: lease_expired"]


def test_an_operator_can_ask_for_a_lease_back_once(world):
    held(world)
    said = world.tell(LeaseRevocationAsked(1))
    assert said == ["revoke 1: lease_revoked", "finish 1 preempted: lease_revoked"]
    assert world.tell(LeaseRevocationAsked(1)) == []
    assert world.tell(LeaseRevocationAsked(7)) == []
    world.ended(1)
    world.check_rest("a")


def test_the_engine_of_a_revoked_lease_is_free_only_when_the_work_has_stopped(world):
    held(world)
    world.tell(LeaseRevocationAsked(1))
    assert world.ask("a") == []
    assert world.unload("a") == []
    assert world.ended(1) == ["unload a: asked_to_unload"]


def test_a_holder_that_went_away_is_asked_to_let_go(world):
    held(world)
    said = ["finish 1 cancelled: caller_cancelled", "revoke 1: caller_cancelled"]
    assert world.cancel(1) == said
    world.ended(1)
    world.check_rest("a")


def test_runs_under_a_lease_go_one_at_a_time_and_nobody_else_gets_between(world):
    held(world)
    world.ask("a")
    assert world.waits_for(2) == "waits_for_engine"
    assert world.ask("a", under_lease=1) == ["run a for 3"]
    assert world.ask("a", under_lease=1) == []
    assert world.waits_for(4) == "waits_for_engine"
    assert world.ended(2) == ["finish 3 completed", "run a for 4"]
    world.ended(3)
    assert world.ended(1) == ["finish 1 completed", "run a for 2"]
    world.ended()
    world.check_rest("a")


def test_what_waits_under_a_lease_ends_with_it_and_what_runs_is_let_run(world):
    held(world)
    world.ask("a", under_lease=1)
    world.ask("a", under_lease=1)
    assert world.ended(1) == ["finish 1 completed", "finish 3 preempted: lease_released"]
    assert world.ask("a") == []
    assert world.ended(2) == ["finish 2 completed", "run a for 4"]
    world.ended()
    world.check_rest("a")


def test_what_waits_under_a_lease_that_an_earlier_request_takes_back_ends_with_it(world):
    held(world, priority=10)
    world.ask("a", under_lease=1)
    world.ask("a", under_lease=1)
    assert world.ask("a", priority=50) == [
        "revoke 1: higher_priority",
        "finish 1 preempted: higher_priority",
        "finish 3 preempted: higher_priority",
    ]
    world.ended(2)
    assert world.ended(1) == ["run a for 4"]
    world.ended()
    world.check_rest("a")


def test_a_run_goes_under_a_lease_that_exists_and_has_its_model(world):
    held(world)
    world.model("b")
    world.bring("b")
    assert world.ask("a", under_lease=9) == ["finish 3 rejected: unknown_lease"]
    assert world.ask("b", under_lease=1) == ["finish 4 rejected: unknown_lease"]
    assert "lease 1 is on a, not on b" in str(world.outcomes[4].reason)
    world.ask("b")
    assert world.ask("b", under_lease=2) == ["finish 6 rejected: unknown_lease"]  # a run's own


def test_a_run_of_more_items_than_can_ever_fit_beside_its_lease_is_refused(world):
    world.model("a", 500, workspace=100, per_item=100)
    world.model("b", 200)
    world.hold("a", "b")
    for model in ("a", "b"):
        world.loaded(model)
    assert world.ask("a", under_lease=1, items=3) == ["run a for 2"]
    assert world.ask("a", under_lease=1, items=4) == ["finish 3 rejected: never_fits"]


def test_a_run_of_more_items_makes_the_room_it_needs(make_world):
    world = make_world(resources={"gpu": 1})
    world.model("a", 500, workspace=100, per_item=100, uses={"gpu": 1})
    world.model("b", 300)
    world.model("c", 1, uses={"gpu": 1})
    world.bring("b", "c")
    world.hold("a")
    world.loaded("a")
    assert world.ask("a", under_lease=1, items=3) == ["unload b: make_room"]
    assert world.ask("c") == ["run c for 5"]  # the unit is free until the room is there
    world.ended(2)
    assert world.unloaded("b") == ["run a for 4"]
    world.ended(3)
    world.ended(1)
    world.check_rest("a")


def test_a_pin_elsewhere_bounds_what_can_ever_run_under_a_lease(world):
    world.model("p", 300, pinned=True)
    world.loaded("p")
    world.model("a", 500, workspace=100, per_item=100)
    world.hold("a")
    world.loaded("a")
    assert world.ask("a", under_lease=1, items=3) == ["finish 2 rejected: never_fits"]
    assert world.ask("a", under_lease=1, items=2) == ["run a for 3"]


def test_a_run_under_a_lease_has_the_priority_of_the_lease(world):
    held(world, priority=70)
    world.ask("a", under_lease=1)
    world.ask("a", under_lease=1)
    assert world.scheduler.snapshot().waiting[0].priority == 70


def test_a_lease_on_several_engines_is_granted_all_or_none(world):
    world.model("a", 300)
    world.model("b", 300)
    world.bring("a")
    world.ask("a")
    assert world.hold("a", "b") == ["load b"]
    assert world.loaded("b") == []
    assert world.ended() == ["finish 2 completed", "hold a+b for 3"]
    world.ask("a")
    world.ask("b")
    assert world.ended() == ["finish 3 completed", "run a for 4", "run b for 5"]


def test_two_programs_that_want_the_same_engines_the_other_way_round_do_not_deadlock(world):
    for name in "ab":
        world.model(name, 300)
    world.hold("a", "b")
    world.hold("b", "a")
    world.quiesce()
    assert [world.outcome(i) for i in (1, 2)] == ["completed"] * 2
    world.check_rest("a")


def test_a_lease_on_several_engines_has_the_workspace_of_each(world):
    world.model("a", 100, workspace=10)
    world.model("b", 100, workspace=20)
    world.bring("a", "b")
    world.hold("a", "b")
    assert world.reserved == 230


def test_a_lease_on_several_engines_waits_while_one_of_them_unloads(world):
    world.model("a", 300)
    world.model("b", 300)
    world.bring("a", "b")
    world.unload("a")
    world.cancel(3)  # too late: it is on its way out
    assert world.hold("a", "b") == []
    assert world.waits_for(4) == "waits_for_unload"
    assert world.unloaded("a") == ["load a"]
    assert world.loaded("a") == ["hold a+b for 4"]


def test_losing_one_engine_of_a_lease_ends_the_lease_and_frees_the_others(world):
    world.model("a", 300)
    world.model("b", 300)
    world.hold("a", "b")
    world.loaded("a")
    world.loaded("b")
    world.ask("a", under_lease=1)
    world.ask("b", under_lease=1)
    world.ask("b", under_lease=1)
    assert world.lost("a") == [
        "finish 2 failed: engine_lost",
        "finish 1 failed: engine_lost",
        "finish 4 preempted: engine_lost",
    ]
    assert world.tell(LeaseEnded(1)) == []
    assert world.ask("b") == []  # still running what it ran under the lease
    assert world.ended(3) == ["finish 3 completed", "run b for 5"]
    world.ended(4)
    world.leases.clear()
    world.at(2000)
    world.check_rest("a")


def test_a_held_engine_does_not_go_with_its_model_until_it_is_let_go(world):
    held(world)
    world.ask("a")
    assert world.tell(ModelRemoved("a")) == ["finish 2 rejected: model_removed"]
    assert world.ask("a") == ["finish 3 rejected: model_removed"]
    assert world.ended() == ["finish 1 completed", "unload a: model_removed"]
    world.unloaded("a")
    assert world.states() == {}
    assert world.outcomes[1].outcome is Outcome.COMPLETED


def test_a_lease_does_not_take_an_engine_that_somebody_before_it_waits_to_hold(world):
    for name in "ab":
        world.model(name, 300)
    world.hold("a", "b")
    world.loaded("a")
    assert world.hold("a") == []  # it came later, and could hold the engine for ever
    assert world.waits_for(2) == "waits_for_turn"
    assert world.ask("a") == []  # behind the lease in its own lane
    assert world.loaded("b") == ["hold a+b for 1"]
    assert world.ended(1) == ["finish 1 completed", "hold a for 2"]
    assert world.ended(2) == ["finish 2 completed", "run a for 3"]
    world.ended()
    world.check_rest("b")


def test_a_run_may_use_an_engine_while_somebody_before_it_waits_for_another_one_too(world):
    for name in "ab":
        world.model(name, 300)
    world.hold("a", "b")
    world.loaded("a")
    assert world.ask("a") == ["run a for 2"]
    world.loaded("b")
    assert world.ended() == ["finish 2 completed", "hold a+b for 1"]


def test_the_deadline_of_a_lease_is_for_its_grant_and_not_for_its_end(world):
    world.model("a", 100)
    world.bring("a")
    assert world.hold("a", deadline=50) == ["hold a for 2"]
    assert world.at(100) == []
    assert world.ended(1) == ["finish 2 completed"]
