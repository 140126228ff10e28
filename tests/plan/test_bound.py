from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.config import Config
from scheduler.core.model import SECOND_NS
from scheduler.plan.analysis import Analysis
from scheduler.plan.bound import Stream, worst_answer_ns
from scheduler.plan.trial import Conditions, try_out

ROBOT = """
memory: {budget: 400MiB}
resources: {gpu: 1}
defaults: {uses: {gpu: 1}, deadline: 200ms}
models:
  slam:
    engine: synthetic
    options: {load: 50ms, infer: 8ms}
    footprint: 40MiB
    priority: 90
    pinned: true
  faces:
    engine: synthetic
    options: {load: 50ms, infer: 12ms}
    footprint: 40MiB
    priority: 60
    pinned: true
  text: {engine: synthetic, options: {load: 90ms, infer: 30ms}, footprint: 140MiB}
sources:
  scan: {model: slam, from: synthetic, rate: 20Hz, jitter: 5ms}
  camera: {model: faces, from: synthetic, rate: 30Hz}
  words: {model: text, from: synthetic, rate: 2Hz, arrivals: poisson}
"""
MS = 1_000_000


def test_the_example_of_davis_and_others_has_its_worst_answer_in_the_second_instance() -> None:
    """A, B and C of table 1: runs of 1 ms, periods of 2.5, 3.5 and 3.5 ms."""
    a, b, c = (Stream(period_ns, 0, 1_000_000) for period_ns in (2_500_000, 3_500_000, 3_500_000))
    assert worst_answer_ns(a, [], 1_000_000) == 2_000_000
    assert worst_answer_ns(b, [a], 1_000_000) == 3_000_000
    assert worst_answer_ns(c, [a, b], 0) == 3_500_000


def test_the_most_important_waits_for_one_run_of_another_and_its_own() -> None:
    assert worst_answer_ns(Stream(100, 0, 10), [], 30) == 40


def test_jitter_lets_two_come_at_once() -> None:
    assert worst_answer_ns(Stream(100, 0, 10), [], 0) == 10
    assert worst_answer_ns(Stream(100, 100, 10), [], 0) == 20


def test_more_than_can_be_run_has_no_bound() -> None:
    assert worst_answer_ns(Stream(100, 0, 50), [Stream(100, 0, 50)], 0) is None
    assert worst_answer_ns(Stream(100, 0, 50), [Stream(100, 0, 49)], 0) is not None


def bound_of(config: Config, name: str) -> tuple[float | None, str]:
    bound = Analysis(config, config.settings({})).bound(name)
    return None if bound.answer_ns is None else bound.answer_ns / MS, bound.why_not


def test_the_bounds_of_a_robot(configured: Callable[[str], Config]) -> None:
    config = configured(ROBOT)
    assert bound_of(config, "slam") == (38, "")  # A run of text has just begun: 30 + 8.
    assert bound_of(config, "faces") == (50, "")  # And one of slam comes before it: 30 + 8 + 12.
    assert bound_of(config, "text") == (None, "it is not pinned")


@pytest.mark.parametrize(
    ("old", "new", "why_not"),
    [
        ("budget: 400MiB", "budget: 219MiB", "others can have the memory of unified"),
        ("resources: {gpu: 1}", "resources: {gpu: 2}", "several can run on gpu at a time"),
        ("rate: 20Hz, jitter: 5ms", "rate: 20Hz, arrivals: poisson", "slam do not come at a"),
        ("rate: 20Hz, jitter: 5ms", "rate: 20Hz, lease: {ttl: 1s}", "slam can gather"),
        ("rate: 20Hz, jitter: 5ms", "rate: 200Hz", "more is asked than can be run"),
        ("  scan: {model: slam, from: synthetic, rate: 20Hz, jitter: 5ms}\n", "", "no source"),
        ("rate: 2Hz, arrivals: poisson", "rate: 2Hz, deadline: none", "text can grow old"),
        ("rate: 2Hz, arrivals: poisson", "rate: 2Hz, deadline: 11s", "text can grow old"),
        ("memory:", "scheduling: {policy: fifo}\nmemory:", "the policy fifo knows no priorities"),
        ("priority: 90\n    pinned: true", "priority: 90\n", "it is not pinned"),
        ("priority: 90\n", "priority: 90\n    batch: {max: 2, wait: 1ms}\n", "slam waits for its"),
        ("priority: 90\n", "priority: 90\n    uses: {gpu: 1, dla: 1}\n", "more than one resource"),
        ("rate: 20Hz, jitter: 5ms", "rate: 20Hz, jitter: 80ms", "can gather at their source"),
    ],
)
def test_a_bound_stands_only_on_what_it_assumes(
    configured: Callable[[str], Config], old: str, new: str, why_not: str
) -> None:
    text = ROBOT.replace(old, new)
    assert text != ROBOT
    text = text.replace("resources: {gpu: 1}", "resources: {gpu: 1, dla: 1}")
    bound, why = bound_of(configured(text), "slam")
    assert bound is None
    assert why_not in why


def test_who_comes_before_must_be_pinned_too(configured: Callable[[str], Config]) -> None:
    text = ROBOT.replace("priority: 90\n    pinned: true", "priority: 90")
    assert bound_of(configured(text), "faces") == (
        None,
        "requests of slam can gather while they wait for it",
    )


def test_what_uses_nothing_waits_for_itself_alone(configured: Callable[[str], Config]) -> None:
    text = ROBOT.replace("priority: 90\n", "priority: 90\n    uses: {}\n")
    assert bound_of(configured(text), "slam") == (8, "")


def test_a_form_of_another_that_uses_the_same_is_waited_for(
    configured: Callable[[str], Config],
) -> None:
    """Whichever form `text` takes: its large one runs longer, in batches of its own."""
    small = "{name: int8, options: {infer: 10ms}, footprint: 40MiB, uses: {gpu: 1}}"
    text = ROBOT.replace(
        "footprint: 140MiB}", f"footprint: 140MiB, batch: {{max: 3}}, variants: [{small}]}}"
    )
    assert bound_of(configured(text), "slam") == (42, "")  # 30, two items of 2 ms each, and 8.
    text = text.replace("140MiB, batch", "140MiB, uses: {}, batch")
    assert bound_of(configured(text), "slam") == (42, "")  # It cannot be told which it will be.
    text = text.replace("footprint: 40MiB, uses: {gpu: 1}", "footprint: 40MiB")
    assert bound_of(configured(text), "slam") == (20, "")  # Only a run of faces: 12 + 8.


def test_a_batch_is_one_run_of_its_largest_size(configured: Callable[[str], Config]) -> None:
    text = ROBOT.replace("priority: 90\n", "priority: 90\n    batch: {max: 3}\n")
    assert bound_of(configured(text), "slam") == (42, "")  # Two more items of 2 ms each.


def test_age_changes_nothing_for_the_critical(configured: Callable[[str], Config]) -> None:
    text = ROBOT.replace("priority: 90", "priority: critical").replace(
        "rate: 2Hz, arrivals", "rate: 2Hz, deadline: none, arrivals"
    )
    assert bound_of(configured(text), "slam") == (38, "")


def test_times_that_nobody_wrote_down_bound_nothing(configured: Callable[[str], Config]) -> None:
    config = configured(ROBOT)
    models = {**config.models}
    models["text"] = models["text"].model_copy(update={"options": {}})
    assert bound_of(config.model_copy(update={"models": models}), "slam") == (
        None,
        "the run times of those who use gpu are not written down",
    )


@st.composite
def robots(draw: st.DrawFn) -> str:
    """Pinned models on one gpu with steady sources, and one that is not, at random."""
    lines = ["memory: {budget: 2GiB}", "resources: {gpu: 1}", "models:"]
    sources = ["sources:"]
    for index in range(draw(st.integers(1, 4))):
        run = draw(st.integers(1, 20))
        priority = draw(st.sampled_from([30, 50, 50, 80, 100]))
        lines.append(
            f"  m{index}: {{engine: synthetic, options: {{load: 5ms, infer: {run}ms}}, "
            f"footprint: 10MiB, priority: {priority}, pinned: true, uses: {{gpu: 1}}, "
            f"deadline: {draw(st.sampled_from(['5s', '1s']))}}}"
        )
        rate = draw(st.sampled_from([3, 7, 10, 15, 20]))
        jitter = draw(st.integers(0, 20))
        sources.append(
            f"  s{index}: {{model: m{index}, from: synthetic, rate: {rate}Hz, jitter: {jitter}ms}}"
        )
    lines.append(
        "  low: {engine: synthetic, options: {load: 30ms, infer: 25ms}, footprint: 10MiB, "
        "priority: 10, uses: {gpu: 1}, deadline: 5s, keep_alive: 100ms}"
    )
    sources.append("  rare: {model: low, from: synthetic, rate: 2Hz, arrivals: poisson}")
    return "\n".join([*lines, *sources, ""])


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(robots(), st.integers(0, 3))
def test_no_simulation_is_ever_worse_than_the_bound(
    configured: Callable[[str], Config], text: str, seed: int
) -> None:
    config = configured(text)
    analysis = Analysis(config, config.settings({}))
    bounds = {name: analysis.bound(name).answer_ns for name in config.models}
    trial = try_out(config, config.settings({}), Conditions(20 * SECOND_NS, seed))
    assert bounds["low"] is None
    for name, bound_ns in bounds.items():
        if bound_ns is not None:
            assert trial.models[name].worst_answer_ns <= bound_ns, name
