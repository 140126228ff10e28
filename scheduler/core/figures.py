"""What is counted, and was seen, of one form of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.durations import Durations
from scheduler.core.settings import Trust

if TYPE_CHECKING:
    from scheduler.core.amounts import Amounts
    from scheduler.core.model import Form


GROWS_AFTER = 16
"""Runs that end well before a batch that was halved for memory may have one item more."""


class Figures:
    """One form's bytes and times. What was seen of another form says nothing about this one.

    `measured` is the most bytes that an engine of this form was reliably seen to hold, per pool.
    What is counted changes with that alone, so it is kept; who is given it must not change it.
    `batch_limit` is the most items of a run since one failed for memory, None when none did;
    `room_for` is in which epoch the budget was found to have room for how many; `cut_short` are
    runs called off at their deadline, since the last that ended well. `run_times` are those from
    the grant until the end is known, `work_times` what of that the engine itself took.
    """

    __slots__ = (
        "_loading_bytes",
        "_resident_bytes",
        "batch_limit",
        "cut_short",
        "form",
        "load_times",
        "measured",
        "room_for",
        "run_times",
        "runs_since",
        "sole_need",
        "trust",
        "unload_times",
        "work_times",
        "workspace_bytes",
    )

    def __init__(self, form: Form, trust: Trust) -> None:
        self.form = form
        self.trust = trust
        self.measured: dict[str, int] = {}
        self.batch_limit: int | None = None
        self.runs_since = 0
        self.room_for = (-1, 0)
        self.load_times = Durations()
        self.run_times = Durations()
        self.work_times = Durations()
        self.unload_times = Durations()
        self.cut_short = Durations()
        footprint = form.footprint
        self.workspace_bytes = {pool: part.workspace_bytes for pool, part in footprint.items()}
        self.sole_need: tuple[str, int, int] | None = None
        self._weigh()

    def saw(self, pool: str, held_bytes: int) -> None:
        """It was reliably seen to hold so much."""
        self.measured[pool] = max(self.measured.get(pool, 0), held_bytes)
        self._weigh()

    def ran_out(self, items: int) -> None:
        """A run of `items` failed for memory: the next have half as many at most."""
        self.batch_limit = max(1, min(items, self.batch_limit or items) // 2)
        self.runs_since = 0

    def ran_well(self, duration_ns: int, now: int) -> None:
        """A run ended well. After sixteen of them one item more is tried."""
        self.run_times.add(duration_ns, now)
        if self.cut_short:
            self.cut_short = Durations()
        if self.batch_limit is None:
            return
        self.runs_since += 1
        if self.runs_since == GROWS_AFTER:
            self.runs_since = 0
            self.batch_limit += 1
            if self.batch_limit >= self.form.batch_max:
                self.batch_limit = None

    def _weigh(self) -> None:
        footprint = self.form.footprint
        self._resident_bytes = {
            pool: self._counted(part.resident_bytes, pool) for pool, part in footprint.items()
        }
        self._loading_bytes = {
            pool: max(part.load_peak_bytes, self._resident_bytes[pool])
            for pool, part in footprint.items()
        }
        if len(footprint) == 1:
            (pool,) = footprint
            steady = self._resident_bytes[pool] + self.workspace_bytes[pool]
            self.sole_need = (pool, self._loading_bytes[pool], steady)

    def resident_bytes(self) -> Amounts:
        """What is counted per pool while the engine is in memory, see `Trust`."""
        return self._resident_bytes

    def loading_bytes(self) -> Amounts:
        """What has to be free per pool while the engine loads."""
        return self._loading_bytes

    def running_bytes(self, items: int) -> Amounts:
        """What a run of `items` needs per pool on top of the resident bytes."""
        if items == 1:
            return self.workspace_bytes
        return {pool: part.running_bytes(items) for pool, part in self.form.footprint.items()}

    def _counted(self, declared: int, pool: str) -> int:
        measured = self.measured.get(pool)
        if measured is None or self.trust is Trust.DECLARED:
            return declared
        return measured if self.trust is Trust.MEASURED else max(declared, measured)
