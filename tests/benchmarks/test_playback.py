"""The playback of the optimum's plan, against what can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from optimum import solve
from playback import Playback
from workload import read_workload

Late = Callable[..., list[int]]
ENGINE = "engine: synthetic, footprint: 100MiB"


@pytest.fixture
def late(tmp_path: Path) -> Late:
    """Plays the optimum for some models, each asked once at 0 s and named by a source or more."""

    def play(models: dict[str, str], sources: str, budget: str = "150MiB") -> list[int]:
        path = tmp_path / "by_hand.yaml"
        lines = [f"memory: {{budget: {budget}}}", "resources: {gpu: 1}", "models:"]
        lines += [f"  {name}: {{{ENGINE}, {rest}}}" for name, rest in models.items()]
        lines += ["sources:"]
        lines += [
            f"  s{number}: {{model: {model}, from: synthetic, rate: 0.01Hz}}"
            for number, model in enumerate(sources)
        ]
        path.write_text("\n".join(lines), encoding="utf-8")
        workload = read_workload(path)
        return sorted(Playback(workload, solve(workload.instance())).run())

    return play


def model(infer: str, deadline: str, more: str = "priority: 50") -> str:
    return f"options: {{load: 100ms, infer: {infer}}}, deadline: {deadline}, {more}"


def test_an_engine_serves_one_after_the_other(late: Late) -> None:
    assert late({"a": model("20ms", "140ms")}, "aaa") == [2]
    assert late({"a": model("20ms", "139ms")}, "aaa") == [1, 2]


def test_a_load_waits_for_the_unload_of_who_has_to_go(late: Late) -> None:
    # a: 100 load + 20 run; 10 unload; b: 100 load + 20 run.
    assert late({"a": model("20ms", "1s"), "b": model("20ms", "250ms")}, "ab") == []
    assert late({"a": model("20ms", "1s"), "b": model("20ms", "249ms")}, "ab") == [1]


def test_engines_that_fit_together_load_and_run_at_once(late: Late) -> None:
    models = {"a": model("20ms", "1s"), "b": model("20ms", "120ms")}
    assert late(models, "ab", budget="200MiB") == []


def test_the_more_important_gets_the_unit_first(late: Late) -> None:
    models = {
        "a": model("20ms", "130ms", "uses: {gpu: 1}, priority: 10"),
        "b": model("20ms", "130ms", "uses: {gpu: 1}, priority: 90"),
    }
    assert late(models, "ab", budget="200MiB") == [0]


def test_a_batch_takes_along_what_is_there(late: Late) -> None:
    batched = model("20ms", "130ms", "batch: {max: 3}")
    assert late({"a": batched}, "aaa") == []
    assert late({"a": batched}, "aaaa") == [3]


def test_a_pinned_engine_is_there_from_the_start(late: Late) -> None:
    assert late({"a": model("20ms", "20ms", "pinned: true")}, "a") == []
