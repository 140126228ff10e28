"""The run that follows another one on an engine: who is granted it, and what becomes of it."""

from __future__ import annotations

import pytest

from scheduler.core.events import DrainRequested, MemorySampled
from scheduler.core.following import AHEAD_NS, UNHURRIED_NS, WORTH_NS
from scheduler.core.prospect import idle_from_ns
from scheduler.core.settings import PoolBudget

MS = 1_000_000
RUN_MS = 2


def run_once(world, model="a", run_ms=RUN_MS, **request):
    """One run of that length, by itself."""
    assert world.ask(model, **request)[0].startswith(f"run {model}")
    world.now += round(run_ms * MS)
    world.ended()


def known(make_world, runs=4, run_ms=RUN_MS, settings=None, **rules):
    """An engine `a` of which so many runs are known; then one that runs."""
    world = make_world(1000, **(settings or {}))
    world.model("a", 100, **rules)
    world.bring("a")
    for _ in range(runs):
        run_once(world, run_ms=run_ms)
    world.ask("a")
    return world


def end(world, run_ms=RUN_MS):
    world.now += round(run_ms * MS)
    return world.ended()


def test_who_waits_for_a_quick_engine_is_granted_the_run_after_the_one_that_is_on_it(make_world):
    world = known(make_world)
    assert world.ask("a") == ["run a for 7 after 5"]
    assert world.ask("a") == []
    assert world.waits_for(8) == "waits_for_engine"
    (engine,) = world.scheduler.snapshot().engines
    assert (engine.running, engine.following, engine.waiting) == ((6,), (7,), 1)
    assert end(world) == ["finish 6 completed", "run a for 8 after 6"]
    assert end(world) == ["finish 7 completed"]
    assert end(world) == ["finish 8 completed"]
    world.check_rest("a")


def test_it_takes_nothing_until_it_begins(make_world):
    world = known(make_world, settings={"resources": {"gpu": 1}}, workspace=50, uses={"gpu": 1})
    world.ask("a")
    for _ in range(2):
        assert world.reserved == 150
        assert world.scheduler.snapshot().resources_in_use == {"gpu": 1}
        end(world)
    assert world.reserved == 100
    assert world.scheduler.snapshot().resources_in_use == {"gpu": 0}


def test_how_long_it_took_counts_from_its_beginning(make_world):
    world = known(make_world)
    for _ in range(40):
        world.ask("a")
        end(world)
    (engine,) = world.scheduler._state.engines.values()
    assert engine.run_times.slowest_ns() == RUN_MS * MS


def test_who_was_heard_of_late_did_not_work_less_than_the_engine_says(make_world):
    """Both runs have ended when the loop hears of the first: the second seems to have taken 0."""
    world = known(make_world)
    world.ask("a")
    world.now += 5 * MS
    world.ended(worked_ns=2 * MS)
    world.ended(worked_ns=2 * MS)
    (engine,) = world.scheduler._state.engines.values()
    assert engine.run_times.fastest_ns(world.now) == 2 * MS


@pytest.mark.parametrize(
    ("how", "settings"),
    [
        ({"runs": 2}, {}),
        ({"run_ms": UNHURRIED_NS / 2 / MS + 0.1}, {}),
        ({}, {"policy": "fifo"}),
    ],
    ids=["not known", "slow", "fifo"],
)
def test_nobody_follows(make_world, how, settings):
    world = known(make_world, settings=settings, **how)
    assert world.ask("a") == []
    assert world.ask("a") == []


@pytest.mark.parametrize(
    ("priority", "run_ms", "follows"),
    [
        (60, AHEAD_NS / 2 / MS, True),
        (60, AHEAD_NS / 2 / MS + 0.1, False),
        (50, AHEAD_NS / 2 / MS + 0.1, True),
    ],
    ids=["quick enough for all", "too slow for some", "nobody is in a greater hurry"],
)
def test_who_is_more_important_waits_less_for_a_run_that_follows(
    make_world, priority, run_ms, follows
):
    world = known(make_world, run_ms=run_ms)
    world.model("b", 100, priority=priority)
    assert world.ask("a") == (["run a for 7 after 5"] if follows else [])


def test_a_model_that_is_disabled_is_in_no_hurry(make_world):
    world = known(make_world, run_ms=AHEAD_NS / 2 / MS + 0.1)
    world.model("b", 100, priority=60)
    world.switch("without", disable=("b",))
    assert world.ask("a") == ["run a for 7 after 5"]


def test_one_hiccup_does_not_make_an_engine_slow(make_world):
    world = known(make_world, runs=16)
    end(world, 200)
    world.ask("a")
    assert world.ask("a") == ["run a for 20 after 18"]


def test_what_is_not_worth_the_way_is_joined_by_others_first(make_world):
    run_ms = WORTH_NS / MS / 3
    world = known(make_world, run_ms=run_ms)
    assert world.ask("a") == []
    assert world.ask("a") == []
    assert world.ask("a") == ["run a for 7,8,9 in turn after 5"]
    assert world.ask("a") == []
    assert end(world, run_ms) == ["finish 6 completed"]
    assert end(world, 3 * run_ms)[-1] == "run a for 10"


def test_a_train_follows_with_the_workspace_of_one_run(make_world):
    run_ms = WORTH_NS / MS / 3
    world = known(make_world, run_ms=run_ms, workspace=50, per_item=40)
    for _ in range(2):
        assert world.ask("a") == []
    assert world.ask("a") == ["run a for 7,8,9 in turn after 5"]
    assert world.reserved == 150


def test_a_batch_follows_when_it_is_full(make_world):
    world = known(make_world, batch_max=3, workspace=50, per_item=40)
    world.ask("a", items=3)
    end(world)
    assert world.reserved == 230
    assert world.ask("a") == []
    assert world.ask("a", items=2) == ["run a for 8,9 after 6"]
    assert end(world) == ["finish 7 completed"]
    assert world.reserved == 230


def test_a_batch_that_takes_more_than_the_run_before_has_does_not_follow(make_world):
    world = known(make_world, batch_max=3, workspace=50, per_item=40)
    for _ in range(3):
        assert world.ask("a") == []
    assert end(world)[-1] == "run a for 7,8,9"
    end(world)
    world.ask("a")
    assert world.ask("a", items=3) == []


def test_one_of_many_items_does_not_follow_where_there_are_no_batches(make_world):
    """How long it takes nobody knows, nor has the run before its memory."""
    world = known(make_world, workspace=50, per_item=40)
    assert world.ask("a", items=3) == []
    assert world.ask("a") == []


def test_what_is_no_run_does_not_follow(make_world):
    world = known(make_world)
    assert world.unload("a") == []
    assert world.ask("a") == []
    assert end(world) == ["finish 6 completed", "unload a: asked_to_unload"]


def test_somebody_before_who_wants_the_engine_for_himself_is_not_passed(make_world):
    world = known(make_world)
    world.hold("a")
    assert world.ask("a") == []
    assert end(world) == ["finish 6 completed", "hold a for 7"]


def test_nor_is_somebody_who_wants_it_together_with_another(make_world):
    world = known(make_world)
    world.model("b", 100)
    world.bring("b")
    world.hold("a", "b")
    assert world.ask("a") == []
    assert end(world) == ["finish 6 completed", "hold a+b for 8"]


def test_somebody_before_who_waits_for_memory_is_not_passed(make_world):
    world = known(make_world, workspace=50)
    world.model("big", 950)
    world.ask("big")
    assert world.waits_for(7) == "waits_for_memory"
    assert world.ask("a") == []
    world.quiesce()
    world.check_rest("a")


def test_while_others_press_nobody_follows_as_the_engine_may_have_to_go(make_world):
    pools = {"unified": PoolBudget(budget_bytes=1000, reserve_bytes=100)}
    world = known(make_world, settings={"pools": pools}, workspace=50)
    world.tell(MemorySampled("unified", available_bytes=0))
    assert world.ask("a") == []
    assert end(world)[:2] == ["finish 6 completed", "unload a: external_pressure"]


def test_who_waits_under_a_lease_does_not_follow(make_world):
    world = known(make_world)
    end(world)
    world.hold("a")
    (lease,) = world.leases
    world.ask("a", under_lease=lease)
    assert world.ask("a", under_lease=lease) == []


def test_nobody_follows_what_outlives_its_lease(make_world):
    world = known(make_world)
    end(world)
    world.hold("a", ttl=1)
    (lease,) = world.leases
    world.ask("a", under_lease=lease)
    world.at(world.now / MS + 1)
    world.ended(lease)
    assert world.ask("a") == []
    assert end(world)[-1].startswith("run a for 9")


def test_nobody_follows_a_run_that_is_called_off(make_world):
    world = known(make_world)
    world.cancel(6)
    assert world.ask("a") == []
    assert end(world)[-1] == "run a for 7"


def test_one_whose_caller_goes_away_before_it_begins_is_called_off(make_world):
    world = known(make_world)
    world.ask("a")
    world.ask("a")
    assert world.cancel(7) == ["finish 7 cancelled: caller_cancelled", "revoke 6: caller_cancelled"]
    assert end(world) == ["finish 6 completed"]
    assert world.ended() == ["run a for 8"]
    end(world)
    world.check_rest("a")


def test_a_deadline_that_passes_before_it_begins_is_answered_then(make_world):
    world = known(make_world)
    world.ask("a", deadline=3)
    said = world.at(world.now / MS + 4)
    assert said == ["finish 7 deadline_missed: deadline_passed", "revoke 6: deadline_passed"]
    assert "the next on its engine" in str(world.outcomes[7].reason)


def test_a_run_that_hangs_takes_the_one_after_it_along(make_world):
    world = known(make_world, run_timeout_ns=50 * MS)
    world.ask("a")
    said = world.at(world.now / MS + 60)
    assert said == [
        "finish 6 failed: run_timeout",
        "revoke 5: run_timeout",
        "finish 7 failed: run_timeout",
        "revoke 6: run_timeout",
    ]
    assert world.ended() == []
    assert world.ended() == ["unload a: run_timeout"]


def test_the_time_limit_counts_from_its_beginning(make_world):
    world = known(make_world, run_timeout_ns=50 * MS)
    world.ask("a")
    end(world, 40)
    assert world.at(world.now / MS + 49) == []
    assert world.at(world.now / MS + 2)[0] == "finish 7 failed: run_timeout"


def test_when_the_engine_is_lost_both_are(make_world):
    world = known(make_world)
    world.ask("a")
    said = world.lost("a")
    assert said == ["finish 7 failed: engine_lost", "finish 6 failed: engine_lost"]
    world.leases.clear()
    world.quiesce()
    world.check_rest("a")


def test_what_follows_is_still_run_when_the_scheduler_stops(make_world):
    world = known(make_world)
    world.ask("a")
    assert world.tell(DrainRequested()) == []
    assert end(world) == ["finish 6 completed"]
    assert end(world) == ["finish 7 completed", "unload a: shutting_down"]


def test_a_switch_that_waits_for_it_is_bounded_by_both_runs(make_world):
    world = known(make_world)
    world.ask("a")
    before = world.switch("quiet", disable=("a",))
    assert before[0].startswith("switch to quiet: -a")
    within_ns = next(d.within_ns for d in world.decisions if hasattr(d, "within_ns"))
    assert within_ns == 2 * RUN_MS * MS


def test_a_claimant_in_a_hurry_counts_with_both_runs(make_world):
    world = known(make_world)
    engine = world.scheduler._state.engines["a"]
    assert idle_from_ns(engine, world.now) == world.now + RUN_MS * MS
    world.ask("a")
    assert idle_from_ns(engine, world.now) == world.now + 2 * RUN_MS * MS
