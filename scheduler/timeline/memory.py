"""One pool's memory over time: what was reserved for whom, the budget, and what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

LIMIT = 20_000
"""So many steps are kept; beyond it the time between two of them doubles."""


@dataclass(frozen=True, slots=True)
class MemoryStep:
    """From `at_ns` until the next step: bytes reserved in all, and what for.

    `by_model` is what engines take by being in memory (or loading), `running_bytes` what leases
    take on top; the rest of the total is overhead and residue.
    """

    at_ns: int
    reserved_bytes: int
    by_model: Mapping[str, int]
    running_bytes: int

    def same_as(self, other: MemoryStep) -> bool:
        """Whether nothing but the time differs."""
        return (
            self.reserved_bytes == other.reserved_bytes
            and self.running_bytes == other.running_bytes
            and self.by_model == other.by_model
        )


class MemoryTrack:
    """The steps of one pool. Where steps are dropped the highest of each interval is kept."""

    def __init__(self, name: str, budget_bytes: int, limit: int = LIMIT) -> None:
        self.name = name
        self.budgets: list[tuple[int | None, int]] = [(None, budget_bytes)]
        self.samples: list[tuple[int, int]] = []
        self.steps: list[MemoryStep] = []
        self._limit = limit
        self._interval_ns = 0

    def reserve(self, step: MemoryStep) -> None:
        """What is reserved from now on."""
        if self.steps and step.same_as(self.steps[-1]):
            return
        self.steps.append(step)
        while len(self.steps) > self._limit:
            self._interval_ns = max(1_000, self._interval_ns * 2)
            self.steps = list(highest(self.steps, self._interval_ns))

    def sample(self, at_ns: int, used_bytes: int) -> None:
        """What was measured now."""
        self.samples.append((at_ns, used_bytes))
        if len(self.samples) > self._limit:
            pairs = (self.samples[at : at + 2] for at in range(0, len(self.samples), 2))
            self.samples = [max(pair, key=lambda sample: sample[1]) for pair in pairs]

    def rebudget(self, at_ns: int, budget_bytes: int) -> None:
        """What may be used from now on."""
        self.budgets.append((at_ns, budget_bytes))

    @property
    def top_bytes(self) -> int:
        """The largest figure of all, 1 at least."""
        figures = [budget_bytes for _, budget_bytes in self.budgets]
        figures += [used_bytes for _, used_bytes in self.samples]
        figures += [step.reserved_bytes for step in self.steps]
        return max(1, *figures)


def highest(steps: Iterable[MemoryStep], interval_ns: float) -> Iterator[MemoryStep]:
    """Two steps at most for each interval: the highest, from its first time on, and the last."""
    for _, group in groupby(steps, key=lambda step: step.at_ns // interval_ns):
        within = list(group)
        top = max(within, key=lambda step: step.reserved_bytes)
        yield replace(top, at_ns=within[0].at_ns)
        if top is not within[-1]:
            yield within[-1]
