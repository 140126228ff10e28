"""Policies against each other and against the optimum in hindsight, on all workloads.

The optimum has the least load cost of all plans that serve every request in the order of arrival;
its misses are those of that plan played in time. `unserved` counts all frames without an answer in
time: late, refused, or dropped at their source; `important` those of them that asked for a model of
the highest priority.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from figures import Figures
from goal import CONSOLE, judge
from optimum import Optimum, solve
from playback import figures_of
from played import play
from rich.table import Table
from workload import Workload, load_workloads

from scheduler.core.model import SECOND_NS
from scheduler.core.policy import POLICIES

OURS = "rota"
LRU = "fifo"
PEERS = (LRU, "lock")
PERIODIC_LIMIT = 1.1
RANDOM_LIMIT = 1.5
SHARE_OF_LRU = 1 / 3


@dataclass(frozen=True)
class Comparison:
    """One workload: the optimum, each policy that there is, and the most important on their own."""

    workload: Workload
    solved: Optimum
    optimum: Figures
    by_policy: Mapping[str, Figures]
    alone: Figures

    @property
    def name(self) -> str:
        return self.workload.name

    @property
    def ours(self) -> Figures:
        return self.by_policy[OURS]

    @property
    def ratio(self) -> float:
        return self.ours.load_ns / self.optimum.load_ns


def compare(workload: Workload) -> Comparison:
    solved = solve(workload.instance())
    policies = [name for name in (OURS, *PEERS) if name in POLICIES]
    return Comparison(
        workload,
        solved,
        figures_of(workload, solved),
        {name: play(workload, name) for name in policies},
        play(workload.of_most_important(), OURS),
    )


def show(comparison: Comparison) -> None:
    workload, solved = comparison.workload, comparison.solved
    kind = "periodic" if workload.is_periodic else "random"
    seconds = workload.duration_ns // SECOND_NS
    CONSOLE.print(f"\n{workload.name} ({kind}, {seconds} s, {len(workload.frames):,} frames)")
    CONSOLE.print(workload.about)
    CONSOLE.print(table(comparison))
    if not solved.is_exact:
        least_s = solved.bound_ns / SECOND_NS
        CONSOLE.print(f"The time was up: the least load cost is {least_s:.2f} s or more.")
    if len(workload.most_important) < len(workload.config.models):
        CONSOLE.print(f"Alone, the most important would miss {comparison.alone.unserved:,}.")


def table(comparison: Comparison) -> Table:
    made = Table(box=None)
    made.add_column("")
    for heading in ("load s", "x optimum", "loads", "unserved", "late", "refused", "important"):
        made.add_column(heading, justify="right")
    for name, figures in {**comparison.by_policy, "optimum": comparison.optimum}.items():
        ratio = figures.load_ns / comparison.optimum.load_ns
        counts = (figures.loads, figures.unserved, figures.late, figures.refused, figures.important)
        load_s = figures.load_ns / SECOND_NS
        made.add_row(name, f"{load_s:.2f}", f"{ratio:.2f}", *(f"{count:,}" for count in counts))
    return made


@pytest.fixture(scope="module")
def comparisons() -> list[Comparison]:
    made = []
    for workload in load_workloads():
        made.append(compare(workload))
        show(made[-1])
    return made


Verdict = Callable[[Comparison], str]


def judge_each(goal: str, comparisons: list[Comparison], wrong: Verdict) -> None:
    """One goal that each workload has to meet: `wrong` says how it does not, or is empty."""
    found = {comparison.name: wrong(comparison) for comparison in comparisons}
    bad = [f"{name} {text}" for name, text in found.items() if text]
    text = "; ".join(bad) or "on all of them"
    judge(f"{goal}, on {len(found)} workloads", text, is_met=not bad)


def test_every_peer_takes_part() -> None:
    missing = [name for name in PEERS if name not in POLICIES]
    found = f"no policy named {', '.join(missing)}" if missing else ", ".join(PEERS)
    judge("the peers take part", found, is_met=not missing)


def test_there_are_ten_workloads_and_the_optimum_of_each_is_exact(
    comparisons: list[Comparison],
) -> None:
    inexact = [c.name for c in comparisons if not c.solved.is_exact]
    is_met = len(comparisons) >= 10 and not inexact
    found = f"{len(comparisons)}, {len(inexact)} of them with a bound alone"
    judge("at least ten workloads, each with its exact optimum", found, is_met=is_met)


@pytest.mark.parametrize(
    ("kind", "limit"), [("periodic", PERIODIC_LIMIT), ("random", RANDOM_LIMIT)]
)
def test_load_cost_is_near_the_optimum(
    comparisons: list[Comparison], kind: str, limit: float
) -> None:
    chosen = [c for c in comparisons if c.workload.is_periodic == (kind == "periodic")]
    assert chosen, f"no workload is {kind}"

    def wrong(c: Comparison) -> str:
        """Nothing costs less than to load nothing, so the unserved count as well."""
        ours, best = c.ours.unserved, c.optimum.unserved
        if c.ratio <= limit and ours <= best:
            return ""
        return f"{c.ratio:.2f} x with {ours:,} unserved (the optimum {best:,})"

    goal = f"load cost at most {limit} x the optimum, no more unserved ({kind})"
    judge_each(goal, chosen, wrong)


@pytest.mark.parametrize("peer", PEERS)
def test_no_more_is_missed_than_by_a_peer(comparisons: list[Comparison], peer: str) -> None:
    def wrong(c: Comparison) -> str:
        if peer not in c.by_policy:
            return "not compared"
        ours, theirs = c.ours.unserved, c.by_policy[peer].unserved
        return f"{ours:,}, {peer} {theirs:,}" if ours > theirs else ""

    judge_each(f"misses not above those of {peer}", comparisons, wrong)


def test_misses_in_all_are_at_most_a_third_of_those_of_lru(comparisons: list[Comparison]) -> None:
    goal = f"misses in all at most a third of those of {LRU}"
    if LRU not in POLICIES:
        judge(goal, "not compared", is_met=False)
    ours = sum(c.ours.unserved for c in comparisons)
    theirs = sum(c.by_policy[LRU].unserved for c in comparisons)
    found = f"{ours:,} of {theirs:,}, {ours / max(theirs, 1):.2f} x"
    judge(goal, found, is_met=ours <= theirs * SHARE_OF_LRU)


def test_the_most_important_miss_nothing_where_the_optimum_does_not(
    comparisons: list[Comparison],
) -> None:
    """Where it does, no more than it does: most of those are frames during the first load."""

    def wrong(c: Comparison) -> str:
        ours, best = c.ours.important, c.optimum.important
        return f"{ours:,}, the optimum {best:,}" if ours > best else ""

    judge_each("misses of the highest priority not above the optimum's", comparisons, wrong)
