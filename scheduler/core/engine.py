"""The life of an engine.

    UNLOADED -> LOADING -> READY -> UNLOADING -> UNLOADED

A failed load and a lost engine return to UNLOADED with a back-off. Everything else about an engine
is derived: it is busy while a lease runs on it, held while a lease holds it, and idle otherwise.
Each load has an instance number of its own, so that news of an older instance is recognised.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Final

from scheduler.core.decisions import EngineRef
from scheduler.core.demand import Demand
from scheduler.core.figures import Figures
from scheduler.core.request import NO_DEADLINE_NS

if TYPE_CHECKING:
    from scheduler.core.amounts import Amounts
    from scheduler.core.durations import Durations
    from scheduler.core.lease import Lease
    from scheduler.core.ledger import BookingKey
    from scheduler.core.mode import Mode
    from scheduler.core.model import Form, ModelSpec
    from scheduler.core.outcome import Reason
    from scheduler.core.settings import Trust

MAX_BACKOFF_DOUBLINGS = 6


class EngineState(str, Enum):
    """Where an engine is between not being and being in memory."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"


UNLOADED: Final = EngineState.UNLOADED
LOADING: Final = EngineState.LOADING
READY: Final = EngineState.READY
UNLOADING: Final = EngineState.UNLOADING
"""By names of their own: Python 3.11 takes 0.2 us to look one up in its class, and a pass does so
some dozen times for each engine."""


TRANSITIONS: Mapping[EngineState, frozenset[EngineState]] = {
    UNLOADED: frozenset({LOADING}),
    LOADING: frozenset({READY, UNLOADED}),
    READY: frozenset({UNLOADING, UNLOADED}),
    UNLOADING: frozenset({UNLOADED}),
}


class Engine:
    """A registered model and where its engine is.

    `condemned` says why the engine must go as soon as its thread comes back; `failures` counts
    failed loads and losses in a row. `fresh` says that it was not used yet since its load, and
    `ahead` that it was loaded before anybody asked; of `loads_ahead` such loads `loads_ahead_used`
    were of use. `evicted_ns` is when it made room for others last, None once it is back. `forms`
    are the figures of each form it may take, the best variant first (`has_choice`: there are
    several), and `figures` those of the form it has now, or takes next. `priority`, `pinned` and
    `disabled` (why) are as the mode has them; `pinned_by_hand` is what the configuration or an
    operator said, `priority_by_hand` what an operator did, if anything. `next_run` follows `run`
    as soon as that has ended. `booking` is under which its bytes are in the ledger.
    """

    __slots__ = (
        "ahead",
        "backoff_until_ns",
        "booking",
        "condemned",
        "demand",
        "disabled",
        "evicted_ns",
        "failures",
        "figures",
        "forms",
        "fresh",
        "has_choice",
        "hold",
        "instance",
        "loads_ahead",
        "loads_ahead_used",
        "name",
        "next_run",
        "pinned",
        "pinned_by_hand",
        "priority",
        "priority_by_hand",
        "ref",
        "removed",
        "run",
        "since_ns",
        "spec",
        "state",
        "used_ns",
    )

    def __init__(self, spec: ModelSpec, trust: Trust) -> None:
        self.spec = spec
        self.name = spec.name
        self.ref = EngineRef(spec.name, 0)
        self.booking: BookingKey = ("engine", spec.name)
        self.forms = tuple(Figures(form, trust) for form in spec.forms)
        self.figures = self.forms[0]
        self.has_choice = len(self.forms) > 1
        self.state = UNLOADED
        self.instance = 0
        self.since_ns = 0
        self.used_ns = 0
        self.run: Lease | None = None
        self.next_run: Lease | None = None
        self.hold: Lease | None = None
        self.priority = spec.priority
        self.priority_by_hand: int | None = None
        self.pinned = self.pinned_by_hand = spec.pinned
        self.disabled: Reason | None = None
        self.removed = False
        self.condemned: Reason | None = None
        self.failures = 0
        self.fresh = False
        self.ahead = False
        self.evicted_ns: int | None = None
        self.loads_ahead = 0
        self.loads_ahead_used = 0
        self.backoff_until_ns: int | None = None
        self.demand = Demand()

    def __repr__(self) -> str:
        return f"<{self.spec.name}#{self.instance} {self.state.value}>"

    @property
    def is_ready(self) -> bool:
        """In memory, and not going."""
        return self.state is READY

    @property
    def sole_need(self) -> tuple[str, int, int] | None:
        """Pool and bytes to start and to have run one item, from where it is now.

        None where there is more than one pool or form.
        """
        need = None if self.has_choice else self.figures.sole_need
        if need is None or self.state is not READY:
            return need
        workspace_bytes = self.figures.workspace_bytes[need[0]]
        return (need[0], workspace_bytes, workspace_bytes)

    @property
    def is_idle(self) -> bool:
        """In memory, and nobody has a lease on it."""
        return self.state is READY and self.run is None and self.hold is None

    @property
    def in_memory(self) -> bool:
        """Takes memory: loading, ready or unloading."""
        return self.state is not UNLOADED

    def is_pinned_in(self, mode: Mode | None) -> bool:
        """Whether it is pinned in that mode: by it, or by hand and not disabled by it."""
        if self.removed or mode is None:
            return self.pinned_by_hand and not self.removed
        return self.name in mode.pin or (self.pinned_by_hand and self.name not in mode.disable)

    def follow(self, mode: Mode | None) -> None:
        """Be as important, as pinned and as enabled as the mode has it, None for no mode."""
        self.pinned = self.is_pinned_in(mode)
        is_disabled = mode is not None and self.name in mode.disable
        self.disabled = mode.disabled(self.name) if mode is not None and is_disabled else None
        by_hand = self.priority_by_hand
        of_its_own = self.spec.priority if by_hand is None else by_hand
        self.priority = of_its_own if mode is None else mode.priority.get(self.name, of_its_own)

    def allowed_ns(self) -> int | None:
        """How long its requests usually have until their deadline, None when they have none."""
        seen_ns = self.demand.allowed_ns()
        allowed_ns = self.spec.deadline_ns if seen_ns is None else seen_ns
        return None if allowed_ns == NO_DEADLINE_NS else allowed_ns

    def enter(self, state: EngineState, now: int) -> None:
        """Go to `state`; the table says from where that is allowed."""
        assert state in TRANSITIONS[self.state], f"{self} cannot become {state.value}"
        self.state = state
        self.since_ns = now

    def begin_load(self, now: int, *, ahead: bool) -> None:
        """Load the next instance; `ahead` when nobody has asked for it yet."""
        self.enter(LOADING, now)
        self.instance += 1
        self.ref = EngineRef(self.name, self.instance)
        self.backoff_until_ns = None
        self.ahead = ahead
        self.loads_ahead += ahead

    def use(self) -> None:
        """Somebody has a lease on it: it was not loaded for nothing."""
        self.fresh = False
        self.loads_ahead_used += self.ahead
        self.ahead = False

    def backing_off_ns(self, now: int) -> int:
        """How long the engine is still not to be loaded again, 0 when it may be."""
        return max(0, (self.backoff_until_ns or 0) - now)

    def back_off(self, now: int) -> int:
        """Count a failure; the wait doubles with each in a row. Returns when it ends."""
        doublings = min(self.failures, MAX_BACKOFF_DOUBLINGS)
        self.failures += 1
        self.backoff_until_ns = now + (self.spec.backoff_ns << doublings)
        return self.backoff_until_ns

    def take(self, figures: Figures) -> None:
        """Be of another form from the next load on. An engine in memory stays what it is."""
        assert self.state is UNLOADED, f"{self} is in memory"
        self.figures = figures

    @property
    def form(self) -> Form:
        """The form that it is in, or took last, or is to take next."""
        return self.figures.form

    @property
    def load_times(self) -> Durations:
        """How long loads of this form took."""
        return self.figures.load_times

    @property
    def run_times(self) -> Durations:
        """How long runs of this form took."""
        return self.figures.run_times

    @property
    def unload_times(self) -> Durations:
        """How long unloads of this form took."""
        return self.figures.unload_times

    def resident_bytes(self) -> Amounts:
        """What is counted per pool while the engine is in memory, see `Trust`."""
        return self.figures.resident_bytes()

    def loading_bytes(self) -> Amounts:
        """What has to be free per pool while the engine loads."""
        return self.figures.loading_bytes()

    def running_bytes(self, items: int) -> Amounts:
        """What a run of `items` needs per pool on top of the resident bytes."""
        return self.figures.running_bytes(items)
