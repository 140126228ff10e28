"""`rota plan`: can this set of models do what is asked of it, and if not, what would help?"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console

from scheduler.cli.configuration import ConfigPath, complain, reported
from scheduler.cli.exit_status import NO
from scheduler.cli.modes import FirstMode, in_first_mode
from scheduler.cli.recording import legible
from scheduler.config import load_config
from scheduler.config.units import read_duration
from scheduler.errors import ConfigError
from scheduler.memory.budget import machine_totals
from scheduler.plan.planner import make_plan
from scheduler.plan.text import render_plan
from scheduler.plan.trial import Conditions
from scheduler.source.source import SourceError
from scheduler.trace.reader import read_trace

if TYPE_CHECKING:
    from scheduler.trace.record import Record

MOST_RECORDS = 50_000
"""So much of a trace is kept for its times, about 50 MB: each trial draws from it again."""


def plan(
    config: ConfigPath,
    *,
    duration: Annotated[str, typer.Option(help="How much virtual time, as 60s or 2h.")] = "10m",
    seed: Annotated[int, typer.Option(help="Equal seeds give equal plans.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    times: Annotated[
        Optional[Path], typer.Option(help="Take load and run times from this trace.")
    ] = None,
    arrivals: Annotated[
        Optional[Path], typer.Option(help="Ask this trace's requests, not the sources'.")
    ] = None,
    mode: FirstMode = None,
) -> None:
    """Say whether the models of CONFIG keep up with its sources, and what would help if not.

    Simulates, and bounds by analysis where that is sound. What was assumed is said on standard
    error. Exit status 1: the set does not fit, or somebody was not answered in time. 2: the file,
    or the trace, is wrong.
    """
    with reported(), legible():
        read = in_first_mode(load_config(config), mode)
        read = read.in_mode(read.mode)
        asked = _records(arrivals)
        conditions = Conditions(
            _within(_duration_ns(duration), asked), seed, _records(times), asked
        )
        try:
            made = make_plan(read, machine_totals(), conditions)
        except SourceError as error:
            raise ConfigError([str(error)]) from error
    for note in made.notes:
        complain(note)
    if as_json:
        typer.echo(made.model_dump_json(indent=2))
    else:
        Console(highlight=False, soft_wrap=True).print(render_plan(made))
    if not made.good:
        raise typer.Exit(NO)


def _duration_ns(text: str) -> int:
    try:
        return read_duration(text, from_file=True, positive=True)
    except ValueError as error:
        raise ConfigError([f"--duration: {error}"]) from error


def _within(duration_ns: int, asked: tuple[Record, ...] | None) -> int:
    """No longer than the requests that are asked again."""
    if not asked:
        return duration_ns
    return min(duration_ns, max(1, asked[-1].at_ns - asked[0].at_ns))


def _records(path: Path | None) -> tuple[Record, ...] | None:
    if path is None:
        return None
    records = read_trace(path)[1]
    kept = tuple(islice(records, MOST_RECORDS))
    for warning in records.warnings:
        complain(warning)
    return kept
