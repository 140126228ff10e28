"""Reading the trace that a command was given."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scheduler.cli.configuration import complain
from scheduler.cli.exit_status import WRONG
from scheduler.trace.line import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterator

TracePath = Annotated[Path, typer.Argument(metavar="TRACE", help="Written by rota run --trace.")]


@contextmanager
def legible() -> Iterator[None]:
    """Turn what is wrong with a trace into one line and exit status 2."""
    try:
        yield
    except TraceError as error:
        complain(str(error))
        raise typer.Exit(WRONG) from error
    except OSError as error:
        complain(f"{error.filename or 'the trace'}: {error.strerror}; check the path and the disk")
        raise typer.Exit(WRONG) from error
