"""Results as lines for people."""

from __future__ import annotations

import sys
from reprlib import Repr
from typing import Any, TextIO

import numpy as np

from scheduler.core.outcome import Outcome
from scheduler.sink.sink import Sink
from scheduler.source.answer import Answer

_NS_PER_MS = 1_000_000

RESULT_CHARACTERS = 200
"""What of a result or a reason is shown."""


class ConsoleSink(Sink):
    """One line per answer: model, source, latency from when the frame was due, result or reason."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._repr = _Short()

    def write(self, answer: Answer) -> None:
        """Write the line and flush it."""
        latency_ms = answer.latency_ns / _NS_PER_MS
        self._stream.write(
            f"{answer.model:<12} {answer.source:<12} {latency_ms:8.1f} ms  {self._what(answer)}\n"
        )
        self._stream.flush()

    def _what(self, answer: Answer) -> str:
        if answer.outcome is Outcome.COMPLETED:
            return _one_line(self._repr.repr(answer.result))
        word = "" if answer.outcome is None else answer.outcome.value
        return _one_line(f"{word}: {answer.detail}")


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= RESULT_CHARACTERS else f"{line[:RESULT_CHARACTERS]}..."


class _Short(Repr):
    """reprlib's, with arrays told by type and shape."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist, self.maxtuple = 3, 8, 4, 4
        self.maxstring = self.maxother = 120

    def repr1(self, x: Any, level: int) -> str:
        if isinstance(x, np.ndarray):
            return f"{x.dtype} {x.shape}"
        if isinstance(x, (float, np.floating)):
            return f"{float(x):.4g}"
        return super().repr1(x, level)
