"""Which model the reserved bytes are for, told from records alone.

A record has only the total of each pool. Footprints, trust and measurements are in the trace too,
and the rules that turn them into bytes are the core's own (`scheduler.core.engine`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.core.decisions import LoadEngine
from scheduler.core.engine import Engine
from scheduler.core.events import Measurement
from scheduler.core.model import ModelSpec
from scheduler.core.settings import Trust


@dataclass(frozen=True, slots=True)
class LeaseBooking:
    """What a lease takes beside the resident bytes: `by_model` maps models to bytes per pool."""

    items: int
    by_model: Mapping[str, Mapping[str, int]]


class Bookings:
    """Bytes per pool and model. A model whose registration was not seen has none."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._engines: dict[str, Engine] = {}
        self._resident: dict[str, Mapping[str, int]] = {}
        self._ready: set[str] = set()
        self._leases: dict[int, LeaseBooking] = {}

    def register(self, spec: ModelSpec) -> None:
        """A model and its footprint are known from now on."""
        self._engines[spec.name] = Engine(spec, self._trust)

    def load(self, decision: LoadEngine) -> None:
        """A load began: the peak of the form it takes is booked."""
        engine = self._engines.get(decision.model)
        if engine is None:
            return
        wanted = (decision.variant, decision.device)
        for figures in engine.forms:
            if (figures.form.variant, figures.form.device) == wanted:
                engine.take(figures)
        self._resident[engine.name] = engine.loading_bytes()

    def loaded(self, model: str) -> None:
        """A load ended well: what stays is booked."""
        if model in self._engines:
            self._ready.add(model)
            self._resident[model] = self._engines[model].resident_bytes()

    def unload(self, model: str) -> None:
        """An unload began: the booking stays as it is until the memory is back."""
        self._ready.discard(model)

    def gone(self, model: str) -> None:
        """The engine is out of memory."""
        self._ready.discard(model)
        self._resident.pop(model, None)

    def believe(self, model: str, measured: Mapping[str, Measurement]) -> None:
        """An engine was measured: the most that was reliably seen counts, as `trust` says."""
        engine = self._engines.get(model)
        if engine is None:
            return
        for pool, seen in measured.items():
            if seen.reliable and seen.bytes > 0 and pool in engine.form.footprint:
                engine.figures.saw(pool, seen.bytes)
        if model in self._ready:
            self._resident[model] = engine.resident_bytes()

    def grant(self, lease_id: int, models: tuple[str, ...], items: int, parent: int | None) -> None:
        """A lease began; under a held one it takes only what that one has not taken already."""
        under = self._leases.get(parent) if parent is not None else None
        by_model = {
            model: self._running(model, items, under) for model in models if model in self._engines
        }
        self._leases[lease_id] = LeaseBooking(items, by_model)

    def end(self, lease_id: int) -> None:
        """A lease ended."""
        self._leases.pop(lease_id, None)

    def resident(self, pool: str) -> dict[str, int]:
        """Bytes of `pool` for each model that is in memory or loading."""
        amounts = ((model, part.get(pool, 0)) for model, part in self._resident.items())
        return {model: amount for model, amount in amounts if amount}

    def running(self, pool: str) -> int:
        """Bytes of `pool` that leases take on top."""
        return sum(
            part.get(pool, 0) for lease in self._leases.values() for part in lease.by_model.values()
        )

    def _running(self, model: str, items: int, under: LeaseBooking | None) -> dict[str, int]:
        needed = self._engines[model].running_bytes(items)
        taken = under.by_model.get(model, {}) if under is not None else {}
        return {pool: max(0, amount - taken.get(pool, 0)) for pool, amount in needed.items()}
