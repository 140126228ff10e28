"""`rota profile`: what the engines really take, measured and written back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from pydantic import TypeAdapter
from rich.console import Console

from scheduler.cli.configuration import ConfigPath, complain, reported
from scheduler.cli.exit_status import NO
from scheduler.config import Config, load_config
from scheduler.errors import ConfigError
from scheduler.memory.budget import machine_totals
from scheduler.profile.measure import PROCESSES, RUNS, ProfileError, measure
from scheduler.profile.measurement import Measurement
from scheduler.profile.place import Place, places
from scheduler.profile.text import falls_short, render_measurement, unknown_models
from scheduler.profile.times import write_times

if TYPE_CHECKING:
    from scheduler.core.model import PoolFootprint


def profile(
    config: ConfigPath,
    model: Annotated[Optional[str], typer.Argument(help="One model; default: all.")] = None,
    *,
    write: Annotated[bool, typer.Option(help="Write the footprints into CONFIG.")] = False,
    times: Annotated[
        Optional[Path], typer.Option(help="Write the times, for `rota simulate --times`.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="How often all is repeated.")] = PROCESSES,
    runs: Annotated[int, typer.Option(min=1, help="Runs of one item in each process.")] = RUNS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure what the engines of CONFIG really take: memory, load and run times.

    Each engine is loaded and run in processes of its own, on the first frames of its source if
    that is a file, else on an example of its own. What would change in CONFIG is printed, or
    written. Exit status 1: an engine failed, or takes more than is declared (and nothing was
    written). 2: the file is wrong.
    """
    with reported():
        read = load_config(config)
        wanted = [place for name in _names(read, model) for place in places(read, name)]
        settings = read.settings(machine_totals())
    measured, failed = _measure_all(config, wanted, processes, runs)
    declared = {place.label: place.declared for place in wanted}
    if as_json:
        figures = {one.label: one for one in measured}
        typer.echo(TypeAdapter(dict[str, Measurement]).dump_json(figures, indent=2).decode())
    else:
        _show(measured, declared)
    if times is not None and measured:
        write_times(times, read.node, settings, measured)
    changed = _write_back(config, measured, write=write, quiet=as_json)
    short = [text for one in measured for text in falls_short(one, declared[one.label])]
    problems = [*failed, *([] if changed else short)]
    if problems:
        complain("\n".join(problems))
        raise typer.Exit(NO)


def _names(config: Config, model: str | None) -> list[str]:
    if model is not None and model not in config.models:
        raise ConfigError([unknown_models(model, config.models)])
    return list(config.models) if model is None else [model]


def _measure_all(
    path: Path, wanted: list[Place], processes: int, runs: int
) -> tuple[list[Measurement], list[str]]:
    measured: list[Measurement] = []
    failed: list[str] = []
    for place in wanted:
        with _noted(place.label, failed):
            measured.append(measure(path, place, processes=processes, runs=runs))
    return measured, failed


@contextmanager
def _noted(name: str, failed: list[str]) -> Iterator[None]:
    """Let one engine fail without the others."""
    try:
        yield
    except ProfileError as error:
        failed.append(f"{name}: {error}")


def _show(measured: list[Measurement], declared: dict[str, PoolFootprint | None]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for one in measured:
        console.print(render_measurement(one, declared[one.label]))
        if not one.exact:
            console.print("short peaks can have been missed here", style="dim")
        console.print()


def _replace(path: Path, text: str) -> None:
    """Write the file whole or not at all: a running `rota` may read it at any moment."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    shutil.copymode(path, beside)
    beside.replace(path)


def _write_back(path: Path, measured: list[Measurement], *, write: bool, quiet: bool) -> bool:
    """Write what was measured into the file, or print what would change. True: it was written."""
    if not measured or (quiet and not write):
        return False
    if find_spec("ruamel") is None:
        complain("to write footprints into a file: pip install 'rota[profile]'")
        return False
    from scheduler.profile.yaml_edit import (  # noqa: PLC0415 - an extra
        footprint_diff,
        with_footprints,
    )

    with reported():
        before = path.read_text(encoding="utf-8")
        after = with_footprints(before, measured)
    if write:
        _replace(path.resolve(), after)
    elif not quiet:
        typer.echo(footprint_diff(str(path), before, after), nl=False)
    return write
