"""Models that may take several forms: which one, when it changes, and what is kept of each."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from scheduler.core import events as ev
from scheduler.core.choice import NEAR_NS
from scheduler.core.events import Measurement
from scheduler.core.fit import declared_fit
from scheduler.core.model import ModelSpec, PoolFootprint
from scheduler.core.outcome import Outcome
from scheduler.core.request import RequestKind
from scheduler.core.settings import PoolBudget, Settings
from tests.core.conftest import MS, POOL, World, form

S = 1000
TWO = [form("fp16", 600), form("int8", 300)]


def ask(world: World, model: str, at: float, **request: object) -> None:
    world.at(at)
    world.ask(model, **request)


@pytest.fixture
def paced(world: World) -> World:
    """Loads take 100 ms, runs 20 ms, unloads 10 ms."""
    world.pace = (100, 20, 10)
    return world


def variants(world: World) -> dict[str, str]:
    return {e.model: e.variant for e in world.scheduler.snapshot().engines if e.variant}


def places(world: World) -> dict[str, str]:
    return {e.model: e.device for e in world.scheduler.snapshot().engines if e.device}


# -- what is kept of each form ----------------------------------------------------------------


def test_what_was_measured_of_one_form_says_nothing_about_another(world):
    world.model("a", forms=TWO)
    world.ask("a")
    world.loaded("a", {POOL: Measurement(700)})
    assert world.reserved == 700
    world.ended()
    world.unload("a")
    world.unloaded("a")
    world.model("b", 600, pinned=True)
    world.loaded("b")
    assert world.ask("a") == ["load a as int8"]
    assert world.reserved == 600 + 300
    world.loaded("a")
    assert world.reserved == 600 + 300


def test_a_form_that_was_measured_to_be_larger_than_the_budget_is_not_taken_again(world):
    world.model("a", forms=TWO)
    world.ask("a")
    world.loaded("a", {POOL: Measurement(1100)})
    world.unloaded("a")
    assert variants(world) == {"a": "int8"}


def test_the_form_is_seen_while_the_engine_is_in_memory(world):
    world.model("a", forms=TWO)
    world.model("b")
    assert variants(world) == {}
    world.bring("a", "b")
    assert variants(world) == {"a": "fp16"}
    world.unload("a")
    world.unloaded("a")
    assert variants(world) == {}


def test_a_form_in_a_pool_that_does_not_exist_is_refused_with_the_model(world):
    with pytest.raises(ValueError, match="no memory pool 'cuda:0'"):
        world.scheduler.handle(
            ev.ModelRegistered(_spec("a", [form("x", 10), form("y", 10, "cuda:0")])), 0
        )
    assert world.states() == {}


def test_what_a_load_takes_by_declaration_is_its_peak_or_what_stays():
    assert PoolFootprint(resident_bytes=5, load_peak_bytes=7).loading_bytes == 7
    assert PoolFootprint(resident_bytes=5).loading_bytes == 5


# -- which one --------------------------------------------------------------------------------


def test_who_is_long_gone_needs_no_room_beside_a_form(paced):
    paced.model("a", 500)
    paced.model("b", forms=TWO)
    ask(paced, "a", 0)
    ask(paced, "b", 11 * S)
    paced.at(12 * S)
    assert variants(paced) == {"b": "fp16"}


def test_who_was_asked_for_a_moment_ago_has_room_beside_a_form(paced):
    paced.model("a", 500)
    paced.model("b", forms=TWO)
    ask(paced, "a", 0)
    ask(paced, "b", 9 * S)
    paced.at(20 * S)
    assert paced.count("unload") == 0
    assert variants(paced) == {"b": "int8"}


def test_who_is_expected_in_a_moment_has_room_beside_a_form_though_it_is_not_there(paced):
    paced.model("a", 500)
    paced.model("b", forms=TWO)
    for second in (0, 15, 30, 45, 60):
        ask(paced, "a", second * S)
    paced.at(61 * S)
    paced.unload("a")  # An operator's word: nobody expects it after that.
    ask(paced, "b", 72 * S)
    assert variants(paced) == {"b": "fp16"}


def test_who_is_expected_on_its_beat_is_given_room_before_it_comes(paced):
    paced.model("a", 500, keep_alive_ns=0)
    paced.model("b", forms=TWO)
    for second in (0, 15, 30, 45, 60):
        ask(paced, "a", second * S)
    ask(paced, "b", 70.5 * S)
    paced.at(71 * S)
    assert variants(paced) == {"b": "int8"}


def test_a_model_that_is_being_removed_needs_no_room(world):
    world.model("a", 500)
    world.model("b", forms=TWO)
    world.ask("a")
    world.loaded("a")
    world.tell(ev.ModelRemoved("a"))
    assert world.ask("b") == []
    assert world.ended(1) == ["finish 1 completed", "unload a: model_removed"]
    assert world.unloaded("a") == ["load b as fp16"]


def test_who_can_never_be_served_takes_no_room_from_a_form(world):
    world.model("never", 2000)
    world.model("b", forms=TWO)
    world.ask("never")
    assert world.ask("b") == ["load b as fp16"]


def test_where_all_have_to_take_turns_the_best_form_is_taken(paced):
    """The small ones would not fit together either: they would be worse, and swap as often."""
    paced.model("a", forms=[form("fp16", 900), form("int8", 600)])
    paced.model("b", forms=[form("fp16", 900), form("int8", 600)])
    for i in range(8):
        ask(paced, "ab"[i % 2], 500 * i)
    paced.at(10 * S)
    assert paced.count("load a as fp16") == paced.count("load b as fp16") == 4


def test_where_all_have_to_take_turns_the_form_is_taken_that_sends_fewest_away(paced):
    for name in "abc":
        paced.model(name, forms=[form("fp16", 700), form("int8", 400)])
    ask(paced, "a", 0)
    ask(paced, "b", 500)
    ask(paced, "a", 1000)
    before = paced.count("unload")
    ask(paced, "c", 1500)
    paced.at(2000)
    assert paced.count("load c as int8") == 1
    assert paced.count("unload") == before + 1


def test_what_the_machine_has_left_counts_too(world):
    world.model("a", forms=TWO)
    world.tell(ev.MemorySampled(POOL, 400))
    assert world.ask("a") == ["load a as int8"]


def test_who_cannot_have_any_form_now_waits_for_one_that_it_can_have_at_all(world):
    world.model("a", forms=[form("fp32", 1200), *TWO])
    world.model("b", 900)
    world.hold("b")
    world.loaded("b")
    assert world.ask("a") == []
    assert world.ended(1) == ["finish 1 completed", "unload b: make_room"]
    assert world.unloaded("b")[0].startswith("load a as ")


def test_a_form_in_which_a_batch_is_too_large_is_passed_over(world):
    per_item = [form("fp16", 600, per_item=200), form("int8", 300, per_item=100)]
    world.model("a", forms=per_item, batch_max=4)
    assert world.ask("a", items=4) == ["load a as int8"]
    world.loaded("a")
    assert world.ask("a", items=20) == [f"finish {world.requests} rejected: never_fits"]


def test_a_form_that_runs_too_long_for_the_deadline_is_passed_over(world):
    world.model("a", forms=TWO, keep_alive_ns=0)
    for i in range(3):
        world.at(S * i)
        world.ask("a")
        world.loaded("a")
        world.at(S * i + 200)
        world.ended()
        world.unloaded("a")
    world.at(10 * S)
    assert world.ask("a", deadline=150) == ["load a as int8"]
    world.loaded("a")
    world.ended()
    world.unloaded("a")
    world.at(80 * S)  # What is known is old, and may be wrong by now.
    world.ask("a", deadline=150)
    assert variants(world) == {"a": "fp16"}


def test_no_load_is_spent_on_a_deadline_that_no_form_can_meet(world):
    world.model("a", forms=TWO, keep_alive_ns=0)
    for i, deadline in enumerate((None, 300)):
        world.at(S * i)
        world.ask("a", **({} if deadline is None else {"deadline": deadline}))
        world.at(S * i + 350 - 100 * i)
        world.loaded("a")
        world.at(S * i + 360 - 100 * i)
        world.ended()
        world.unloaded("a")
    assert [d for d in world.decisions if "variant" in dir(d)][-1].variant == "int8"
    assert world.ask("a", deadline=200) == [
        f"finish {world.requests} deadline_missed: deadline_unreachable"
    ]


def teach(world: World, model: str, *times: tuple[int, int]) -> None:
    """Let each form of a model have taken so many ms to load, and to run, three times each."""
    for core in (world.scheduler, world.slow):
        for figures, (load_ms, run_ms) in zip(core._state.engines[model].forms, times, strict=True):
            for _ in range(3):
                figures.load_times.add(load_ms * MS, 0)
                figures.run_times.add(run_ms * MS, 0)


def test_of_two_forms_that_is_quickest_which_loads_and_runs_soonest(world):
    world.model("a", forms=TWO)
    teach(world, "a", (100, 200), (200, 50))
    assert world.ask("a", deadline=249) == ["finish 1 deadline_missed: deadline_unreachable"]
    assert world.ask("a", deadline=250) == ["load a as int8"]


def test_a_request_to_load_takes_the_best_form_however_long_it_runs(world):
    world.model("a", forms=TWO)
    teach(world, "a", (20, 50), (20, 1))
    assert world.ask("a", kind=RequestKind.LOAD, deadline=30) == ["load a as fp16"]


# -- changing it ------------------------------------------------------------------------------


def small_first(world: World, **rules: object) -> None:
    """Have `a` in its small form, and nobody in demand but `a` itself, every two seconds."""
    world.model("a", forms=TWO, **rules)
    world.model("b", 500)
    ask(world, "b", 0)
    ask(world, "a", 1 * S)
    ask(world, "a", 3 * S)
    world.unload("b")


def streamed(world: World, until: int, first: int = 5, **request: object) -> None:
    for second in range(first, until, 2):
        ask(world, "a", second * S, **request)


def test_an_engine_takes_a_better_form_once_it_has_fitted_for_a_while(paced):
    small_first(paced)
    streamed(paced, 40)
    assert paced.count("load a as fp16") == 1
    (changed_ns,) = [
        at
        for at, made in zip(paced.times, paced.decisions, strict=True)
        if getattr(getattr(made, "reason", None), "code", "") == "change_form"
    ]
    assert changed_ns >= 1 * S * MS + NEAR_NS
    paced.at(60 * S)
    paced.check_rest("a")


@pytest.mark.parametrize(
    ("better", "beside"),
    [
        ({"per_item": 400}, {}),  # one at a time is enough
        ({}, {"peak": 500}),  # who is there does not load again
    ],
)
def test_what_need_not_be_free_at_once_keeps_no_engine_from_a_better_form(
    make_world, better, beside
):
    """The two are 800 together; what an engine has in its present form is not counted as well."""
    world = make_world(850)
    world.pace = (100, 20, 10)
    world.model("a", forms=[form("fp16", 600, **better), form("int8", 300)])
    world.model("b", 200, **beside)
    world.model("c", 500)
    world.ask("c")
    ask(world, "a", 1 * S)
    assert variants(world) == {"a": "int8"}
    world.unload("c")
    ask(world, "b", 3 * S)
    for second in range(3, 40, 2):
        ask(world, "a", second * S + 500)
        ask(world, "b", second * S + 1000)
    assert variants(world) == {"a": "fp16"}


def test_an_engine_that_nobody_expects_keeps_its_form(paced):
    small_first(paced)
    paced.at(100 * S)
    assert paced.count("load a") == 1


def test_an_engine_that_nobody_expects_any_more_keeps_its_form(paced):
    small_first(paced)
    streamed(paced, 10)
    paced.at(100 * S)
    assert paced.count("load a") == 1


@pytest.mark.parametrize(("deadline", "changes"), [(60, 1), (30, 0)])
def test_a_change_of_form_costs_no_deadline(paced, deadline, changes):
    """Back in 120 ms at the earliest, with a frame every 100 ms."""
    paced.model("a", forms=TWO, deadline_ns=deadline * MS)
    paced.model("b", 500)
    paced.load("a")
    paced.at(200)
    paced.unload("a")
    ask(paced, "b", 300)
    paced.at(500)
    paced.load("a")
    paced.at(700)
    assert variants(paced) == {"a": "int8"}
    paced.unload("b")
    for frame in range(300):
        ask(paced, "a", 1 * S + 100 * frame)
    assert paced.count("load a as fp16") == 1 + changes
    assert {paced.outcome(i) for i in range(6, paced.requests)} == {"completed"}


def test_a_form_does_not_change_while_somebody_waits(paced):
    small_first(paced)
    paced.model("c", 100, batch_max=8, batch_wait_ns=60_000 * MS, max_wait_ns=60_000 * MS)
    paced.load("c")
    ask(paced, "a", 10.5 * S)
    paced.ask("c")
    streamed(paced, 40, first=11)
    assert paced.count("load a as fp16") == 0


def test_a_run_that_is_about_to_end_only_delays_the_change(world):
    world.model("a", forms=TWO)
    world.model("b", 500)
    world.ask("b")
    world.loaded("b")
    world.ended()
    world.ask("a")
    world.loaded("a")
    world.ended()
    world.unload("b")
    world.unloaded("b")
    for second in (2, 4, 6):
        ask(world, "a", second * S)
        world.ended()
    ask(world, "a", 15.9 * S)
    assert world.at(16.1 * S) == []
    assert world.ended() == [f"finish {world.requests} completed", "unload a: change_form"]
    assert world.unloaded("a") == ["load a as fp16"]


def test_an_engine_that_is_lost_while_it_runs_is_not_looked_at_any_more(world):
    world.model("a", forms=TWO)
    world.model("b", 500, pinned=True)
    world.loaded("b")
    for second in (0, 2, 4, 6):
        ask(world, "a", second * S)
        if second == 0:
            world.loaded("a")
        world.ended()
    ask(world, "a", 15.9 * S)
    world.at(16.1 * S)
    world.lost("a")
    world.at(60 * S)
    assert world.count("load a") <= 2


def test_a_better_form_that_would_push_somebody_out_is_not_taken(paced):
    paced.model("a", forms=TWO)
    paced.model("b", 500)
    paced.load("b")
    paced.at(200)
    paced.ask("a")
    paced.at(400)
    assert variants(paced) == {"a": "fp16"}  # Asked for, and nobody is in demand: it may.
    paced.load("b")
    paced.at(600)
    ask(paced, "b", 700)
    ask(paced, "a", 900)
    streamed(paced, 60)
    assert variants(paced) == {"a": "int8"}
    assert paced.states()["b"] == "ready"


def test_with_held_leases_of_the_lesser_an_engine_can_still_be_made_to_change(world):
    world.model("a", forms=[form("fp16", 600, per_item=200), form("int8", 300, per_item=100)])
    world.hold("a", priority=10)
    world.loaded("a")
    assert world.ask("a", items=4) == [
        "revoke 1: higher_priority",
        "finish 1 preempted: higher_priority",
    ]
    assert world.ended(1) == ["unload a: change_form"]
    assert world.unloaded("a") == ["load a as int8"]


def test_runs_that_were_called_off_count_only_until_one_ends_well(world):
    world.model("a", forms=TWO, deadline_ns=50 * MS)
    world.bring("a")
    for second in range(1, 60, 2):
        ask(world, "a", second * S)
        is_late = second in {1, 3, 5}
        world.at(second * S + (60 if is_late else 20))
        world.ended(outcome=Outcome.CANCELLED if is_late else Outcome.COMPLETED)
    assert world.count("finish") - world.count("finish 1 ") == 30
    assert world.count("load a") == 1


# -- pins -------------------------------------------------------------------------------------


def test_a_pinned_engine_changes_its_form_only_when_nobody_uses_it(world):
    world.model("a", forms=TWO, pinned=True)
    world.loaded("a")
    world.ask("a")
    assert world.model("b", 500) == []
    assert world.ended() == ["finish 1 completed", "unload a: change_form"]
    assert world.unloaded("a") == ["load a as int8"]


def test_nothing_is_refused_for_a_pinned_engine_that_could_be_smaller(world):
    world.model("a", forms=TWO, pinned=True)
    world.model("b", 500)
    assert world.ask("b") == []
    assert world.loaded("a") == ["unload a: change_form"]
    assert world.unloaded("a") == ["load a as int8", "load b"]
    assert world.ask("b", items=1) == []


def test_pinned_engines_find_forms_that_fit_together_the_most_important_the_best(world):
    world.model("a", forms=TWO, pinned=True, priority=40)
    world.loaded("a")
    world.model("b", forms=TWO, pinned=True, priority=60)
    world.quiesce()
    assert variants(world) == {"a": "int8", "b": "fp16"}


def test_a_pin_that_leaves_no_room_for_somebody_leaves_it_to_the_other_pins_at_least(world):
    world.model("a", forms=TWO, pinned=True)
    world.loaded("a")
    assert world.model("b", 900) == []  # Not even beside the small one.
    assert world.ask("b") == [f"finish {world.requests} rejected: never_fits"]


def test_pins_that_cannot_be_together_in_any_form_stay_as_they_are(world):
    world.model("a", forms=TWO, pinned=True)
    world.loaded("a")
    assert world.model("b", forms=[form("fp16", 900), form("int8", 800)], pinned=True) == []
    assert world.at(60 * S) == []


def test_a_pinned_engine_that_is_pinned_where_it_is_stays_there(make_world):
    world = make_world(
        pools={"x": PoolBudget(budget_bytes=1000), "y": PoolBudget(budget_bytes=900)}
    )
    forms = [form("", 600, pool, pool) for pool in "xy"]
    world.model("a", forms=forms)
    world.model("b", forms=forms)
    world.bring("a", "b")
    assert places(world) == {"a": "x", "b": "y"}
    assert world.tell(ev.PinChanged("b", pinned=True)) == []
    assert world.tell(ev.PinChanged("a", pinned=True)) == []


# -- several at once --------------------------------------------------------------------------


def test_a_lease_on_several_engines_that_fit_in_no_forms_together_is_refused_for_good(world):
    world.model("a", forms=TWO)
    world.model("b", forms=[form("fp16", 900), form("int8", 800)])
    assert world.hold("a", "b") == ["finish 1 rejected: never_fits"]
    assert "not even as int8 and as int8" in str(world.outcomes[1].reason)


def test_a_lease_on_several_engines_is_not_refused_for_the_forms_they_have_now(world):
    world.model("a", forms=TWO)
    world.model("b", 700)
    world.bring("a")
    assert world.hold("a", "b") == ["unload a: change_form"]
    world.unloaded("a")
    assert variants(world) == {"a": "int8"}


# -- ahead of any request ---------------------------------------------------------------------


def test_a_form_is_chosen_for_an_engine_that_is_loaded_ahead_too(paced):
    paced.model("a", forms=TWO, deadline_ns=50 * MS)
    paced.model("b", 500)
    paced.model("c", 600)
    paced.load("a")
    paced.at(500)
    paced.load("b")
    paced.at(1000)
    for second in range(2, 8):
        ask(paced, "b", second * S)
        ask(paced, "a", second * S + 100)
    paced.load("c")
    paced.at(9 * S)
    assert paced.count("load a as int8") >= 1


def _spec(name, forms):
    first, *others = forms
    return ModelSpec(
        name=name,
        footprint=first.footprint,
        variant=first.variant,
        alternatives=tuple(others),
    )


# -- units and batches ------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [1, -1])
def test_a_form_that_takes_more_units_than_there_are_is_no_form(make_world, turn):
    world = make_world(resources={"gpu": 1})
    world.model("a", forms=[form("fp16", 600, uses={"gpu": 2}), form("int8", 300)][::turn])
    assert world.ask("a") == ["load a as int8"]
    world.loaded("a")
    world.at(60 * S)
    assert world.ended() == ["finish 1 completed"]
    assert world.states() == {"a": "ready"}
    world.check_rest("a")


def test_a_pinned_engine_takes_no_form_that_can_never_run(make_world):
    world = make_world(resources={"gpu": 1})
    forms = [form("fp16", 600, uses={"gpu": 2}), form("int8", 300, uses={"gpu": 1})]
    assert world.model("a", forms=forms, pinned=True) == ["load a as int8"]


def test_what_has_enough_units_in_no_form_is_refused_at_the_door(make_world):
    world = make_world(resources={"gpu": 1})
    world.model("a", forms=[form("fp16", 600, uses={"gpu": 3}), form("int8", 300, uses={"gpu": 2})])
    assert world.ask("a") == ["finish 1 rejected: never_enough_units"]
    assert str(world.outcomes[1].reason) == (
        "a never runs, not even as int8: it uses gpu: 2, and resources has gpu: 1"
    )


def test_units_of_one_device_are_not_those_of_another(make_world):
    pools = {f"cuda:{i}": PoolBudget(budget_bytes=1000) for i in range(2)}
    world = make_world(pools=pools, resources={"cuda:0": 1, "cuda:1": 1})
    placed = [form("", 600, pool, pool, uses={pool: 1}) for pool in pools]
    world.model("a", forms=placed)
    world.model("b", forms=placed)
    here = {"cuda:0": PoolFootprint(resident_bytes=100)}
    world.model("c", footprint=here, uses={"cuda:0": 1})
    world.bring("a", "b", "c")
    assert world.ask("a") == ["run a for 4"]
    assert world.ask("b") == ["run b for 5"]
    assert world.ask("c") == []
    assert world.waits_for(6) == "waits_for_units"
    world.quiesce()
    assert world.scheduler.snapshot().resources_in_use == {"cuda:0": 0, "cuda:1": 0}


def test_a_batch_waits_as_its_form_says(make_world):
    world = make_world()
    forms = [form("fp16", 1200), form("int8", 300, batch_max=4, batch_wait_ns=5 * MS)]
    world.model("a", forms=forms)
    world.bring("a")
    assert world.ask("a") == []
    assert world.waits_for(2) == "waits_for_batch"
    world.at(5)
    assert world.count("run a for 2") == 1


def test_a_batch_that_was_halved_grows_up_to_what_its_form_allows(make_world):
    world = make_world()
    world.model("a", forms=[form("fp16", 1200, batch_max=16), form("int8", 300, batch_max=4)])
    world.bring("a")
    for _ in range(5):
        world.ask("a")
    world.ended()
    assert world.count("run a for 3,4,5,6") == 1
    world.ended(outcome=Outcome.FAILED, error="no room", out_of_memory=True)
    assert world.scheduler.snapshot().engines[0].batch_limit == 2
    for _ in range(40):
        world.quiesce()
        world.ask("a")
    assert world.scheduler.snapshot().engines[0].batch_limit is None


def test_the_more_important_of_two_pinned_has_its_best_form():
    """As it is declared: there is room for one of the large forms beside a small one."""
    settings = Settings(pools={POOL: PoolBudget(budget_bytes=1000)})
    specs = {
        name: replace(_spec(name, TWO), pinned=True, priority=priority)
        for name, priority in (("less", 10), ("more", 90))
    }
    placed = declared_fit(specs, settings).pinned
    assert {name: figures.form.variant for name, figures in placed.items()} == {
        "more": "fp16",
        "less": "int8",
    }


def test_who_is_in_no_memory_is_in_no_place():
    world = World(pools={name: PoolBudget(budget_bytes=1000) for name in ("cuda:0", "cuda:1")})
    there = [form("", 300, name, device=name) for name in ("cuda:0", "cuda:1")]
    world.model("a", forms=there)
    assert places(world) == {}
    world.bring("a")
    assert places(world) == {"a": "cuda:0"}
