"""Results as lines of strict JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scheduler.sink.plain import Plain
from scheduler.sink.sink import Sink
from scheduler.source.answer import Answer

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000


class JsonlSink(Sink):
    """One object per answer, written and flushed at once; an existing file is written anew.

    Keys: `model`, `source`, `sequence`, `stamp_s` (the frame's own time: that of the recording, or
    monotonic; null without one), `latency_ms` (from when the frame was due), `outcome`, then
    `result` or `reason`; `gap: true` when frames are missing before this one, `non_finite: true`
    when a nan or an infinity became null. See `Plain` for what becomes of arrays.

    Raises:
        OSError: the file cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def write(self, answer: Answer) -> None:
        """Write the line and flush it, so that a crash loses none."""
        self._file.write(json.dumps(_line(answer), allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _line(answer: Answer) -> dict[str, Any]:
    plain = Plain()
    stamp_ns = answer.frame.stamp_ns
    line: dict[str, Any] = {
        "model": answer.model,
        "source": answer.source,
        "sequence": answer.sequence,
        "stamp_s": None if stamp_ns is None else stamp_ns / _NS_PER_S,
        "latency_ms": answer.latency_ns / _NS_PER_MS,
        "outcome": None if answer.outcome is None else answer.outcome.value,
    }
    if answer.detail:
        line["reason"] = answer.detail
    else:
        line["result"] = plain.value(answer.result)
    if answer.frame.gap:
        line["gap"] = True
    if plain.non_finite:
        line["non_finite"] = True
    return line
