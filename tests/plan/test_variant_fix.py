"""A smaller variant as what would fix it, and what is bounded of models with several forms."""

from __future__ import annotations

from collections.abc import Callable

from scheduler.config import Config
from scheduler.core.model import SECOND_NS
from scheduler.plan.analysis import Analysis
from scheduler.plan.budget import ample_bytes, least_bytes
from scheduler.plan.planner import make_plan
from scheduler.plan.trial import Conditions, try_out

MIB = 1024**2
TOO_SLOW = """
memory: {budget: 300MiB}
resources: {gpu: 1}
scheduling: {queue_bytes: none}
models:
  a:
    engine: synthetic
    options: {load: 20ms, infer: 60ms, memory: 100MiB}
    footprint: 100MiB
    deadline: 150ms
    uses: {gpu: 1}
    variants:
      - {name: half, options: {infer: 45ms}, footprint: 60MiB}
      - {name: int8, options: {infer: 15ms}, footprint: 40MiB}
  rest:
    engine: synthetic
    options: {load: 5ms, infer: 1ms}
    footprint: 10MiB
    pinned: true
    uses: {gpu: 1}
sources:
  x: {model: a, from: synthetic, rate: 30Hz}
  y: {model: rest, from: synthetic, rate: 1Hz}
"""
TEN = Conditions(10 * SECOND_NS)


def test_a_variant_that_keeps_up_is_proposed_and_does(configured: Callable[[str], Config]) -> None:
    config = configured(TOO_SLOW)
    plan = make_plan(config, {}, TEN)
    assert plan.unmet > 50
    (fix,) = [fix for fix in plan.fixes if fix.change == "a as int8 at best"]
    assert not fix.unmet
    models = {**config.models, "a": config.models["a"].as_variant("int8")}
    changed = config.model_copy(update={"models": models})
    assert not try_out(changed, changed.settings({}), TEN).unmet


def test_where_no_variant_is_declared_none_is_proposed(configured: Callable[[str], Config]) -> None:
    lines = [
        line for line in TOO_SLOW.splitlines() if "name:" not in line and "variants" not in line
    ]
    plan = make_plan(configured("\n".join(lines)), {}, TEN)
    assert plan.unmet
    assert not [fix for fix in plan.fixes if "at best" in fix.change]


def test_the_search_for_a_budget_begins_where_each_fits_in_some_form(
    configured: Callable[[str], Config],
) -> None:
    config = configured(TOO_SLOW)
    specs = [model.to_spec() for model in config.models.values()]
    settings = config.settings({})
    assert least_bytes(specs, settings, "unified") == 50 * MIB
    assert ample_bytes(specs, settings, "unified") == 110 * MIB


def test_nothing_is_promised_of_what_can_change_its_form(
    configured: Callable[[str], Config],
) -> None:
    pinned = configured(TOO_SLOW.replace("deadline: 150ms", "pinned: true"))
    analysis = Analysis(pinned, pinned.settings({}))
    assert analysis.bound("a").why_not == "it can change its form"
    assert analysis.bound("rest").why_not == "a can change its form"


def test_a_bound_counts_the_slowest_form_of_those_who_may_have_just_begun(
    configured: Callable[[str], Config],
) -> None:
    text = TOO_SLOW.replace("pinned: true", "pinned: true\n    priority: critical")
    config = configured(text)
    bound = Analysis(config, config.settings({})).bound("rest")
    assert bound.answer_ns == 61_000_000
