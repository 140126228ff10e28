from __future__ import annotations

from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from scheduler.config import Config
from scheduler.core.admission import never
from scheduler.core.model import SECOND_NS
from scheduler.plan.budget import (
    MIB,
    ample_bytes,
    least_bytes,
    smallest_bytes,
    with_budget,
)
from scheduler.plan.plan import Plan
from scheduler.plan.planner import make_plan
from scheduler.plan.text import render_plan
from scheduler.plan.trial import Conditions, is_met, try_out
from scheduler.sim.simulation import simulate
from scheduler.trace.record import Record

Configured = Callable[[str], Config]
TURNS = """
memory: {budget: %s}
models:
  a: {engine: synthetic, options: {load: 50ms, infer: 5ms}, footprint: 100MiB, deadline: 60ms}
  b: {engine: synthetic, options: {load: 50ms, infer: 5ms}, footprint: 150MiB, deadline: 60ms}
sources:
  x: {model: a, from: synthetic, rate: 10Hz}
  y: {model: b, from: synthetic, rate: 10Hz}
"""
TOO_MUCH = """
memory: {budget: 300MiB}
resources: {gpu: 1}
models:
  a:
    engine: synthetic
    options: {load: 20ms, infer: 60ms}
    footprint: 100MiB
    deadline: 150ms
    uses: {gpu: 1}
sources:
  x: {model: a, from: synthetic, rate: 30Hz}
"""
PIN = """
memory: {budget: 300MiB}
models:
  rare:
    engine: synthetic
    options: {load: 80ms, infer: 5ms}
    footprint: 100MiB
    keep_alive: 500ms
    deadline: 50ms
  other: {engine: synthetic, options: {load: 10ms, infer: 5ms}, footprint: 100MiB}
sources:
  x: {model: rare, from: synthetic, rate: 0.3Hz, arrivals: poisson}
  y: {model: other, from: synthetic, rate: 3Hz}
"""
TEN = Conditions(10 * SECOND_NS)


def planned(config: Config, conditions: Conditions = TEN) -> Plan:
    return make_plan(config, {}, conditions)


def test_who_takes_turns_too_often_is_told_how_much_memory_would_do(configured: Configured) -> None:
    plan = planned(configured(TURNS % "200MiB"))
    assert plan.fits
    assert not plan.good
    assert plan.unmet == sum(model.unmet for model in plan.models.values()) > 50
    smallest = plan.memory["unified"].smallest_bytes
    assert smallest is not None
    # A load and a run take 55 of the 60 ms, so no time is left for an unload: both have to fit.
    assert 250 * MIB <= smallest <= 250 * MIB + max(MIB, smallest // 100)
    config = configured(TURNS % f"{smallest}B")
    assert planned(config).good
    assert not planned(configured(TURNS % f"{245 * MIB}B")).good


def test_enough_memory_is_good_and_says_from_where_on(configured: Configured) -> None:
    plan = planned(configured(TURNS % "2GiB"))
    assert plan.good
    assert plan.fixes == []
    smallest = plan.memory["unified"].smallest_bytes
    assert smallest is not None
    assert 250 * MIB <= smallest <= 253 * MIB
    assert plan.models["a"].met_share == 1
    assert plan.models["a"].worst_answer_ms == 55
    assert plan.models["a"].worst_wait_ms == 50


def test_more_than_can_be_run_needs_a_lower_rate(configured: Configured) -> None:
    plan = planned(configured(TOO_MUCH))
    assert not plan.good
    assert plan.memory["unified"].smallest_bytes is None
    assert plan.fixes[0].unmet == 0
    assert plan.fixes[0].change == "source x at 15 Hz"


def test_what_is_loaded_too_late_each_time_needs_a_pin(configured: Configured) -> None:
    plan = planned(configured(PIN), Conditions(60 * SECOND_NS))
    assert not plan.good
    assert plan.models["rare"].unmet > 5
    assert [fix.change for fix in plan.fixes if not fix.unmet] == ["pin rare"]


def test_a_pin_that_keeps_another_out_for_ever_is_not_offered(configured: Configured) -> None:
    text = PIN.replace("300MiB", "150MiB").replace("footprint: 100MiB}", "footprint: 140MiB}")
    plan = planned(configured(text.replace("rate: 3Hz", "rate: 0.1Hz")), Conditions(60 * SECOND_NS))
    assert plan.models["rare"].unmet > plan.models["other"].requests
    assert "pin rare" not in {fix.change for fix in plan.fixes}


def test_what_never_fits_is_no(configured: Configured) -> None:
    plan = planned(configured(TURNS % "120MiB"))
    assert not plan.fits
    assert not plan.good
    assert next(one.text for one in plan.findings if one.fatal).startswith("b never fits")
    assert plan.models["b"].met_share == 0


def test_what_comes_before_the_first_load_of_the_pinned_is_not_held_against_it(
    configured: Configured,
) -> None:
    text = (TURNS % "2GiB").replace("footprint: 100MiB,", "footprint: 100MiB, pinned: true,")
    plan = planned(configured(text.replace("options: {load: 50ms", "options: {load: 450ms")))
    assert plan.models["a"].at_start == 5
    assert plan.models["a"].unmet == 0
    assert plan.models["b"].at_start == 0
    assert plan.models["b"].unmet > 0  # Not pinned, so its first load counts.


def test_who_still_waits_at_the_end_has_waited_until_then(configured: Configured) -> None:
    text = TOO_MUCH.replace("infer: 60ms", "infer: 1m").replace("deadline: 150ms", "max_wait: 1m")
    plan = planned(configured(text.replace("30Hz", "0.25Hz")))
    assert plan.models["a"].requests == 3
    assert plan.models["a"].worst_wait_ms == 6000  # Asked at 4 s, not begun at 10 s.


def test_older_frames_that_a_newer_one_replaced_are_not_missed(configured: Configured) -> None:
    text = TOO_MUCH.replace("deadline: 150ms", "queue: {keep: latest}")
    plan = planned(configured(text))
    assert plan.good
    assert plan.models["a"].replaced > 50
    assert plan.models["a"].met_share == 1


def test_looking_for_the_first_miss_agrees_with_looking_to_the_end(configured: Configured) -> None:
    for budget in ("200MiB", "240MiB", "260MiB"):
        config = configured(TURNS % budget)
        settings = config.settings({})
        whole = try_out(config, settings, TEN)
        assert is_met(config, settings, TEN) is (whole.unmet == 0)


def test_equal_arguments_make_equal_plans(configured: Configured) -> None:
    config = configured(PIN)
    first = planned(config).model_dump_json()
    assert planned(config).model_dump_json() == first
    assert planned(config, Conditions(10 * SECOND_NS, seed=2)).model_dump_json() != first


def test_what_a_trace_asked_can_be_asked_again(configured: Configured) -> None:
    kept: list[Record] = []

    class Keeper:
        def observe(self, record: Record) -> None:
            kept.append(record)

    config = configured(TURNS % "200MiB")
    simulate(config, config.settings({}), duration_ns=TEN.duration_ns, observers=[Keeper()])
    silent = config.model_copy(update={"sources": {}})
    plan = planned(silent, Conditions(10 * SECOND_NS, arrivals=tuple(kept)))
    assert plan.models["a"].requests == 100
    assert plan.unmet > 50
    assert all(fix.change.startswith("pin") for fix in plan.fixes)
    assert plan.models["a"].no_bound == "a trace says when requests came"


def test_a_plan_is_one_screen(configured: Configured) -> None:
    console = Console(width=100, record=True, file=StringIO())
    for text in (TURNS % "200MiB", TOO_MUCH, PIN):
        console.print(render_plan(planned(configured(text))))
        lines = console.export_text().splitlines()
        assert 6 <= len(lines) <= 24
        assert lines[0].startswith("no: the set fits")


def test_frames_that_a_source_drops_are_told(configured: Configured) -> None:
    plan = planned(configured(TOO_MUCH.replace("deadline: 150ms", "deadline: 2s")))
    assert plan.good
    assert plan.sources["x"].dropped > 100
    assert plan.sources["x"].sent + plan.sources["x"].dropped <= 300
    console = Console(width=100, record=True, file=StringIO())
    console.print(render_plan(plan))
    assert f"x {plan.sources['x'].dropped} of " in console.export_text()


# -- the search -------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [101, 150, 399, 400])
def test_the_smallest_is_found_within_a_hundredth_and_in_few_trials(threshold: int) -> None:
    asked: list[int] = []

    def suffices(budget: int) -> bool:
        asked.append(budget)
        return budget >= threshold * MIB

    found = smallest_bytes(suffices, 100 * MIB, 400 * MIB)
    assert threshold * MIB <= found <= threshold * MIB + max(MIB, found // 100)
    assert len(asked) <= 10
    assert found in {*asked, 400 * MIB}


def test_the_least_is_taken_when_it_suffices() -> None:
    assert smallest_bytes(lambda _: True, 100 * MIB, 400 * MIB) == 100 * MIB
    assert smallest_bytes(lambda _: False, 500 * MIB, 400 * MIB) == 400 * MIB


def test_the_search_begins_where_every_model_just_fits(configured: Configured) -> None:
    config = configured((TURNS % "2GiB") + "scheduling: {queue_bytes: 7MiB}\n")
    models = {**config.models}
    models["a"] = models["a"].model_copy(update={"pinned": True})
    specs = {name: model.to_spec() for name, model in models.items()}
    settings = config.settings({})
    least = least_bytes(specs.values(), settings, "unified")
    assert least == (7 + 100 + 150) * MIB
    for budget, fits in ((least, True), (least - 1, False)):
        there = with_budget(settings, "unified", budget)
        assert all(never(spec, specs, there) is None for spec in specs.values()) is fits
    assert ample_bytes(specs.values(), settings, "unified") == (7 + 250) * MIB
