"""Reading the configuration that a command was given."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from scheduler.cli.exit_status import WRONG
from scheduler.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file.")]


@contextmanager
def reported() -> Iterator[None]:
    """Turn what is wrong with a configuration into one line per mistake and exit status 2."""
    try:
        yield
    except (ConfigError, PluginError) as error:
        complain(str(error))
        raise typer.Exit(WRONG) from error


def complain(text: str) -> None:
    """Print to standard error, as it is: paths may look like markup."""
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
