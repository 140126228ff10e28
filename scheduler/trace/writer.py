"""Writes a trace while the robot runs, without ever making it wait for a disk.

A record is encoded where it is observed: that takes a microsecond, always the same. A thread of its
own writes what has gathered, since a slow memory card can block a write for seconds; writing gives
up the interpreter, so that thread disturbs nobody.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler.trace.line import TraceError, encode_header, encode_record

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from scheduler.trace.header import Header
    from scheduler.trace.record import Record

FLUSH_S = 0.2
"""How much of the end a crash may cost."""
LIMIT_LINES = 65_536
"""How many lines may wait for the disk, about 16 MiB, before further ones are lost."""


class TraceWriter:
    """Writes the header, then each observed record, to `path` (an old file is replaced).

    When the disk is so slow that `limit_lines` wait for it, or it fails, records are lost and
    counted in `lost`: the robot goes on. Readers see a loss as a gap in the sequence. `error` is
    what the disk said, or None. Raises OSError at once when `path` cannot be opened or written.
    """

    def __init__(self, path: str | Path, header: Header, *, limit_lines: int = LIMIT_LINES) -> None:
        self.path = Path(path)
        self.lost = 0
        self.error: OSError | None = None
        self._limit_lines = limit_lines
        self._lines: deque[bytes] = deque()
        self._is_closed = False
        self._closing = threading.Event()
        self._file = self.path.open("wb", buffering=0)
        try:
            self._write_all(encode_header(header))
        except OSError:
            self._file.close()
            raise
        self._thread = threading.Thread(target=self._write, name="rota-trace", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._finish()
        if exc is None:
            self._raise_if_lost()

    def observe(self, record: Record) -> None:
        """Take a record. Never blocks, never raises for lack of disk."""
        if self.error or self._is_closed or len(self._lines) >= self._limit_lines:
            self.lost += 1
            return
        self._lines.append(encode_record(record))

    def close(self) -> None:
        """Write what waits and close the file. Raises TraceError when records were lost."""
        self._finish()
        self._raise_if_lost()

    def _finish(self) -> None:
        self._is_closed = True
        self._closing.set()
        self._thread.join()

    def _raise_if_lost(self) -> None:
        if self.error:
            raise TraceError(
                f"{self.path}: {self.error.strerror or self.error}; the trace ends early, "
                f"{self.lost} records were lost. Free space or choose another path"
            ) from self.error
        if self.lost:
            raise TraceError(
                f"{self.path}: the disk was too slow and {self.lost} records were lost. "
                "Write the trace to a faster disk"
            )

    def _write(self) -> None:
        with self._file:
            while not self._closing.wait(FLUSH_S) and self._drain():
                pass
            self._drain()

    def _drain(self) -> bool:
        """Write what waits. False when the disk failed, now or before."""
        chunk = [self._lines.popleft() for _ in range(len(self._lines))]
        try:
            if not self.error:
                self._write_all(b"".join(chunk))
        except OSError as error:
            self.error = error
        if self.error:
            self.lost += len(chunk)
        return self.error is None

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
