"""The life of an engine.

    UNLOADED -> LOADING -> READY -> UNLOADING -> UNLOADED

A failed load and a lost engine return to UNLOADED with a back-off. Everything else about an engine
is derived: it is busy while a lease runs on it, held while a lease holds it, and idle otherwise.
Each load has an instance number of its own, so that news of an older instance is recognised.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING

from scheduler.core.decisions import EngineRef
from scheduler.core.demand import Demand
from scheduler.core.durations import Durations
from scheduler.core.settings import Trust

if TYPE_CHECKING:
    from scheduler.core.lease import Lease
    from scheduler.core.model import ModelSpec
    from scheduler.core.outcome import Reason

MAX_BACKOFF_DOUBLINGS = 6


class EngineState(str, Enum):
    """Where an engine is between not being and being in memory."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"


TRANSITIONS: Mapping[EngineState, frozenset[EngineState]] = {
    EngineState.UNLOADED: frozenset({EngineState.LOADING}),
    EngineState.LOADING: frozenset({EngineState.READY, EngineState.UNLOADED}),
    EngineState.READY: frozenset({EngineState.UNLOADING, EngineState.UNLOADED}),
    EngineState.UNLOADING: frozenset({EngineState.UNLOADED}),
}


class Engine:
    """A registered model and where its engine is.

    `condemned` says why the engine must go as soon as its thread comes back; `failures` counts
    failed loads and losses in a row. `fresh` says that it was not used yet since its load.
    `measured` is the most bytes this engine was reliably seen to hold, per pool.
    """

    __slots__ = (
        "backoff_until_ns",
        "condemned",
        "demand",
        "failures",
        "fresh",
        "hold",
        "instance",
        "load_times",
        "measured",
        "name",
        "pinned",
        "ref",
        "removed",
        "run",
        "run_times",
        "since_ns",
        "sole_need",
        "spec",
        "state",
        "trust",
        "used_ns",
        "workspace_bytes",
    )

    def __init__(self, spec: ModelSpec, trust: Trust) -> None:
        self.spec = spec
        self.name = spec.name
        self.ref = EngineRef(spec.name, 0)
        self.workspace_bytes = self.running_bytes(1)
        self.sole_need: tuple[str, int, int] | None = None
        self.trust = trust
        self.state = EngineState.UNLOADED
        self.instance = 0
        self.since_ns = 0
        self.used_ns = 0
        self.run: Lease | None = None
        self.hold: Lease | None = None
        self.pinned = spec.pinned
        self.removed = False
        self.condemned: Reason | None = None
        self.failures = 0
        self.fresh = False
        self.backoff_until_ns: int | None = None
        self.measured: dict[str, int] = {}
        self.demand = Demand()
        self.load_times = Durations()
        self.run_times = Durations()
        self._weigh()

    def __repr__(self) -> str:
        return f"<{self.spec.name}#{self.instance} {self.state.value}>"

    @property
    def is_idle(self) -> bool:
        """In memory, and nobody has a lease on it."""
        return self.state is EngineState.READY and self.run is None and self.hold is None

    @property
    def in_memory(self) -> bool:
        """Takes memory: loading, ready or unloading."""
        return self.state is not EngineState.UNLOADED

    def enter(self, state: EngineState, now: int) -> None:
        """Go to `state`; the table says from where that is allowed."""
        assert state in TRANSITIONS[self.state], f"{self} cannot become {state.value}"
        self.state = state
        self.since_ns = now

    def backing_off_ns(self, now: int) -> int:
        """How long the engine is still not to be loaded again, 0 when it may be."""
        return max(0, (self.backoff_until_ns or 0) - now)

    def back_off(self, now: int) -> int:
        """Count a failure; the wait doubles with each in a row. Returns when it ends."""
        doublings = min(self.failures, MAX_BACKOFF_DOUBLINGS)
        self.failures += 1
        self.backoff_until_ns = now + (self.spec.backoff_ns << doublings)
        return self.backoff_until_ns

    def saw(self, pool: str, held_bytes: int) -> None:
        """It was reliably seen to hold so much."""
        self.measured[pool] = max(self.measured.get(pool, 0), held_bytes)
        self._weigh()

    def _weigh(self) -> None:
        if len(self.spec.footprint) == 1:
            (pool,) = self.spec.footprint
            steady = self.resident_bytes()[pool] + self.workspace_bytes[pool]
            self.sole_need = (pool, self.loading_bytes()[pool], steady)

    def resident_bytes(self) -> dict[str, int]:
        """What is counted per pool while the engine is in memory, see `Trust`."""
        return {
            pool: self._counted(part.resident_bytes, pool)
            for pool, part in self.spec.footprint.items()
        }

    def loading_bytes(self) -> dict[str, int]:
        """What has to be free per pool while the engine loads."""
        return {
            pool: max(part.load_peak_bytes, self._counted(part.resident_bytes, pool))
            for pool, part in self.spec.footprint.items()
        }

    def running_bytes(self, items: int) -> dict[str, int]:
        """What a run of `items` needs per pool on top of the resident bytes."""
        return {pool: part.running_bytes(items) for pool, part in self.spec.footprint.items()}

    def _counted(self, declared: int, pool: str) -> int:
        measured = self.measured.get(pool)
        if measured is None or self.trust is Trust.DECLARED:
            return declared
        return measured if self.trust is Trust.MEASURED else max(declared, measured)
