"""Reads a trace back, record by record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scheduler.trace.line import TraceError, decode_header, decode_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.trace.header import Header
    from scheduler.trace.record import Record


class Records:
    """The records of a trace, each time it is iterated from the first.

    `warnings` holds what the last iteration met that a reader should know: records missing from
    the middle, or a last line cut off by a crash. Anything else wrong raises TraceError with the
    file and the line's number.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[str] = []

    def __iter__(self) -> Iterator[Record]:
        self.warnings = []
        previous: int | None = None
        for number, line, is_last in _numbered_lines(self.path):
            record = self._decoded(number, line, is_last=is_last)
            if record is None:
                return
            if previous is not None and record.sequence != previous + 1:
                self._warn_gap(number, previous, record.sequence)
            previous = record.sequence
            yield record

    def _decoded(self, number: int, line: bytes, *, is_last: bool) -> Record | None:
        try:
            return decode_record(line)
        except TraceError as error:
            if not is_last:
                raise TraceError(f"{self.path}:{number}: {error}") from error
        self.warnings.append(f"{self.path}:{number}: the last line is cut off and was left out")
        return None

    def _warn_gap(self, number: int, previous: int, found: int) -> None:
        if found <= previous:
            raise TraceError(
                f"{self.path}:{number}: record {found} comes after record {previous}; "
                "the file is not one trace as it was written"
            )
        self.warnings.append(
            f"{self.path}:{number}: records {previous + 1} to {found - 1} are missing"
        )


def read_trace(path: str | Path) -> tuple[Header, Records]:
    """The header and the records of the trace at `path`.

    Raises:
        OSError: the file cannot be opened.
        TraceError: it is not a trace; while iterating, a line is corrupt.
    """
    path = Path(path)
    with path.open("rb") as file:
        line = file.readline()
    if not line:
        raise TraceError(f"{path}: is empty; was the run ended before it began?")
    try:
        header = decode_header(line)
    except TraceError as error:
        raise TraceError(f"{path}:1: {error}") from error
    return header, Records(path)


def _numbered_lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Every line after the header with its number, and whether it is the last."""
    with path.open("rb") as file:
        file.readline()
        held = file.readline()
        number = 2
        while held:
            following = file.readline()
            yield number, held, not following
            held = following
            number += 1
