"""What has happened. The only way to tell the core anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Union

from msgspec import field

from scheduler.core.mode import Mode
from scheduler.core.model import ModelSpec
from scheduler.core.outcome import Outcome
from scheduler.core.request import Request
from scheduler.core.value import Tagged, Value


class Measurement(Value, frozen=True):
    """Bytes an engine was seen to hold; unreliable when others moved memory meanwhile."""

    bytes: int
    reliable: bool = True


class ModelRegistered(Tagged, frozen=True):
    """A model was added. Its name must be new."""

    spec: ModelSpec


class ModelRemoved(Tagged, frozen=True):
    """A model was taken away: its waiting requests are refused, its engine unloads when idle."""

    model: str


class PinChanged(Tagged, frozen=True):
    """Somebody pinned a model (never evict; load it now) or took the pin away."""

    model: str
    pinned: bool


class PriorityChanged(Tagged, frozen=True):
    """Somebody gave a model another priority, 0 to 100, or (None) its own again."""

    model: str
    priority: int | None


class ModeChanged(Tagged, frozen=True):
    """Somebody asked for another mode, or for none. It is refused, or in force at once."""

    mode: Mode | None


class BudgetChanged(Tagged, frozen=True):
    """The bytes of a pool that may be used have changed."""

    pool: str
    budget_bytes: int


class MemorySampled(Tagged, frozen=True):
    """The machine was asked about a pool. None means unknown, which is never 0.

    `available_bytes` is what could still be allocated (page cache counts) of `total_bytes`;
    `used_bytes` is what this process holds above its baseline. `source` names who said so.
    """

    pool: str
    available_bytes: int | None = None
    used_bytes: int | None = None
    total_bytes: int | None = None
    source: str = ""


class RequestArrived(Tagged, frozen=True):
    """A caller asked for something."""

    request: Request


class RequestCancelled(Tagged, frozen=True):
    """A caller no longer wants its answer. A late one is a no-op."""

    request_id: int


class LeaseRenewed(Tagged, frozen=True):
    """The holder of a lease asked for its time to live to start again. A late one is a no-op."""

    lease_id: int


class LeaseRevocationAsked(Tagged, frozen=True):
    """Somebody other than the holder (an operator, a watchdog) wants a lease taken back."""

    lease_id: int


class EngineLoaded(Tagged, frozen=True):
    """A load finished. `measured` maps pools to what the engine now holds, where that is known."""

    model: str
    instance: int
    measured: Mapping[str, Measurement] = field(default_factory=dict)


class EngineLoadFailed(Tagged, frozen=True):
    """A load ended without an engine, and what it had taken is free again."""

    model: str
    instance: int
    error: str
    out_of_memory: bool = False


class EngineUnloaded(Tagged, frozen=True):
    """An engine is out of memory. `residue` is what did not come back, per pool, where known."""

    model: str
    instance: int
    residue: Mapping[str, Measurement] = field(default_factory=dict)


class EngineLost(Tagged, frozen=True):
    """A loaded or loading engine is gone (its process died), and its memory with it."""

    model: str
    instance: int
    error: str


class LeaseEnded(Tagged, frozen=True):
    """The work of a lease has really stopped, or its holder let go.

    `outcome` holds for every request of the lease but those in `errors`, which failed one by one
    (with `out_of_memory`, for lack of memory).
    `measured` is what the engines hold now, per model and pool, where that is known. `worked_ns` is
    how long the engine itself worked, without the way to its thread and back; None if unknown.
    """

    lease_id: int
    outcome: Outcome = Outcome.COMPLETED
    error: str = ""
    errors: tuple[tuple[int, str], ...] = ()
    out_of_memory: bool = False
    measured: Mapping[str, Mapping[str, Measurement]] = field(default_factory=dict)
    worked_ns: int | None = None


class TimerFired(Tagged, frozen=True):
    """Time has passed. An early or an extra one does nothing."""


class DrainRequested(Tagged, frozen=True):
    """Stop: refuse what waits, revoke held leases, let running work end, unload everything.

    At `deadline_ns` (absolute; None: no limit) the requests still running are answered as well.
    """

    deadline_ns: int | None = None


Event = Union[
    ModelRegistered,
    ModelRemoved,
    PinChanged,
    PriorityChanged,
    ModeChanged,
    BudgetChanged,
    MemorySampled,
    RequestArrived,
    RequestCancelled,
    LeaseRenewed,
    LeaseRevocationAsked,
    EngineLoaded,
    EngineLoadFailed,
    EngineUnloaded,
    EngineLost,
    LeaseEnded,
    TimerFired,
    DrainRequested,
]
