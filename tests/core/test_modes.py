"""Modes: what a switch plans, does and refuses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.decisions import AnnounceMode, RefuseMode, SwitchMode
from scheduler.core.events import BudgetChanged, DrainRequested, ModelRemoved, PinChanged
from scheduler.core.mode import Mode
from scheduler.core.outcome import Outcome
from tests.core.conftest import MS, POOL, World

S = 1_000_000_000


@pytest.fixture
def robot(world):
    """Three models, two of which fit."""
    world.model("slam", 500, priority=80)
    world.model("faces", 400, priority=60)
    world.model("speech", 450, priority=40)
    return world


def last(world, kind):
    return [decision for decision in world.decisions if isinstance(decision, kind)][-1]


def seen(world, model):
    return next(e for e in world.scheduler.snapshot().engines if e.model == model)


# -- pins -----------------------------------------------------------------------------------------


def test_a_mode_pins_what_it_says_and_makes_room_for_it_at_once(robot):
    robot.bring("faces", "speech")
    assert robot.switch("docking", pin=("slam",)) == [
        "switch to docking: -speech slam",
        "unload speech: make_room",
    ]
    assert robot.scheduler.snapshot().switching
    assert robot.unloaded("speech") == ["load slam"]
    assert robot.loaded("slam") == ["mode docking"]
    snapshot = robot.scheduler.snapshot()
    assert (snapshot.mode, snapshot.switching) == ("docking", False)
    assert seen(robot, "slam").pinned
    robot.check_rest("speech")


def test_all_pins_of_a_mode_are_planned_for_together_and_the_more_important_comes_first(world):
    world.model("small", 100, priority=50)
    world.model("other", 300, priority=90)
    world.model("idle", 300)
    world.model("large", 600)
    world.bring("idle", "large")
    said = world.switch("m", pin=("small", "other"))
    assert said == ["switch to m: -idle other small", "unload idle: make_room", "load small"]
    assert world.unloaded("idle") == ["load other"]
    world.quiesce()
    assert last(world, AnnounceMode).missing == ()
    assert [name for name, state in world.states().items() if state != "ready"] == ["idle"]


def test_one_set_of_victims_is_chosen_for_two_pins_together(world):
    """Each alone would send one of the small ones away; for both, the large one alone is enough."""
    for name, size in (("s1", 250), ("s2", 250), ("large", 500)):
        world.model(name, size)
    world.bring("large", "s1", "s2")
    world.model("p", 250)
    world.model("q", 250)
    assert world.switch("m", pin=("p", "q")) == [
        "switch to m: -large p q",
        "unload large: make_room",
    ]
    assert world.unloaded("large") == ["load p", "load q"]


def test_a_pin_that_is_there_already_costs_nothing(robot):
    robot.bring("slam")
    assert robot.switch("docking", pin=("slam",)) == ["switch to docking:", "mode docking"]
    assert last(robot, AnnounceMode).took_ns == 0


def test_only_the_old_modes_own_pins_end_with_it(robot):
    robot.tell(PinChanged("faces", pinned=True))
    robot.loaded("faces")
    robot.switch("a", pin=("slam", "faces"))
    robot.loaded("slam")
    robot.switch("b", pin=("faces",))
    assert [seen(robot, name).pinned for name in ("slam", "faces")] == [False, True]
    robot.switch(None)
    assert [seen(robot, name).pinned for name in ("slam", "faces")] == [False, True]
    assert robot.scheduler.snapshot().mode is None
    robot.tell(PinChanged("faces", pinned=False))
    assert not seen(robot, "faces").pinned


def test_a_pin_taken_away_by_hand_stays_while_the_mode_has_it(robot):
    robot.switch("a", pin=("slam",))
    robot.loaded("slam")
    robot.tell(PinChanged("slam", pinned=True))
    robot.tell(PinChanged("slam", pinned=False))
    assert seen(robot, "slam").pinned
    robot.switch(None)
    assert not seen(robot, "slam").pinned


def test_what_was_pinned_by_the_old_mode_alone_is_unloaded_when_nobody_uses_it(world):
    world.model("a", 300, keep_alive_ns=2 * S)
    world.switch("m", pin=("a",))
    world.loaded("a")
    assert world.at(10_000) == []
    world.switch(None)
    assert world.at(11_999) == []
    assert world.at(12_000) == ["unload a: keep_alive_over"]


def test_an_unload_that_waits_is_refused_when_the_mode_pins_the_engine(robot):
    robot.ask("slam")
    robot.loaded("slam")
    robot.unload("slam")
    assert robot.switch("docking", pin=("slam",))[1] == "finish 2 rejected: model_pinned"
    robot.ended()
    assert robot.states()["slam"] == "ready"
    assert robot.unload("slam") == ["finish 3 rejected: model_pinned"]


def test_a_running_engine_goes_when_its_run_is_over_and_starts_nothing_new(world):
    world.model("a", 400)
    world.model("held", 300)
    world.model("b", 400)
    world.hold("held", priority=90)
    world.loaded("held")
    world.ask("a")
    world.loaded("a")
    assert world.switch("m", pin=("b",)) == ["switch to m: -a b"]
    assert world.ask("a") == []
    assert world.waits_for(3) == "waits_for_turn"
    assert world.ended(2) == ["finish 2 completed", "unload a: make_room"]
    assert world.unloaded("a") == ["load b"]
    assert world.loaded("b") == ["mode m"]
    assert world.ended(1) == ["finish 1 completed", "unload held: make_room"]
    assert world.unloaded("held") == ["load a"]


def test_who_goes_in_any_case_is_not_chosen_to_make_room_as_well(world):
    """`off` would be cheap and large enough, but what it gives back is counted already."""
    world.model("off", 300, priority=10)
    world.model("dear", 700, priority=90)
    world.model("pin", 500)
    for name in ("off", "dear"):
        world.ask(name)
        world.loaded(name)
    assert world.switch("m", pin=("pin",), disable=("off",)) == ["switch to m: -off -dear pin"]


def test_in_a_plan_those_go_first_that_are_idle_and_the_held_last(world):
    names = ("held", "runs", "idle")
    for name in names:
        world.model(name, 100)
    world.bring("idle")
    world.hold("held")
    world.loaded("held")
    world.ask("runs")
    world.loaded("runs")
    assert world.switch("m", disable=names)[0] == "switch to m: -idle -runs -held"


def test_the_peak_of_a_load_that_is_to_go_is_not_counted_twice(world):
    world.model("idle", 200)
    world.bring("idle")
    world.model("loads", 300, peak=800)
    world.ask("loads")
    world.switch("m", disable=("loads",))
    world.model("next", 900)
    assert world.ask("next") == ["unload idle: make_room"]


def test_a_batch_that_waits_again_has_the_priority_of_the_mode_that_came_meanwhile(world):
    world.model("a", batch_max=2)
    world.model("b", priority=60)
    world.bring("a")
    world.ask("a")
    world.ask("a")
    world.ask("a")
    world.ended(1)
    world.switch("m", priority={"a": 80})
    world.ended(2, outcome=Outcome.FAILED, error="no memory", out_of_memory=True)
    (wait,) = world.scheduler.snapshot().waiting
    assert wait.priority == 80


def test_nobody_waits_for_who_goes_in_any_case_instead_of_making_room(world):
    world.model("off", 300, priority=10)
    world.model("dear", 700, priority=90)
    world.model("new", 500)
    world.bring("dear")
    world.ask("off")
    world.loaded("off")
    world.switch("m", disable=("off",))
    assert world.ask("new") == ["unload dear: make_room"]


@pytest.mark.parametrize("more", [{"peak": 650}, {"workspace": 350}])
def test_room_is_planned_for_the_load_and_for_a_run(world, more):
    world.model("a", 400)
    world.model("pin", 300, **more)
    world.bring("a")
    assert world.switch("m", pin=("pin",))[0] == "switch to m: -a pin"


def test_a_lease_held_by_somebody_less_important_is_taken_back_for_the_mode(world):
    world.model("a", 600)
    world.model("b", 600, priority=70)
    world.hold("a", priority=60)
    world.loaded("a")
    assert world.switch("m", pin=("b",)) == [
        "switch to m: -a b",
        "revoke 1: higher_priority",
        "finish 1 preempted: higher_priority",
    ]
    assert last(world, SwitchMode).unknown == (
        "how soon lease 1 lets go of a",
        "the unload of a",
        "the load of b",
    )
    assert world.ended(1) == ["unload a: make_room"]
    assert world.unloaded("a") == ["load b"]
    assert world.loaded("b") == ["mode m"]


def test_a_lease_of_somebody_more_important_stays_and_the_plan_says_what_is_missing(world):
    world.model("a", 600)
    world.model("b", 600)
    world.hold("a", priority=60)
    world.loaded("a")
    assert world.switch("m", pin=("b",)) == ["switch to m: b"]
    assert "200 B of unified more than can be freed now" in last(world, SwitchMode).unknown
    assert world.ended(1) == ["finish 1 completed", "unload a: make_room"]
    world.quiesce()
    assert world.states() == {"a": "unloaded", "b": "ready"}
    assert world.count("mode m") == 1


def test_a_rival_of_an_exclusive_group_goes_for_the_mode(world):
    world.model("a", 100, exclusive="g")
    world.model("b", 100, exclusive="g")
    world.bring("a")
    assert world.switch("m", pin=("b",)) == ["switch to m: -a b", "unload a: make_room"]
    world.unloaded("a")
    assert world.loaded("b") == ["mode m"]


def test_a_rival_that_cannot_go_yet_is_waited_for(world):
    world.model("a", 100, exclusive="g")
    world.model("b", 100, exclusive="g")
    world.hold("a", priority=90)
    world.loaded("a")
    assert world.switch("m", pin=("b",)) == ["switch to m: b"]
    assert last(world, SwitchMode).unknown[0] == "when an engine of an exclusive group can go"
    world.ended(1)
    world.quiesce()
    assert world.states() == {"a": "unloaded", "b": "ready"}


# -- disabled models ------------------------------------------------------------------------------


def test_a_disabled_model_is_refused_and_its_engine_goes(robot):
    robot.bring("speech")
    assert robot.switch("quiet", disable=("speech",)) == [
        "switch to quiet: -speech",
        "unload speech: model_disabled",
    ]
    assert robot.ask("speech") == ["finish 2 rejected: model_disabled"]
    assert robot.load("speech") == ["finish 3 rejected: model_disabled"]
    assert robot.hold("faces", "speech") == ["finish 4 rejected: model_disabled"]
    assert robot.unload("speech") == []
    assert robot.unloaded("speech") == ["finish 5 completed", "mode quiet"]
    assert seen(robot, "speech").disabled
    assert robot.switch(None) == ["switch to None:", "mode None"]
    robot.check_rest("speech")


def test_who_waits_for_a_disabled_model_is_refused_and_who_runs_may_end(robot):
    robot.ask("speech")
    robot.loaded("speech")
    robot.ask("speech")
    robot.hold("speech", "faces")
    assert robot.switch("quiet", disable=("speech",)) == [
        "switch to quiet: -speech",
        "finish 2 rejected: model_disabled",
        "finish 3 rejected: model_disabled",
    ]
    assert robot.ended() == ["finish 1 completed", "unload speech: model_disabled"]
    assert robot.unloaded("speech") == ["mode quiet"]


def test_a_lease_on_a_disabled_model_is_taken_back(robot):
    robot.hold("speech")
    robot.loaded("speech")
    robot.ask("speech", under_lease=1)
    robot.ask("speech", under_lease=1)
    said = robot.switch("quiet", disable=("speech",))
    assert said == [
        "switch to quiet: -speech",
        "finish 3 rejected: model_disabled",
        "revoke 1: model_disabled",
        "finish 1 preempted: model_disabled",
    ]
    robot.ended(2)
    assert robot.ended(1) == ["unload speech: model_disabled"]
    robot.unloaded("speech")
    robot.check_rest("faces")


def test_an_engine_that_loads_goes_as_soon_as_it_is_there(robot):
    robot.ask("speech")
    assert robot.switch("quiet", disable=("speech",), pin=("slam",)) == [
        "switch to quiet: -speech slam",
        "finish 1 rejected: model_disabled",
        "load slam",
    ]
    assert robot.loaded("speech") == ["unload speech: model_disabled"]
    robot.loaded("slam")
    assert robot.unloaded("speech") == ["mode quiet"]


def test_memory_that_a_disabled_model_gives_back_costs_nobody_else_his(robot):
    robot.ask("speech")
    robot.loaded("speech")
    robot.bring("faces")
    assert robot.switch("quiet", disable=("speech",), pin=("slam",)) == [
        "switch to quiet: -speech slam"
    ]
    assert robot.ended() == ["finish 1 completed", "unload speech: model_disabled"]
    assert robot.unloaded("speech") == ["load slam"]
    assert robot.states()["faces"] == "ready"


def test_a_pin_by_hand_rests_while_its_model_is_disabled(world):
    world.model("a", 300, pinned=True)
    world.loaded("a")
    assert world.switch("m", disable=("a",)) == ["switch to m: -a", "unload a: model_disabled"]
    assert world.unloaded("a") == ["mode m"]
    assert not seen(world, "a").pinned
    assert world.switch(None) == ["switch to None: a", "load a"]
    assert world.loaded("a") == ["mode None"]


def test_a_disabled_model_is_not_loaded_ahead_and_an_enabled_one_is(world):
    world.model("a", 300, deadline_ns=5 * MS)
    for ms in range(0, 500, 100):
        world.at(ms)
        world.ask("a")
        world.quiesce()
    world.at(510)
    world.switch("m", disable=("a",))
    world.unloaded("a")
    for ms in range(600, 1000, 100):
        world.at(ms)
        assert world.ask("a")[0].endswith("rejected: model_disabled")
    assert world.count("load a") == 1
    world.switch(None)
    world.at(1001)
    assert world.count("load a") == 2, "it is known from before when it will be wanted"


def test_what_was_to_be_loaded_ahead_is_not_once_it_is_disabled(world):
    world.model("a", 300, deadline_ns=5 * MS)
    world.model("full", 900)
    for ms in range(0, 500, 100):
        world.at(ms)
        world.ask("a")
        world.quiesce()
    world.at(510)
    world.unload("a")
    world.unloaded("a")
    for ms in range(600, 1000, 100):
        world.at(ms)
        world.ask("a")
        world.quiesce()
    world.check_rest("a")


# -- priorities -----------------------------------------------------------------------------------


def test_who_waits_is_served_in_the_order_of_the_new_mode(make_world):
    world = make_world(resources={"gpu": 1})
    world.model("gate", 100, uses={"gpu": 1})
    world.model("low", 100, uses={"gpu": 1}, priority=10)
    world.model("high", 100, uses={"gpu": 1}, priority=60)
    world.bring("gate", "low", "high")
    world.ask("gate")
    world.ask("high")
    world.ask("low")
    world.ask("low", priority=5)
    assert world.switch("m", priority={"low": 70}) == ["switch to m:", "mode m"]
    assert [w.request_id for w in world.scheduler.snapshot().waiting] == [6, 5, 7]
    assert world.ended() == ["finish 4 completed", "run low for 6"]
    assert seen(world, "low").priority == 70
    world.switch(None)
    assert seen(world, "low").priority == 10


def test_a_lease_without_a_priority_of_its_own_is_as_important_as_the_mode_says(world):
    world.model("a", 600, priority=80)
    world.model("b", 600, priority=50)
    world.hold("a")
    world.loaded("a")
    world.ask("b")
    assert world.outcome(1) == "-"
    assert world.switch("m", priority={"a": 20}) == [
        "switch to m:",
        "revoke 1: higher_priority",
        "finish 1 preempted: higher_priority",
        "mode m",
    ]
    world.quiesce()
    world.check_rest("a")


def test_a_lease_with_a_priority_of_its_own_keeps_it(world):
    world.model("a", 600)
    world.model("b", 600, priority=50)
    world.hold("a", priority=60)
    world.loaded("a")
    world.ask("b")
    assert world.switch("m", priority={"a": 20}) == ["switch to m:", "mode m"]
    assert world.scheduler.snapshot().leases[0].priority == 60


def test_victims_are_chosen_by_the_modes_priorities(world):
    world.model("a", 500, priority=90)
    world.model("b", 500, priority=10)
    world.bring("a", "b")
    world.switch("m", priority={"a": 0, "b": 90})
    world.model("c", 500)
    assert world.ask("c") == ["unload a: make_room"]


# -- refusals: nothing has changed ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"pin": ("slam", "faces", "speech")}, "never_fits"),
        ({"pin": ("slam", "nobody")}, "unknown_model"),
        ({"disable": ("nobody",)}, "unknown_model"),
        ({"priority": {"nobody": 3}}, "unknown_model"),
    ],
)
def test_a_mode_that_can_never_be_is_refused_and_changes_nothing(robot, overrides, code):
    robot.switch("before", pin=("faces",), priority={"slam": 3}, disable=("speech",))
    robot.loaded("faces")
    before = robot.scheduler.snapshot()
    assert robot.switch("m", **overrides) == [f"refuse mode m: {code}"]
    assert robot.scheduler.snapshot() == before
    assert last(robot, RefuseMode).reason.detail.startswith("mode m")


def test_pins_that_fit_together_but_could_not_run_beside_each_other_are_refused(world):
    world.model("a", 500, workspace=100)
    world.model("b", 450)
    assert world.switch("m", pin=("a", "b")) == ["refuse mode m: never_fits"]
    detail = "mode m: a never fits: needs 600 B, budget of unified is 1000 B less 450 B pinned by b"
    assert last(world, RefuseMode).reason.detail.startswith(detail)


def test_a_pin_by_hand_that_the_mode_leaves_no_room_for_refuses_it(world):
    world.model("a", 600, pinned=True)
    world.loaded("a")
    world.model("b", 500)
    assert world.switch("m", pin=("b",)) == ["refuse mode m: never_fits"]
    assert world.switch("n", pin=("b",), disable=("a",))[0] == "switch to n: -a b"


def test_pins_that_exclude_each_other_are_refused(world):
    world.model("a", 100, exclusive="g")
    world.model("b", 100, exclusive="g")
    assert world.switch("m", pin=("a", "b")) == ["refuse mode m: excluded_by_pin"]


def test_a_mode_is_refused_while_shutting_down_and_a_switch_under_way_ends_unsaid(robot):
    robot.switch("a", pin=("slam",))
    robot.tell(DrainRequested())
    robot.loaded("slam")
    robot.unloaded("slam")
    assert robot.count("mode a") == 0
    assert robot.switch("b") == ["refuse mode b: shutting_down"]
    assert robot.switch(None) == ["refuse mode None: shutting_down"]


def test_a_removed_model_is_unknown_to_a_mode(robot):
    robot.ask("slam")
    robot.loaded("slam")
    robot.tell(ModelRemoved("slam"))
    assert robot.switch("m", pin=("slam",)) == ["refuse mode m: unknown_model"]


# -- when it is reached ---------------------------------------------------------------------------


def test_a_pin_that_fails_to_load_is_said_to_be_missing_and_is_loaded_later(robot):
    robot.switch("docking", pin=("slam",))
    assert robot.load_failed("slam") == ["mode docking without slam"]
    assert robot.at(1000) == ["load slam"]
    assert robot.loaded("slam") == []


def test_a_pin_that_backs_off_is_missing_from_the_start(robot):
    robot.ask("slam")
    robot.load_failed("slam")
    said = robot.switch("docking", pin=("slam",))
    assert said == ["switch to docking: slam", "mode docking without slam"]
    assert "whether slam loads, which failed just now" in last(robot, SwitchMode).unknown


def test_an_engine_that_does_not_come_back_is_said_to_be_missing(world):
    world.model("hung", 300, run_timeout_ns=S)
    world.ask("hung")
    world.loaded("hung")
    assert world.switch("m", disable=("hung",)) == ["switch to m: -hung"]
    assert last(world, SwitchMode).within_ns == S
    assert last(world, SwitchMode).samples == 0, "a time limit was not seen"
    assert last(world, SwitchMode).unknown == ("the unload of hung",)
    assert world.at(1000)[-1] == "mode m without hung"


def test_an_engine_that_was_to_make_room_and_hangs_is_replaced_by_another(world):
    world.model("hung", 400, run_timeout_ns=S, priority=10)
    world.model("idle", 400, priority=90)
    world.model("pin", 500)
    world.ask("hung")
    world.loaded("hung")
    world.hold("idle", priority=40)
    world.loaded("idle")
    assert world.switch("m", pin=("pin",)) == ["switch to m: -hung pin"]
    said = world.at(1000)
    assert "revoke 2: higher_priority" in said


def test_a_pin_that_no_longer_fits_is_missing(robot):
    robot.bring("faces", "speech")
    robot.switch("docking", pin=("slam",))
    assert robot.tell(BudgetChanged(POOL, 450)) == []
    assert robot.unloaded("speech") == ["mode docking without slam"]


def test_a_second_switch_takes_the_place_of_the_first(robot):
    robot.bring("faces", "speech")
    robot.switch("docking", pin=("slam",))
    assert robot.switch("talking", pin=("faces",)) == ["switch to talking:", "mode talking"]
    assert robot.unloaded("speech") == []
    assert robot.count("mode docking") == 0
    robot.check_rest("slam")


def test_what_was_to_make_room_stays_when_somebody_pins_it(world):
    world.model("a", 400)
    world.model("held", 300)
    world.model("b", 400)
    world.hold("held", priority=90)
    world.loaded("held")
    world.ask("a")
    world.loaded("a")
    assert world.switch("m", pin=("b",)) == ["switch to m: -a b"]
    world.tell(PinChanged("a", pinned=True))
    assert world.ended(2) == ["finish 2 completed"]
    assert world.ask("a") == ["run a for 3"]


def test_the_bound_adds_up_what_was_seen_and_holds(world):
    world.model("a", 600)
    world.model("b", 600)
    world.pace = (100, 40, 30)
    for name in ("a", "b", "a"):
        world.ask(name)
        world.at(world.now / MS + 1000)
    world.ask("a")
    world.at(world.now / MS + 10)
    started = world.now
    assert world.switch("m", pin=("b",)) == ["switch to m: -a b"]
    plan = last(world, SwitchMode)
    assert (plan.within_ns, plan.unknown) == ((40 + 30 + 100) * MS, ())
    assert plan.samples == 1, "b was loaded once"
    world.at(world.now / MS + 1000)
    reached = last(world, AnnounceMode)
    assert reached.took_ns == (30 + 30 + 100) * MS
    assert reached.took_ns <= plan.within_ns
    assert started + reached.took_ns < world.now


def test_an_unload_under_way_is_part_of_the_bound(robot):
    robot.bring("slam")
    robot.at(1)
    robot.unload("slam")
    robot.at(21)
    robot.unloaded("slam")
    robot.at(30)
    robot.ask("slam")
    robot.at(80)
    robot.loaded("slam")
    robot.ended()
    robot.unload("slam")
    robot.switch("docking", pin=("slam",))
    plan = last(robot, SwitchMode)
    assert (plan.loads, plan.within_ns) == (("slam",), 70 * MS)


# -- what is registered, and the first mode -------------------------------------------------------


def test_the_first_mode_holds_from_the_start_and_for_models_that_come_later(make_world):
    mode = Mode(name="m", pin=("a",), priority={"b": 7}, disable=("c",))
    world = make_world(mode=mode)
    assert world.model("a", 300) == ["load a"]
    assert world.model("b", 300) == []
    assert world.model("c", 300, pinned=True) == []
    assert world.ask("c") == ["finish 1 rejected: model_disabled"]
    assert seen(world, "b").priority == 7
    assert world.scheduler.snapshot().mode == "m"
    assert world.scheduler.mode is mode


def test_a_model_that_comes_back_follows_the_mode(robot):
    robot.switch("docking", pin=("slam",))
    robot.loaded("slam")
    robot.tell(ModelRemoved("slam"))
    robot.unloaded("slam")
    assert robot.model("slam", 400) == ["load slam"]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(100, 450), min_size=3, max_size=6),
    pace=st.tuples(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90)),
    busy=st.sets(st.integers(0, 5)),
    pins=st.sets(st.integers(0, 5), max_size=3),
    disabled=st.sets(st.integers(0, 5), max_size=2),
    before_ms=st.integers(0, 200),
)
def test_where_all_is_known_a_switch_takes_no_longer_than_it_says(
    *, sizes, pace, busy, pins, disabled, before_ms
):
    world = World()
    names = "abcdef"[: len(sizes)]
    world.pace = pace
    for name, size in zip(names, sizes, strict=True):
        world.model(name, size)
        world.ask(name)
        world.at(world.now / MS + 500)
        world.unload(name)
        world.at(world.now / MS + 500)
    for index in sorted(busy):
        world.ask(names[index % len(names)])
    world.at(world.now / MS + before_ms)
    pinned = {names[index % len(names)] for index in pins}
    off = {names[index % len(names)] for index in disabled} - pinned
    said = world.switch("m", pin=tuple(sorted(pinned)), disable=tuple(sorted(off)))
    if said[0].startswith("refuse"):
        return
    plan = last(world, SwitchMode)
    world.at(world.now / MS + 5000)
    assert not plan.unknown or "more than can be freed now" in plan.unknown[0]  # Others still load.
    assert plan.unknown or last(world, AnnounceMode).took_ns <= plan.within_ns
    assert {name for name, state in world.states().items() if state == "ready"} >= pinned
    assert all(world.states()[name] == "unloaded" for name in off)
