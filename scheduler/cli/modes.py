"""The options that name modes: the first one, and switches at given times."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Optional

import anyio
import typer

from scheduler.config.mistake import nearest
from scheduler.config.mode import NO_MODE
from scheduler.config.units import read_duration
from scheduler.errors import ConfigError, ModeRefused, ShuttingDown

if TYPE_CHECKING:
    from scheduler.config import Config
    from scheduler.runtime.clock import Clock
    from scheduler.runtime.runtime import Runtime

FirstMode = Annotated[
    Optional[str], typer.Option("--mode", help="Begin in this mode; default: the configuration's.")
]
SwitchTimes = Annotated[
    Optional[list[str]],
    typer.Option("--at", metavar="TIME=MODE", help="Switch modes then, as 10s=docking."),
]

Switches = tuple[tuple[int, Optional[str]], ...]
"""When to switch to which mode: ns from the start, None for none."""


def in_first_mode(config: Config, mode: str | None) -> Config:
    """The configuration with `mode` as its first. Raises ConfigError for a name it has not."""
    if mode is None:
        return config
    return config.model_copy(update={"mode": _known(config, mode, "--mode")})


def read_switches(config: Config, at: Iterable[str] | None) -> Switches:
    """What `--at` says, in the order of time. Raises ConfigError."""
    return tuple(sorted((_switch(config, text) for text in at or ()), key=lambda pair: pair[0]))


def _switch(config: Config, text: str) -> tuple[int, str | None]:
    time, equals, mode = text.partition("=")
    if not equals:
        raise ConfigError([f'--at: "{text}" is no switch; write TIME=MODE, as 10s=docking'])
    try:
        at_ns = read_duration(time, from_file=True)
    except ValueError as error:
        raise ConfigError([f"--at: {error}"]) from error
    return at_ns, _known(config, mode, "--at")


def _known(config: Config, mode: str, option: str) -> str | None:
    if mode == NO_MODE:
        return None
    if mode not in config.modes:
        known = [*config.modes, NO_MODE]
        raise ConfigError([f'{option}: "{mode}" is not in modes; {nearest(mode, known)}'])
    return mode


async def keep_switching(
    runtime: Runtime, switches: Switches, clock: Clock, started_ns: int
) -> None:
    """Switch at each of the times, reached or not. What is refused is in the runtime's log."""
    async with anyio.create_task_group() as switching:
        for at_ns, mode in switches:
            await clock.sleep_until(started_ns + at_ns)
            switching.start_soon(_switch_to, runtime, mode)


async def _switch_to(runtime: Runtime, mode: str | None) -> None:
    with suppress(ModeRefused, ShuttingDown):
        await runtime.switch(mode)
