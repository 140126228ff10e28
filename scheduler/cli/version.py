"""`rota --version`: which Rota this is."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from scheduler.core import scheduler


def is_compiled() -> bool:
    """Whether the core runs as machine code, see `hatch_build.py`."""
    return Path(scheduler.__file__).suffix != ".py"


def _show(asked: bool) -> None:  # noqa: FBT001 - typer's way to call
    if asked:
        core = "compiled" if is_compiled() else "interpreted"
        typer.echo(f"rota {version('rota')}, its core {core}")
        raise typer.Exit


def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show, is_eager=True, help="Which Rota this is.")
    ] = False,
) -> None:
    """Take what belongs to no subcommand."""
    del version
