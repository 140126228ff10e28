"""A recorded run, decided again: the same events into a new core, and every decision compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.core.policy import POLICIES
from scheduler.core.scheduler import Scheduler
from scheduler.trace.line import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scheduler.core.decisions import Decision
    from scheduler.core.settings import Settings
    from scheduler.core.snapshot import Snapshot
    from scheduler.core.witness import Witness
    from scheduler.trace.record import Record


class IncompleteTraceError(TraceError):
    """Raised when a trace lacks records, so that the core cannot be brought to the same state.

    `missing` says which, without what to do.
    """

    def __init__(self, missing: str) -> None:
        self.missing = missing
        super().__init__(
            f"{missing}: what was decided before that is not known, so nothing after it can be "
            "decided again; record the whole run with rota run --trace"
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """The core decided otherwise at `record`. `error` is what it raised instead of deciding."""

    record: Record
    decisions: tuple[Decision, ...]
    reserved_bytes: Mapping[str, int]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many steps were decided again, and the first that differs, if any."""

    steps: int
    difference: Difference | None


class Playback:
    """A core that is fed one record after the other, from the first on.

    Raises TraceError for settings that this version cannot take.
    """

    def __init__(self, settings: Settings, witness: Witness | None = None) -> None:
        if settings.policy not in POLICIES:
            raise TraceError(
                f"the run was decided by the policy {settings.policy!r}, and this Rota has "
                f"{', '.join(POLICIES)}; replay it with the Rota that wrote it"
            )
        self.steps = 0
        self._core = Scheduler(settings, witness)

    def step(self, record: Record) -> Difference | None:
        """Decide one record again. After a difference there is no sense in going on.

        Raises IncompleteTraceError when `record` is not the next one.
        """
        if record.sequence != self.steps + 1:
            raise IncompleteTraceError(self._what_is_missing(record))
        self.steps += 1
        try:
            decisions = tuple(self._core.handle(record.event, record.at_ns))
        except Exception as error:  # noqa: BLE001 - a line can hold what no run ever wrote
            what = f"{type(error).__name__}: {error}"
            return Difference(record, (), self._core.reserved_bytes(), what)
        reserved_bytes = self._core.reserved_bytes()
        if decisions == record.decisions and reserved_bytes == record.reserved_bytes:
            return None
        return Difference(record, decisions, reserved_bytes)

    def snapshot(self) -> Snapshot:
        """The core's state after the last step."""
        return self._core.snapshot()

    def _what_is_missing(self, record: Record) -> str:
        if self.steps:
            return f"records {self.steps + 1} to {record.sequence - 1} are missing"
        return f"it does not begin at the start of the run, but with record {record.sequence}"


def compare(settings: Settings, records: Iterable[Record]) -> Comparison:
    """Decide `records` again up to the first difference, in memory that does not grow with them.

    Raises:
        IncompleteTraceError: records are missing, at the beginning or in the middle.
        TraceError: a line is corrupt, or the settings are of another version.
    """
    playback = Playback(settings)
    for record in records:
        difference = playback.step(record)
        if difference is not None:
            return Comparison(playback.steps, difference)
    return Comparison(playback.steps, None)
