"""The core's whole state at one moment: frozen, printable, serialisable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.core.engine import EngineState
from scheduler.core.outcome import Reason


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """One pool's books, in bytes. `available_bytes` of None means unknown."""

    name: str
    budget_bytes: int
    reserved_bytes: int
    high_water_bytes: int
    overhead_bytes: int
    residue_bytes: int
    available_bytes: int | None
    used_bytes: int | None


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """One model and its engine. `reserved_bytes` is per pool; `waiting` counts its requests."""

    model: str
    state: EngineState
    instance: int
    pinned: bool
    priority: int
    reserved_bytes: Mapping[str, int]
    running: tuple[int, ...]
    held_by: int | None
    waiting: int
    condemned: Reason | None
    ready_again_ns: int | None


@dataclass(frozen=True, slots=True)
class LeaseSnapshot:
    """One lease. `revoking` is the reason it is being taken back, or None."""

    lease_id: int
    models: tuple[str, ...]
    request_ids: tuple[int, ...]
    holds: bool
    priority: int
    granted_ns: int
    expires_ns: int | None
    revoking: Reason | None


@dataclass(frozen=True, slots=True)
class WaitSnapshot:
    """One waiting request, in the order in which they will be served, and what it waits for."""

    request_id: int
    models: tuple[str, ...]
    priority: int
    arrived_ns: int
    deadline_ns: int | None
    waits_for: Reason | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything, at `now_ns`."""

    now_ns: int
    draining: bool
    pools: tuple[PoolSnapshot, ...]
    engines: tuple[EngineSnapshot, ...]
    leases: tuple[LeaseSnapshot, ...]
    waiting: tuple[WaitSnapshot, ...]
    resources_in_use: Mapping[str, int]
