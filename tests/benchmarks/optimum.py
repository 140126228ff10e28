"""The least load cost at which every request can be served in the order of arrival, in hindsight.

Weighted caching with sizes, without bypassing: each request must find its engine in memory. An
engine is loaded when a request finds it absent, and may leave at any time. This is an integer
program with one variable for each gap between two requests of the same engine: keep it meanwhile,
or pay for a reload (the interval formulation of A. Bar-Noy et al., "A unified approach to
approximating resource allocation and scheduling", J. ACM 48(5), 2001). HiGHS solves it exactly.

What the order of arrival forbids can be cheaper: serving several requests at once, or a later one
first. So a scheduler that collects requests within their deadlines may do better than this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

TOLERANCE = 1e-6
"""Of costs, relative: what floating point may do to a sum of integers."""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """One engine: bytes in memory, on top while running, in all while loading; ns to load it."""

    resident_bytes: int
    load_ns: int
    workspace_bytes: int = 0
    load_peak_bytes: int = 0
    exclusive: frozenset[str] = frozenset()
    pinned: bool = False

    @property
    def serving_bytes(self) -> int:
        """What a request takes that finds its engine in memory."""
        return self.resident_bytes + self.workspace_bytes

    @property
    def reloading_bytes(self) -> int:
        """What a request takes whose engine must be loaded first."""
        return max(self.serving_bytes, self.load_peak_bytes)


@dataclass(frozen=True, slots=True)
class Instance:
    """Who asks for which engine, in the order of arrival, in one pool of `budget_bytes`.

    `held` are the places in `requests` from which the engine may not leave before its next request
    (somebody holds a lease on it).
    """

    engines: Mapping[str, EngineFacts]
    budget_bytes: int
    requests: Sequence[str]
    held: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best plan found: it costs `cost_ns`, and no plan costs less than `bound_ns`.

    `kept` says of each request whether its engine stays until its next one; after its last it goes.
    """

    cost_ns: int
    bound_ns: float
    kept: tuple[bool, ...]

    @property
    def is_exact(self) -> bool:
        """Whether no plan is better. If not, the time was up first."""
        return self.cost_ns - self.bound_ns <= TOLERANCE * self.cost_ns


class UnservableError(Exception):
    """Raised when no plan serves every request, or none was found in time."""


def solve(instance: Instance, *, limit_s: float = 60.0) -> Optimum:
    """The plan with the least load cost. Pinned engines are always there and loaded once.

    Raises UnservableError.
    """
    program = _Program(instance)
    if program.cannot:
        raise UnservableError(program.cannot)
    if not program.gaps:
        return program.optimum((), 0.0)
    reloads_ns = np.array([gap.load_ns for gap in program.gaps], dtype=float)
    found = milp(
        -reloads_ns,
        integrality=np.ones(len(reloads_ns)),
        bounds=Bounds(program.least, program.most),
        constraints=program.rows(),
        options={"time_limit": limit_s, "mip_rel_gap": 0.0},
    )
    if found.x is None:
        raise UnservableError(f"no plan was found: {found.message}")
    return program.optimum(found.x, found.mip_dual_bound)


@dataclass(frozen=True, slots=True)
class _Gap:
    """From the request at `start` to the next of the same engine, with others in between."""

    engine: str
    start: int
    load_ns: int


@dataclass(slots=True)
class _Row:
    """At one request: the bytes of those kept meanwhile, by gap, are at most `limit_bytes`."""

    limit_bytes: int
    kept_bytes: dict[int, int] = field(default_factory=dict)


class _Program:
    """The integer program of an instance. `cannot` says why nothing can serve it, or is empty."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.cannot = ""
        self.gaps: list[_Gap] = []
        self.least: list[int] = []
        self.most: list[int] = []
        self._rows: list[_Row] = []
        pinned = [facts for facts in instance.engines.values() if facts.pinned]
        self._for_others = instance.budget_bytes - sum(facts.resident_bytes for facts in pinned)
        self._compulsory_ns = sum(facts.load_ns for facts in pinned)
        self._is_kept = [False] * len(instance.requests)
        self._read()

    def rows(self) -> list[LinearConstraint]:
        """What fits, as the solver takes it; bytes as MiB, to keep the numbers small."""
        rows = [row for row in self._rows if _can_exceed(row)]
        if not rows:
            return []
        entries = [
            (index, gap, size / 2**20)
            for index, row in enumerate(rows)
            for gap, size in row.kept_bytes.items()
        ]
        at_row, at_gap, sizes = zip(*entries, strict=True)
        matrix = csr_array((sizes, (at_row, at_gap)), shape=(len(rows), len(self.gaps)))
        return [LinearConstraint(matrix, ub=[row.limit_bytes / 2**20 for row in rows])]

    def optimum(self, kept: Sequence[float], saved_bound_ns: float) -> Optimum:
        """The plan of a solution."""
        everything_ns = self._compulsory_ns + sum(gap.load_ns for gap in self.gaps)
        saved_ns = 0
        is_kept = list(self._is_kept)
        for gap, value in zip(self.gaps, kept, strict=True):
            if value > 0.5:
                is_kept[gap.start] = True
                saved_ns += gap.load_ns
        return Optimum(everything_ns - saved_ns, everything_ns + saved_bound_ns, tuple(is_kept))

    def _read(self) -> None:
        """Go through the requests once; `open_gaps` are those of the engines asked for again."""
        requests, engines = self.instance.requests, self.instance.engines
        following = _following(requests)
        open_gaps: dict[str, int] = {}
        seen: set[str] = set()
        for place, name in enumerate(requests):
            facts = engines[name]
            own = open_gaps.pop(name, None)
            if not facts.pinned and name not in seen:
                self._compulsory_ns += facts.load_ns
            self._add_row(name, facts, open_gaps, own, is_first=name not in seen)
            seen.add(name)
            after = following[place]
            if facts.pinned or after == place + 1:
                self._is_kept[place] = True
            elif after is not None:
                open_gaps[name] = self._add_gap(name, place)

    def _add_gap(self, name: str, start: int) -> int:
        self.gaps.append(_Gap(name, start, self.instance.engines[name].load_ns))
        self.least.append(int(start in self.instance.held))
        self.most.append(1)
        return len(self.gaps) - 1

    def _add_row(
        self,
        name: str,
        facts: EngineFacts,
        open_gaps: Mapping[str, int],
        own: int | None,
        *,
        is_first: bool,
    ) -> None:
        """Who can be kept while this request is served: `own` is the gap that ends with it."""
        engines = self.instance.engines
        for other, gap in open_gaps.items():
            if engines[other].exclusive & facts.exclusive:
                self.most[gap] = 0
                if self.least[gap]:
                    self.cannot = f"{other} is held while {name}, of the same group, is asked for"
                    self.least[gap] = 0
        row = _Row(0, {gap: engines[other].resident_bytes for other, gap in open_gaps.items()})
        if facts.pinned:
            row.limit_bytes = self._for_others - facts.workspace_bytes
        elif own is None:
            takes = facts.reloading_bytes if is_first else facts.serving_bytes
            row.limit_bytes = self._for_others - takes
        else:
            row.limit_bytes = self._for_others - facts.reloading_bytes
            row.kept_bytes[own] = facts.serving_bytes - facts.reloading_bytes
        if row.limit_bytes < 0 and own is None:
            self.cannot = f"{name} never fits"
        self._rows.append(row)


def _can_exceed(row: _Row) -> bool:
    return sum(size for size in row.kept_bytes.values() if size > 0) > row.limit_bytes


def _following(requests: Sequence[str]) -> list[int | None]:
    """For each request the place of the next one of the same engine."""
    following: list[int | None] = [None] * len(requests)
    last: dict[str, int] = {}
    for place, name in enumerate(requests):
        if name in last:
            following[last[name]] = place
        last[name] = place
    return following
