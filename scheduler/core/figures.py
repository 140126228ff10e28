"""What is counted, and was seen, of one form of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.durations import Durations
from scheduler.core.settings import Trust

if TYPE_CHECKING:
    from scheduler.core.model import Form


class Figures:
    """One form's bytes and times. What was seen of another form says nothing about this one.

    `measured` is the most bytes that an engine of this form was reliably seen to hold, per pool.
    """

    __slots__ = (
        "form",
        "load_times",
        "measured",
        "run_times",
        "sole_need",
        "trust",
        "unload_times",
        "workspace_bytes",
    )

    def __init__(self, form: Form, trust: Trust) -> None:
        self.form = form
        self.trust = trust
        self.measured: dict[str, int] = {}
        self.load_times = Durations()
        self.run_times = Durations()
        self.unload_times = Durations()
        self.workspace_bytes = self.running_bytes(1)
        self.sole_need: tuple[str, int, int] | None = None
        self._weigh()

    def saw(self, pool: str, held_bytes: int) -> None:
        """It was reliably seen to hold so much."""
        self.measured[pool] = max(self.measured.get(pool, 0), held_bytes)
        self._weigh()

    def _weigh(self) -> None:
        if len(self.form.footprint) == 1:
            (pool,) = self.form.footprint
            steady = self.resident_bytes()[pool] + self.workspace_bytes[pool]
            self.sole_need = (pool, self.loading_bytes()[pool], steady)

    def resident_bytes(self) -> dict[str, int]:
        """What is counted per pool while the engine is in memory, see `Trust`."""
        return {
            pool: self._counted(part.resident_bytes, pool)
            for pool, part in self.form.footprint.items()
        }

    def loading_bytes(self) -> dict[str, int]:
        """What has to be free per pool while the engine loads."""
        return {
            pool: max(part.load_peak_bytes, self._counted(part.resident_bytes, pool))
            for pool, part in self.form.footprint.items()
        }

    def running_bytes(self, items: int) -> dict[str, int]:
        """What a run of `items` needs per pool on top of the resident bytes."""
        return {pool: part.running_bytes(items) for pool, part in self.form.footprint.items()}

    def _counted(self, declared: int, pool: str) -> int:
        measured = self.measured.get(pool)
        if measured is None or self.trust is Trust.DECLARED:
            return declared
        return measured if self.trust is Trust.MEASURED else max(declared, measured)
