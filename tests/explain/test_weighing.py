"""Each rule by which an engine is spared, heard by who asks why."""

from __future__ import annotations

from scheduler.core.events import DrainRequested
from scheduler.core.witness import Rule
from scheduler.explain.weighing import SPARED


def stream(robot, model, *, first, gap, count, **fields):
    for index in range(count):
        robot.ask(first + index * gap, model, **fields)


def test_every_rule_has_words():
    assert set(SPARED) == set(Rule)


def test_the_figures_of_who_goes_and_of_who_stays(robot):
    robot.model("small", 300)
    robot.model("large", 600)
    robot.model("wanted", 400)
    robot.ask(0, "small")
    robot.ask(0, "large")
    robot.run(1000)
    told_to = robot.ask(1000, "wanted")
    robot.run(3000)
    weighing = robot.story(told_to).weighing
    assert weighing.deficits == {"unified": 300 * 1024**2}
    assert weighing.chosen == ("small",)
    told = robot.told(told_to)
    assert "short by 300.0 MiB of unified; weighed:" in told
    # Not used since 305 ms, so it is thought to be wanted in a second more than that again.
    goes = "back in 300.0 ms, wanted again in 1.70 s, deadlines missed 0, loss"
    assert f"small goes: frees 300.0 MiB of unified, {goes} 1.42" in told
    assert f"large stays: frees 600.0 MiB of unified, {goes} 1.42" in told


def test_the_others_policies_look_at_the_last_use_only(make_robot):
    robot = make_robot(policy="fifo")
    robot.model("old", 600)
    robot.model("new", 600)
    robot.ask(0, "old")
    robot.run(1000)
    new = robot.ask(1000, "new")
    robot.run(3000)
    assert "old goes: frees 600.0 MiB of unified, last used 695.0 ms ago" in robot.told(new)


def test_a_pinned_engine_is_spared(robot):
    robot.model("slam", 300, pinned=True)
    robot.model("a", 600)
    robot.model("b", 600)
    robot.ask(400, "a")
    asked = robot.ask(1000, "b")
    robot.run(2000)
    assert robot.story(asked).weighing.spared == {"slam": Rule.PINNED}
    assert "slam stays: pinned" in robot.told(asked)


def test_what_an_earlier_one_needs_is_spared(robot):
    robot.model("a", 600, run_ms=2000)
    robot.model("b", 600)
    robot.ask(0, "a")
    robot.ask(400, "a", priority=60)
    asked = robot.ask(400, "b")
    robot.run(500)
    assert robot.story(asked).weighing.spared == {"a": Rule.NEEDED}
    assert robot.story(asked).weighing.chosen is None
    assert "nobody is unloaded" in robot.told(asked)


def test_what_was_just_loaded_is_spared(robot):
    robot.model("a", 600, min_residency_ns=3_000_000_000)
    robot.model("b", 600)
    robot.ask(0, "a")
    asked = robot.ask(1000, "b")
    robot.run(6000)
    story = robot.story(asked)
    assert "a stays: just loaded (min_residency)" in robot.told(asked)
    assert story.weighing.spared == {"a": Rule.JUST_LOADED}
    assert "a has to go: room for b, request 2 (priority 50)" in robot.told(asked)


def test_who_has_customers_is_spared_for_a_while(robot):
    robot.model("a", 600, run_ms=200)
    robot.model("b", 600)
    robot.ask(0, "a")
    robot.ask(600, "a")
    asked = robot.ask(610, "b")
    robot.ask(620, "a")
    robot.run(700)
    assert "a stays: has customers of its own, who go first for a while" in robot.told(asked)


def test_the_more_important_who_would_win_it_back_is_spared(robot):
    robot.model("camera", 600, priority=80)
    robot.model("cold", 600, priority=30)
    robot.ask(0, "cold")
    stream(robot, "camera", first=1000, gap=100, count=20)
    asked = robot.ask(2550, "cold")
    robot.run(2600)
    assert robot.story(asked).weighing.spared == {"camera": Rule.WOULD_WIN_BACK}


def test_who_had_better_go_after_its_next_frame_is_spared(robot):
    robot.model("camera", 600, deadline_ns=400_000_000)
    robot.model("cold", 600)
    robot.ask(0, "cold")
    robot.ask(1000, "camera", deadline_ns=2**62)  # so that it is loaded
    stream(robot, "camera", first=2000, gap=1000, count=7)
    asked = robot.ask(5980, "cold")
    robot.run(7000)
    assert robot.story(asked).weighing.spared == {"camera": Rule.BETTER_LATER}
    assert "better later" in robot.told(asked)
    assert robot.story(asked).life.outcome == "completed"


def test_an_engine_that_does_not_come_back_is_spared(robot):
    robot.model("hung", 600, run_ms=60_000, run_timeout_ns=1_000_000_000)
    robot.model("b", 600)
    robot.ask(0, "hung")
    asked = robot.ask(2000, "b")
    robot.run(3000)
    assert robot.story(asked).weighing.spared == {"hung": Rule.CONDEMNED}


def test_who_is_held_by_a_more_important_lease_is_told_with_the_lease(robot):
    robot.model("slam", 600, priority=90)
    robot.model("b", 600)
    robot.hold(0, "slam")
    asked = robot.ask(1000, "b")
    robot.run(1500)
    assert robot.story(asked).weighing.chosen is None
    assert "slam stays: held by lease 1" in robot.told(asked)


def test_a_rival_of_its_group_goes_whatever_it_costs(robot):
    robot.model("a", 100, exclusive=frozenset({"heavy"}))
    robot.model("b", 100, exclusive=frozenset({"heavy"}))
    robot.ask(0, "a")
    asked = robot.ask(1000, "b")
    robot.run(2000)
    told = robot.told(asked)
    assert "a goes: it is of the same exclusive group" in told
    assert "short by" not in told


def test_a_lease_that_is_taken_back_for_it_is_told(robot):
    robot.model("slam", 600, priority=20)
    robot.model("b", 600)
    robot.hold(0, "slam", priority=20)
    asked = robot.ask(1000, "b", priority=70)
    robot.run(1100)
    assert "lease 1 is taken back: b, request 2 has priority 70, the lease 20" in robot.told(asked)


def test_shutting_down_is_a_reason(robot):
    robot.model("a", 600)
    robot.tell(10, DrainRequested())
    asked = robot.ask(20, "a")
    robot.run(30)
    told = robot.told(asked)
    assert "ends: rejected, the scheduler is shutting down" in told
    assert "- asked before the stop, or after the restart" in told


def test_who_waits_for_one_that_is_cheaper_says_so(robot):
    robot.model("busy", 500)
    robot.model("rare", 500)
    robot.model("other", 500)
    stream(robot, "busy", first=0, gap=200, count=10)
    robot.ask(1850, "rare")
    asked = robot.ask(1860, "other")
    robot.run(4000)
    told = robot.told(asked)
    assert "busy would go: frees 500.0 MiB" in told
    assert "nobody goes yet: rare will soon be free, and cheaper to do without" in told
    assert "rare goes: frees 500.0 MiB" in told
