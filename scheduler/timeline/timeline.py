"""What there is to draw: lanes of spans and the memory under them, without a picture's measures."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from scheduler.core.outcome import Outcome
from scheduler.timeline.spans import Spans

if TYPE_CHECKING:
    from scheduler.report.report import Report
    from scheduler.timeline.memory import MemoryTrack


class Phase(str, Enum):
    """What a model's engine, or somebody on its behalf, was doing."""

    LOADING = "loading"
    RESIDENT = "in memory"
    UNLOADING = "unloading"
    HELD = "held"
    RUNNING = "running"
    WAITING = "waiting"


MARKED = (Outcome.DEADLINE_MISSED, Outcome.REJECTED, Outcome.FAILED, Outcome.PREEMPTED)
"""The outcomes that leave a mark on their model's lane."""


@dataclass(slots=True)
class Lane:
    """One model. A mark is a span without length at the moment of a request's end."""

    model: str
    priority: int = 0
    pinned: bool = False
    spans: dict[Phase, Spans] = field(default_factory=lambda: {phase: Spans() for phase in Phase})
    marks: dict[Outcome, Spans] = field(default_factory=lambda: {kind: Spans() for kind in MARKED})


@dataclass(frozen=True, slots=True)
class Timeline:
    """A run, or a part of one, from `start_ns` to `end_ns`; lanes in the order of registration."""

    node: str
    started_at: str
    start_ns: int
    end_ns: int
    lanes: tuple[Lane, ...]
    pools: tuple[MemoryTrack, ...]
    report: Report
