"""The flight recorder: the last moments, kept in memory, written when somebody wants to know."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler.core.events import ModelRegistered, ModelRemoved
from scheduler.trace.line import encode_header, encode_record

if TYPE_CHECKING:
    from scheduler.trace.header import Header
    from scheduler.trace.record import Record


class FlightRecorder:
    """Keeps the last `limit` records, and with them how each present model was registered.

    `dump` writes a trace that the reader takes like any other; where older records are missing it
    says so.
    """

    def __init__(self, header: Header, limit: int = 10_000) -> None:
        self.header = header
        self._records: deque[Record] = deque(maxlen=limit)
        self._registrations: dict[str, Record] = {}

    def __len__(self) -> int:
        return len(self._records)

    def observe(self, record: Record) -> None:
        """Take a record; the oldest one beyond the limit is forgotten."""
        self._records.append(record)
        if isinstance(record.event, ModelRegistered):
            self._registrations[record.event.spec.name] = record
        elif isinstance(record.event, ModelRemoved):
            self._registrations.pop(record.event.model, None)

    def records(self) -> list[Record]:
        """What is kept, in order: older registrations first, then the last records."""
        first = self._records[0].sequence if self._records else 0
        registrations = self._registrations.values()
        older = sorted(
            (record for record in registrations if record.sequence < first),
            key=lambda record: record.sequence,
        )
        return [*older, *self._records]

    def to_bytes(self) -> bytes:
        """All of it as a trace."""
        return b"".join([encode_header(self.header), *map(encode_record, self.records())])

    def dump(self, path: str | Path) -> None:
        """Write it all to `path` as a trace, whole or not at all. Raises OSError."""
        path = Path(path)
        unfinished = path.with_name(path.name + ".unfinished")
        with unfinished.open("wb") as file:
            file.write(self.to_bytes())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
