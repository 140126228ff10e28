"""The footprint and the times of one engine, from what some processes measured.

Each process loads the engine once to pay what a process pays once (libraries, a CUDA context), and
unloads it: what is left then is nobody's footprint. All after it is counted from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from scheduler.core.model import PoolFootprint
from scheduler.profile.quantity import Quantity, quantity
from scheduler.profile.step import Step

MIB = 1024 * 1024


class Measurement(BaseModel):
    """What one model really takes of `pool`, in bytes and nanoseconds.

    `overhead` is what a process pays once, for this engine and all others of its library.
    `claimed` is what the engine's own `measure()` says it holds; None where it says nothing. `runs`
    are by the number of items. `exact` is false where short peaks can be missed.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    variant: str = ""
    pool: str
    resident: Quantity
    load_peak: Quantity
    workspace: Quantity
    per_item: Quantity | None
    overhead: Quantity
    claimed: Quantity | None
    loads: Quantity
    unloads: Quantity
    runs: dict[int, Quantity]
    exact: bool
    load_times_ns: tuple[int, ...]
    unload_times_ns: tuple[int, ...]
    run_times_ns: dict[int, tuple[int, ...]]

    @property
    def label(self) -> str:
        """What a person calls it."""
        return f"{self.model} {self.variant}".rstrip()

    def footprint(self) -> PoolFootprint:
        """What to declare: the high figures, in whole MiB, rounded up."""
        resident = max(MIB, _whole_mib(self.resident.high))
        return PoolFootprint(
            resident_bytes=resident,
            load_peak_bytes=max(resident, _whole_mib(self.load_peak.high)),
            workspace_bytes=_whole_mib(self.workspace.high),
            per_item_bytes=_whole_mib(self.per_item.high) if self.per_item else 0,
        )


@dataclass(frozen=True, slots=True)
class Life:
    """What one process did, in its order: first the life that pays what a process pays once."""

    first: tuple[Step, ...]
    steps: tuple[Step, ...]

    @property
    def overhead_bytes(self) -> int:
        """What was left when the first life was over."""
        return self.first[-1].held_bytes

    def above(self, held_bytes: int) -> int:
        """What the engine itself has of `held_bytes`."""
        return max(0, held_bytes - self.overhead_bytes)

    @property
    def resident_bytes(self) -> int:
        """The most that it held between its acts: it keeps what its runs made it take."""
        return max(self.above(step.held_bytes) for step in self.steps if step.act != "unload")

    @property
    def workspace_bytes(self) -> int:
        """The most on top of that while one item ran."""
        return max(0, self._peak_bytes(1) - self.resident_bytes)

    @property
    def per_item_bytes(self) -> int | None:
        """The most on top of that for each further item; None when no batch ran."""
        sizes = {step.items for step in self.steps if step.act == "run"} - {1}
        one_bytes = self.resident_bytes + self.workspace_bytes
        more = [max(0, self._peak_bytes(n) - one_bytes) // (n - 1) for n in sizes]
        return max(more) if more else None

    def _peak_bytes(self, items: int) -> int:
        runs = [step for step in self.steps if step.act == "run" and step.items == items]
        return max((self.above(step.peak_bytes) for step in runs), default=0)


def measurement(model: str, pool: str, lives: Sequence[Life], variant: str = "") -> Measurement:
    """Sum up what the processes measured."""
    steps = [step for life in lives for step in (*life.first, *life.steps)]
    loads = [step.took_ns for step in steps if step.act == "load"]
    unloads = [step.took_ns for step in steps if step.act == "unload"]
    runs = _run_times(step for life in lives for step in life.steps)
    claimed = [s.claimed_bytes for s in steps if s.act != "unload" and s.claimed_bytes is not None]
    per_item = [b for life in lives if (b := life.per_item_bytes) is not None]
    return Measurement(
        model=model,
        variant=variant,
        pool=pool,
        resident=quantity([life.resident_bytes for life in lives]),
        load_peak=quantity(
            [life.above(s.peak_bytes) for life in lives for s in life.steps if s.act == "load"]
        ),
        workspace=quantity([life.workspace_bytes for life in lives]),
        per_item=quantity(per_item) if per_item else None,
        overhead=quantity([life.overhead_bytes for life in lives]),
        claimed=quantity(claimed) if claimed else None,
        loads=quantity(loads),
        unloads=quantity(unloads),
        runs={items: quantity(times) for items, times in runs.items()},
        exact=all(step.exact for step in steps),
        load_times_ns=tuple(loads),
        unload_times_ns=tuple(unloads),
        run_times_ns=runs,
    )


def _run_times(steps: Iterable[Step]) -> dict[int, tuple[int, ...]]:
    times: dict[int, tuple[int, ...]] = {}
    for step in steps:
        if step.act == "run":
            times[step.items] = (*times.get(step.items, ()), step.took_ns)
    return times


def _whole_mib(amount_bytes: int) -> int:
    return -(-amount_bytes // MIB) * MIB
