"""What a run writes down: report, trace and picture, each on request; its last steps always."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from scheduler.errors import ConfigError
from scheduler.report.builder import ReportBuilder
from scheduler.timeline.builder import TimelineBuilder
from scheduler.timeline.file import write_timeline
from scheduler.trace.flight import FlightRecorder
from scheduler.trace.header import Header
from scheduler.trace.line import TraceError
from scheduler.trace.writer import TraceWriter

if TYPE_CHECKING:
    from scheduler.core.settings import Settings
    from scheduler.report.report import Report
    from scheduler.runtime.pump import Observer

_log = logging.getLogger(__name__)

PICTURES = {".html", ".htm", ".svg"}


class Recorders:
    """The observers of a run. Raises ConfigError for a file that cannot be written.

    `flight` keeps the last steps in memory, whatever else is written.
    """

    def __init__(
        self,
        node: str,
        settings: Settings,
        now_ns: int,
        *,
        report: Path | None,
        trace: Path | None,
        timeline: Path | None,
    ) -> None:
        _check_places(report, trace, timeline)
        now = datetime.now(timezone.utc).astimezone().isoformat()
        header = Header(node=node, started_at=now, started_ns=now_ns, settings=settings)
        self.builder = ReportBuilder(settings, now_ns)
        self.flight = FlightRecorder(header)
        self._report = report
        self._timeline = timeline
        self._picture = TimelineBuilder(header) if timeline else None
        self._trace = TraceWriter(trace, header) if trace else None

    def observers(self) -> list[Observer]:
        """Whoever wants to see every step."""
        asked = [o for o in (self._picture, self._trace) if o is not None]
        return [self.flight, self.builder, *asked]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Write the last steps if this ends with an error."""
        try:
            yield
        except BaseException:
            self.dump()
            raise

    def dump(self) -> None:
        """Write the last steps to a file of their own among the temporary ones, and say where."""
        place = Path(gettempdir()) / f"rota-{self.flight.header.node}-{os.getpid()}.flight.jsonl"
        try:
            self.flight.dump(place)
        except OSError as error:
            _log.error("the last steps could not be written: %s", error)
        else:
            _log.warning("the last %d steps are in %s", len(self.flight), place)

    def write(self, report: Report) -> list[str]:
        """Write the files; what could not be written is returned as sentences."""
        problems = []
        if self._trace is not None:
            try:
                self._trace.close()
            except TraceError as error:
                problems.append(str(error))
        try:
            if self._report is not None:
                text = report.model_dump_json(indent=2)
                self._report.write_text(text + "\n", encoding="utf-8")
            if self._picture is not None and self._timeline is not None:
                write_timeline(self._picture.timeline(), self._timeline)
        except OSError as error:
            problems.append(f"{error}; choose another path")
        return problems


def _check_places(report: Path | None, trace: Path | None, timeline: Path | None) -> None:
    """Find out before the run, not after it, that a result cannot be written."""
    mistakes = [
        f"{option} {path}: there is no folder {path.parent}; make it first"
        for option, path in (("--report", report), ("--trace", trace), ("--timeline", timeline))
        if path is not None and not path.absolute().parent.is_dir()
    ]
    if timeline is not None and timeline.suffix.lower() not in PICTURES:
        mistakes.append(f"--timeline {timeline}: a picture is written as .html or .svg")
    if mistakes:
        raise ConfigError(mistakes)
