"""`rota explain`: what happened to one request, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from scheduler.cli.configuration import complain
from scheduler.cli.exit_status import NO
from scheduler.cli.recording import TracePath, legible
from scheduler.explain.story import UnknownRequestError, read_story
from scheduler.explain.text import lines
from scheduler.trace.reader import read_trace


def explain(
    trace: TracePath,
    request: Annotated[int, typer.Argument(metavar="REQUEST", help="The number of a request.")],
) -> None:
    """Tell the story of one REQUEST: what it waited for, who was weighed, what would have helped.

    The trace is decided again up to its end. Where that is not possible (a flight recorder's dump)
    the story says so and keeps to what was written down. Exit status 1: no such request.
    """
    with legible():
        header, records = read_trace(trace)
        try:
            story = read_story(header, records, request)
        except UnknownRequestError as error:
            complain(f"{trace}: {error}")
            raise typer.Exit(NO) from error
    for warning in records.warnings:
        complain(warning)
    for line in lines(story, header.started_ns):
        typer.echo(line)
