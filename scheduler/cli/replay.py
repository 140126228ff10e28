"""`rota replay`: does this Rota decide as the recorded run did?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from scheduler.cli.configuration import complain
from scheduler.cli.exit_status import NO
from scheduler.cli.recording import TracePath, legible
from scheduler.explain.playback import IncompleteTraceError, compare
from scheduler.explain.span import spoken
from scheduler.trace.line import TraceError
from scheduler.trace.reader import read_trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.explain.playback import Comparison, Difference


def replay(trace: TracePath) -> None:
    """Decide TRACE again, event by event, and compare every decision and every reserved byte.

    Exit status 1: something differs; the first difference is shown. 2: TRACE cannot be read, or
    does not begin at the start of the run. To try another policy on its requests, see simulate.
    """
    with legible():
        header, records = read_trace(trace)
        try:
            comparison = compare(header.settings, records)
        except IncompleteTraceError as error:
            raise TraceError(f"{trace}: {error}") from error
    for warning in records.warnings:
        complain(warning)
    for line in _told(comparison, header.started_ns):
        typer.echo(line)
    if comparison.difference is not None:
        raise typer.Exit(NO)


def _told(comparison: Comparison, started_ns: int) -> Iterator[str]:
    if comparison.difference is None:
        yield f"{comparison.steps:,} steps, all decisions identical"
        return
    record = comparison.difference.record
    at = spoken(record.at_ns - started_ns)
    yield f"{comparison.steps - 1:,} steps identical; step {record.sequence}, at {at}, differs"
    yield f"event: {record.event}"
    yield from _both(comparison.difference)


def _both(difference: Difference) -> Iterator[str]:
    record = difference.record
    if difference.error:
        yield from _listed("recorded", record.decisions)
        yield f"now: {difference.error}"
    elif record.decisions != difference.decisions:
        yield from _listed("recorded", record.decisions)
        yield from _listed("now", difference.decisions)
    else:
        yield f"reserved bytes recorded: {dict(record.reserved_bytes)}"
        yield f"reserved bytes now: {dict(difference.reserved_bytes)}"


def _listed(what: str, decisions: tuple[object, ...]) -> Iterator[str]:
    yield f"{what}:" if decisions else f"{what}: nothing decided"
    for decision in decisions:
        yield f"  {decision}"
