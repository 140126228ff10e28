"""What became of one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scheduler.core.outcome import Outcome
from scheduler.source.source import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The `sequence`-th frame of a source and its end.

    `outcome` is None for a frame that was dropped before it was sent; `detail` says why there is no
    `result`. `latency_ns` counts from when the frame was due.
    """

    source: str
    model: str
    sequence: int
    frame: Frame
    outcome: Outcome | None
    result: Any = None
    detail: str = ""
    latency_ns: int = 0
