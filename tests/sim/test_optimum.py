"""The optimum that the benchmarks compare with, against trying everything."""

from __future__ import annotations

import importlib.util
import sys
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

PATH = Path(__file__).parents[1] / "benchmarks" / "optimum.py"
NAME = "benchmarks_optimum"


def _load_module():
    spec = importlib.util.spec_from_file_location(NAME, PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    return module


optimum = _load_module()
EngineFacts, Instance = optimum.EngineFacts, optimum.Instance


class Everything:
    """Tries every set of engines to keep after every request."""

    def __init__(self, instance):
        self.instance = instance
        self.engines = instance.engines
        self.pinned = frozenset(n for n, facts in self.engines.items() if facts.pinned)

    def least_ns(self):
        """The least load cost, or None where nothing serves every request."""
        costs = {self.pinned: sum(self.engines[name].load_ns for name in self.pinned)}
        for place in range(len(self.instance.requests)):
            costs = self.step(place, costs)
        return min(costs.values(), default=None)

    def step(self, place, costs):
        name = self.instance.requests[place]
        after = {}
        for present, cost in costs.items():
            bound = self.pinned | self.held(place)
            for kept in subsets(present - bound):
                others = (kept | (bound & present)) - {name}
                is_there = name in kept or (name in bound and name in present)
                if self.fits(others, name, is_there=is_there):
                    more = 0 if is_there else self.engines[name].load_ns
                    now = others | {name}
                    after[now] = min(after.get(now, cost + more), cost + more)
        return after

    def held(self, place):
        """The engines that may not leave at `place`."""
        requests = self.instance.requests
        return frozenset(
            requests[start] for start in self.instance.held if start < place <= self.until(start)
        )

    def until(self, start):
        requests = self.instance.requests
        later = [n for n in range(start + 1, len(requests)) if requests[n] == requests[start]]
        return later[0] if later else start

    def fits(self, others, name, *, is_there):
        facts = self.engines[name]
        if any(self.engines[other].exclusive & facts.exclusive for other in others):
            return False
        takes = facts.resident_bytes + facts.workspace_bytes
        if not is_there:
            takes = max(takes, facts.load_peak_bytes)
        resident = sum(self.engines[other].resident_bytes for other in others)
        return resident + takes <= self.instance.budget_bytes


def subsets(names):
    return [
        frozenset(chosen) for size in range(len(names) + 1) for chosen in combinations(names, size)
    ]


@st.composite
def instances(draw):
    names = "abcd"[: draw(st.integers(2, 4))]
    pinned = draw(st.sampled_from([None, None, *names]))
    engines = {
        name: EngineFacts(
            resident_bytes=draw(st.integers(1, 6)) * 2**20,
            load_ns=draw(st.integers(1, 9)),
            workspace_bytes=draw(st.integers(0, 3)) * 2**20,
            load_peak_bytes=draw(st.integers(0, 9)) * 2**20,
            exclusive=frozenset() if name == pinned else draw(groups),
            pinned=name == pinned,
        )
        for name in names
    }
    requests = draw(st.lists(st.sampled_from(names), min_size=1, max_size=9))
    held = draw(st.frozensets(st.integers(0, len(requests) - 1), max_size=1))
    budget = draw(st.integers(6, 16)) * 2**20
    return Instance(engines, budget, tuple(requests), held)


groups = st.sampled_from([frozenset(), frozenset(), frozenset({"heavy"})])


@settings(deadline=None, max_examples=150)
@given(instances())
def test_the_optimum_is_the_least_of_all(instance):
    least_ns = Everything(instance).least_ns()
    if least_ns is None:
        with pytest.raises(optimum.UnservableError):
            optimum.solve(instance)
        return
    solved = optimum.solve(instance)
    assert solved.is_exact
    assert solved.cost_ns == least_ns
    assert cost_of(solved, instance) == least_ns, "the plan is not what it is said to cost"


def cost_of(solved, instance):
    """What loading by this plan costs."""
    cost = sum(facts.load_ns for facts in instance.engines.values() if facts.pinned)
    there = {name for name, facts in instance.engines.items() if facts.pinned}
    for name, kept in zip(instance.requests, solved.kept, strict=True):
        cost += 0 if name in there else instance.engines[name].load_ns
        there = there | {name} if kept else there - {name}
    return cost


def mib(resident, load_ns, **more):
    sizes = {key: value * 2**20 for key, value in more.items() if key.endswith("_bytes")}
    return EngineFacts(resident * 2**20, load_ns, **{**more, **sizes})


def test_a_cheap_large_engine_makes_room_for_dear_small_ones():
    engines = {"large": mib(4, 3), "b": mib(2, 2), "c": mib(2, 2)}
    requests = ("large", "b", "c", "large", "b", "c")
    assert optimum.solve(Instance(engines, 6 * 2**20, requests)).cost_ns == 9


def test_the_workspace_of_a_run_pushes_others_out():
    engines = {"a": mib(3, 5, workspace_bytes=1), "b": mib(3, 7)}
    requests = ("a", "b", "a", "b")
    assert optimum.solve(Instance(engines, 7 * 2**20, requests)).cost_ns == 12
    assert optimum.solve(Instance(engines, 6 * 2**20, requests)).cost_ns == 19


def test_a_load_peak_counts_only_when_loading():
    engines = {"a": mib(2, 5, load_peak_bytes=6), "b": mib(2, 7)}
    once = Instance(engines, 6 * 2**20, ("a", "b", "a", "b"))
    assert optimum.solve(once).cost_ns == 12
    again = Instance(engines, 6 * 2**20, ("b", "a", "b", "a"))
    assert optimum.solve(again).cost_ns == 19


def test_what_is_held_stays_whatever_it_costs():
    engines = {"a": mib(3, 1), "b": mib(3, 9), "c": mib(3, 1)}
    requests = ("a", "b", "c", "b", "a")
    free = Instance(engines, 6 * 2**20, requests)
    assert optimum.solve(free).cost_ns == 12
    held = Instance(engines, 6 * 2**20, requests, held=frozenset({0}))
    assert optimum.solve(held).cost_ns == 20


def test_what_never_fits_is_said():
    instance = Instance({"a": mib(3, 1)}, 2 * 2**20, ("a",))
    with pytest.raises(optimum.UnservableError, match="a never fits"):
        optimum.solve(instance)


def test_a_hold_against_its_own_group_is_said():
    heavy = frozenset({"heavy"})
    engines = {"a": mib(1, 1, exclusive=heavy), "b": mib(1, 1, exclusive=heavy)}
    instance = Instance(engines, 9 * 2**20, ("a", "b", "a"), held=frozenset({0}))
    with pytest.raises(optimum.UnservableError, match="a is held while b, of the same group"):
        optimum.solve(instance)
