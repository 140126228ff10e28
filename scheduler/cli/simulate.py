"""`rota simulate`: a configuration in virtual time."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer
from rich.console import Console

from scheduler.cli.modes import FirstMode, SwitchTimes, in_first_mode, read_switches
from scheduler.config import load_config
from scheduler.config.units import read_duration
from scheduler.core.amounts import sized
from scheduler.core.policy import POLICIES
from scheduler.errors import ConfigError, RotaError
from scheduler.memory.budget import machine_totals
from scheduler.report.summary import render_summary
from scheduler.sim.simulation import simulate as run_simulation
from scheduler.trace.header import Header
from scheduler.trace.line import encode_header, encode_record
from scheduler.trace.reader import read_trace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler.config import Config
    from scheduler.core.settings import Settings
    from scheduler.report.report import Report
    from scheduler.trace.reader import Records
    from scheduler.trace.record import Record

VIRTUAL_START = "1970-01-01T00:00:00+00:00"
"""What a trace gives as the time of day of its 0 ns, so that equal simulations are equal files."""

WRONG_USAGE = 2


def simulate(
    config: Annotated[Path, typer.Argument(help="The configuration, a YAML file.")],
    *,
    duration: Annotated[str, typer.Option(help="How much virtual time, as 60s or 2h.")] = "60s",
    seed: Annotated[int, typer.Option(help="Equal seeds give equal runs.")] = 1,
    policy: Annotated[
        str | None, typer.Option(help="Who goes first; default: the configuration's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    trace: Annotated[Path | None, typer.Option(help="Write every step to this file.")] = None,
    times: Annotated[
        Path | None, typer.Option(help="Take load and run times from this trace.")
    ] = None,
    arrivals: Annotated[
        Path | None, typer.Option(help="Replay this trace's requests, not the sources.")
    ] = None,
    mode: FirstMode = None,
    at: SwitchTimes = None,
) -> None:
    """Run CONFIG in virtual time: the same scheduler, no engine, hours in seconds.

    What was assumed is said on standard error.
    """
    try:
        read, settings = _read(config, mode, policy)
        duration_ns = _duration_ns(duration)
        timed, replayed = _records(times), _records(arrivals)
        _refuse_to_overwrite(trace, (config, times, arrivals))
        with ExitStack() as stack:
            simulated = run_simulation(
                read,
                settings,
                duration_ns=duration_ns,
                seed=seed,
                times=timed,
                arrivals=replayed,
                switches=read_switches(read, at),
                observers=_observers(stack, trace, read.node, settings),
            )
    except (RotaError, OSError) as error:
        _say([_sentence(error)])
        raise typer.Exit(WRONG_USAGE) from error
    _say([*_machine_notes(read, settings), *simulated.notes, *_warnings(timed, replayed)])
    _show(simulated.report, trace, as_json=as_json)


def _observers(
    stack: ExitStack, trace: Path | None, node: str, settings: Settings
) -> list[_TraceFile]:
    return [] if trace is None else [_TraceFile(stack, trace, node, settings)]


def _warnings(*read: Records | None) -> list[str]:
    """What was wrong with the traces that were read, though not badly."""
    return [warning for records in read if records for warning in records.warnings]


class _TraceFile:
    """Writes each record as it comes: unlike a robot, a simulation can wait for its disk."""

    def __init__(self, stack: ExitStack, path: Path, node: str, settings: Settings) -> None:
        self._file: BinaryIO = stack.enter_context(path.open("wb"))
        header = Header(node=node, started_at=VIRTUAL_START, started_ns=0, settings=settings)
        self._file.write(encode_header(header))

    def observe(self, record: Record) -> None:
        """See Observer."""
        self._file.write(encode_record(record))


def _read(path: Path, mode: str | None, policy: str | None) -> tuple[Config, Settings]:
    config = in_first_mode(load_config(path), mode)
    settings = config.settings(machine_totals())
    if policy is None:
        return config, settings
    if policy not in POLICIES:
        raise ConfigError([f'--policy: "{policy}" is no policy; choose {" or ".join(POLICIES)}'])
    return config, replace(settings, policy=policy)


def _duration_ns(text: str) -> int:
    try:
        return read_duration(text, from_file=True, positive=True)
    except ValueError as error:
        raise ConfigError([f"--duration: {error}"]) from error


def _records(path: Path | None) -> Records | None:
    return None if path is None else read_trace(path)[1]


def _refuse_to_overwrite(trace: Path | None, read: Iterable[Path | None]) -> None:
    for path in read:
        if trace is not None and path is not None and trace.exists() and trace.samefile(path):
            raise ConfigError([f"--trace: {trace} is what is read; write to another file"])


def _sentence(error: RotaError | OSError) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the trace'}: {error.strerror}; check the path and the disk"
    return str(error)


def _machine_notes(config: Config, settings: Settings) -> list[str]:
    """Say which budgets are this machine's: the same file gives other figures elsewhere."""
    return [
        f"{config.budget_key(name)}: {sized(settings.pools[name].budget_bytes)} of this machine; "
        "write a size to simulate another one"
        for name, pool in config.memory.by_pool().items()
        if pool.budget.needs_machine
    ]


def _say(sentences: Iterable[str]) -> None:
    console = Console(stderr=True)
    for sentence in sentences:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _show(report: Report, trace: Path | None, *, as_json: bool) -> None:
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
        return
    console = Console()
    console.print(render_summary(report))
    if trace is not None:
        console.print(f"trace: {trace}", markup=False, highlight=False, soft_wrap=True)
