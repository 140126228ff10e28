"""Where each engine was, and for how long, from a trace alone."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from scheduler.core.decisions import GrantLease, LoadEngine, SwitchMode, UnloadEngine
from scheduler.core.engine import EngineState
from scheduler.core.events import (
    EngineLoaded,
    EngineLoadFailed,
    EngineLost,
    EngineUnloaded,
    LeaseEnded,
    ModeChanged,
    ModelRegistered,
)
from scheduler.core.model import in_form
from scheduler.core.outcome import Outcome
from scheduler.explain.span import spoken
from scheduler.trace.beginnings import Beginnings

if TYPE_CHECKING:
    from scheduler.core.decisions import Decision
    from scheduler.core.events import Event
    from scheduler.core.mode import Mode
    from scheduler.core.model import ModelSpec
    from scheduler.core.outcome import Reason
    from scheduler.trace.record import Record


@dataclass(slots=True)
class Stay:
    """One model's engine. `why` is the reason of its last unload, or the error it was lost by.

    `form` says in words which form it has, where there is a choice.

    `load_ns` and `run_ns` are what its last load and its last good run took, 0 before the first.
    """

    spec: ModelSpec
    state: EngineState = EngineState.UNLOADED
    instance: int = 0
    since_ns: int | None = None
    why: Reason | str = ""
    load_ns: int = 0
    run_ns: int = 0
    form: str = ""

    def enter(self, state: EngineState, now: int) -> None:
        """It is in another state from now on."""
        self.state = state
        self.since_ns = now

    def copy(self) -> Stay:
        """As it is now."""
        return copy(self)

    def described(self, now: int) -> str:
        """Where the engine is at `now`, in words."""
        name = self.spec.name
        if self.since_ns is None:
            return f"{name} was not in memory, and had not been before"
        ago = spoken(now - self.since_ns)
        if self.state is EngineState.UNLOADED:
            return f"{name} was not in memory: gone {ago} before ({self.why or 'no reason known'})"
        if self.state is EngineState.UNLOADING:
            return f"{name} was being unloaded, since {ago} ({self.why})"
        words = {EngineState.LOADING: "being loaded", EngineState.READY: "in memory"}
        return f"{name} was {words[self.state]}{self.form}, since {ago}"


class Residence:
    """The stays of all models, as of the last record taken. `mode` is the one it begins in."""

    def __init__(self, mode: Mode | None = None) -> None:
        self.stays: dict[str, Stay] = {}
        self._mode = mode
        self._runs: dict[int, tuple[str, int, int]] = {}
        self._beginnings = Beginnings()

    def stay(self, model: str) -> Stay:
        """Where a known model's engine is, with the priority that it has in the mode."""
        found = self.stays[model].copy()
        given = {} if self._mode is None else self._mode.priority
        found.spec = replace(found.spec, priority=given.get(model, found.spec.priority))
        return found

    def take(self, record: Record) -> None:
        """Follow one step."""
        self._hear(record.event, record.at_ns)
        for grant in self._beginnings.of(record):
            self._begin(grant, record.at_ns)
        if isinstance(record.event, ModeChanged):
            switched = any(isinstance(decision, SwitchMode) for decision in record.decisions)
            self._mode = record.event.mode if switched else self._mode
        for decision in record.decisions:
            self._see(decision, record.at_ns)

    def _hear(self, event: Event, now: int) -> None:
        match event:
            case ModelRegistered(spec):
                self.stays[spec.name] = Stay(spec)
            case EngineLoaded(model, instance) if stay := self._of(model, instance):
                stay.load_ns = now - (stay.since_ns or 0)
                stay.enter(EngineState.READY, now)
            case EngineUnloaded(model, instance) if stay := self._of(model, instance):
                stay.enter(EngineState.UNLOADED, now)
            case EngineLoadFailed(model, instance, error) | EngineLost(model, instance, error) if (
                stay := self._of(model, instance)
            ):
                stay.why = error
                stay.enter(EngineState.UNLOADED, now)
            case LeaseEnded(lease_id, outcome) if lease_id in self._runs:
                model, runs, granted_ns = self._runs.pop(lease_id)
                if outcome is Outcome.COMPLETED and model in self.stays:
                    self.stays[model].run_ns = (now - granted_ns) // runs
            case _:
                pass

    def _see(self, decision: Decision, now: int) -> None:
        match decision:
            case LoadEngine(model, instance, variant, device) if stay := self.stays.get(model):
                stay.instance, stay.form = instance, in_form(variant, device)
                stay.enter(EngineState.LOADING, now)
            case UnloadEngine(model, instance, reason) if stay := self._of(model, instance):
                stay.why = reason
                stay.enter(EngineState.UNLOADING, now)
            case _:
                pass

    def _begin(self, grant: GrantLease, now: int) -> None:
        runs = len(grant.request_ids) if grant.in_turn else 1
        if not grant.holds:
            self._runs[grant.lease_id] = (grant.engines[0].model, runs, now)

    def _of(self, model: str, instance: int) -> Stay | None:
        """The stay that this news is about; late news of an older instance is of none."""
        stay = self.stays.get(model)
        return stay if stay is not None and stay.instance == instance else None
