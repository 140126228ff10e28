"""What a run writes down: report, trace and picture, each on request."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler.errors import ConfigError
from scheduler.report.builder import ReportBuilder
from scheduler.timeline.builder import TimelineBuilder
from scheduler.timeline.file import write_timeline
from scheduler.trace.header import Header
from scheduler.trace.line import TraceError
from scheduler.trace.writer import TraceWriter

if TYPE_CHECKING:
    from scheduler.core.settings import Settings
    from scheduler.report.report import Report
    from scheduler.runtime.pump import Observer

PICTURES = {".html", ".htm", ".svg"}


class Recorders:
    """The observers of a run. Raises ConfigError for a file that cannot be written."""

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
        self._report = report
        self._timeline = timeline
        self._picture = TimelineBuilder(header) if timeline else None
        self._trace = TraceWriter(trace, header) if trace else None

    def observers(self) -> list[Observer]:
        """Whoever wants to see every step."""
        return [o for o in (self.builder, self._picture, self._trace) if o is not None]

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
