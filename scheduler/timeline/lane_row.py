"""Draws one model's lane: when it was in memory, ran, was held, waited and missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.model import SECOND_NS
from scheduler.core.outcome import Outcome
from scheduler.timeline.element import Element, add, box, hover
from scheduler.timeline.spans import Span, Spans, merged
from scheduler.timeline.timeline import Lane, Phase

if TYPE_CHECKING:
    from scheduler.timeline.scale import Scale

ROW = 46
BAR_TOP = 11
BAR = 26
RUN_TOP = BAR_TOP + 5
RUN = BAR - 10
WAIT_TOP = BAR_TOP + BAR + 2

GAP = 0.75
"""Blocks that are fewer pixels apart are one block; its depth of colour says how busy it was."""
MARK_GAP = 2.0
MARK = 1.6
FINE_PX = 0.2
"""A pixel for somebody who has zoomed in."""
ADJACENT_PX = 0.02
MOST_BLOCKS = 2_000
"""So many blocks of one kind at most are drawn on a lane."""
DEPTHS = 4

MARK_HEIGHTS = {
    Outcome.DEADLINE_MISSED: 9,
    Outcome.FAILED: 9,
    Outcome.REJECTED: 5,
    Outcome.PREEMPTED: 5,
}
MARK_CLASSES = {
    Outcome.DEADLINE_MISSED: "miss",
    Outcome.FAILED: "ink",
    Outcome.REJECTED: "refuse",
    Outcome.PREEMPTED: "muted",
}
MARK_WORDS = {
    Outcome.DEADLINE_MISSED: "missed deadline",
    Outcome.FAILED: "failed",
    Outcome.REJECTED: "rejected",
    Outcome.PREEMPTED: "preempted",
}


class LaneRow:
    """A lane on its way into the group `row`, whose own top is 0. It is `ROW` pixels high."""

    def __init__(self, row: Element, lane: Lane, colour: int, scale: Scale) -> None:
        self.row = row
        self.lane = lane
        self.colour = colour
        self.scale = scale

    def draw(self, *, detailed: bool) -> None:
        """Draw it; with `detailed`, single runs are in it too, for readers who can zoom."""
        self._draw_residency()
        self._draw_waits()
        self._draw_moments("coarse", 1)
        if detailed:
            self._draw_moments("fine", FINE_PX)
        for span in self._bounded(Phase.HELD, ADJACENT_PX):
            x, width = self._place(span, 2)
            held = add(
                self.row, "rect", x=x, y=BAR_TOP + 1, width=width, height=BAR - 2, rx=3,
                class_=f"outline s{self.colour}",
            )  # fmt: skip
            hover(held, self._during(span, "held"))

    def _draw_moments(self, class_: str, pixel: float) -> None:
        """What is short: runs and marks, as coarse as befits pixels of that size."""
        group = add(self.row, "g", class_=class_)
        self._draw_runs(add(group, "g", class_=f"c{self.colour}"), pixel)
        for outcome, marks in self.lane.marks.items():
            self._draw_marks(group, marks, outcome, pixel)

    def _draw_residency(self) -> None:
        looks = {
            Phase.LOADING: {"fill": f"url(#hatch{self.colour})"},
            Phase.RESIDENT: {"class_": f"resident c{self.colour}"},
            Phase.UNLOADING: {"class_": f"unloading c{self.colour}"},
        }
        for phase, look in looks.items():
            for span in self._bounded(phase, ADJACENT_PX):
                x, width = self._place(span, 0)
                bar = add(self.row, "rect", x=x, y=BAR_TOP, width=width, height=BAR, **look)
                hover(bar, self._during(span, phase.value))

    def _draw_waits(self) -> None:
        for span in self._bounded(Phase.WAITING, GAP):
            x, width = self._place(span, 0)
            if width >= 1:
                line = box(self.row, "rest", x=x, y=WAIT_TOP, width=width, height=2.5)
                hover(line, self._during(span, "waited for"))

    def _draw_runs(self, group: Element, pixel: float) -> None:
        for span in self._bounded(Phase.RUNNING, GAP * pixel):
            x, width = self._place(span, pixel)
            block = add(group, "rect", x=x, y=RUN_TOP, width=width, height=RUN)
            depth = min(DEPTHS, 1 + int(span.busy_share * DEPTHS))
            if depth < DEPTHS:
                block.set("class", f"b{depth}")
            hover(block, self._during(span, "running"))

    def _draw_marks(self, group: Element, marks: Spans, outcome: Outcome, pixel: float) -> None:
        height, class_ = MARK_HEIGHTS[outcome], MARK_CLASSES[outcome]
        for span in merged(marks, MARK_GAP * pixel * self.scale.pixel_ns):
            x, width = self._place(span, MARK * pixel)
            top = BAR_TOP - 1 - height
            mark = box(group, class_, x=x - MARK * pixel / 2, y=top, width=width, height=height)
            times = f" {span.count} times" if span.count > 1 else ""
            at_s = (span.start_ns - self.scale.start_ns) / SECOND_NS
            hover(mark, f"{MARK_WORDS[outcome]}{times} at {at_s:.3f} s {span.note}".rstrip())

    def _bounded(self, phase: Phase, gap_px: float) -> list[Span]:
        """The spans of a phase, merged until they are few enough to draw."""
        gap_ns = gap_px * self.scale.pixel_ns
        spans = list(merged(self.lane.spans[phase], gap_ns))
        while len(spans) > MOST_BLOCKS:
            gap_ns *= 2
            spans = list(merged(spans, gap_ns))
        return spans

    def _place(self, span: Span, at_least: float) -> tuple[float, float]:
        x = self.scale.x(span.start_ns)
        return x, max(at_least, self.scale.x(span.end_ns) - x)

    def _during(self, span: Span, what: str) -> str:
        start_s = (span.start_ns - self.scale.start_ns) / SECOND_NS
        length_ms = (span.end_ns - span.start_ns) / 1e6
        text = f"{self.lane.model} {what}"
        if span.count > 1:
            share = f", {span.busy_share:.0%} of the time"
            return f"{text} {span.count} times from {start_s:.3f} s for {length_ms:,.1f} ms{share}"
        note = f" ({span.note})" if span.note else ""
        return f"{text} from {start_s:.3f} s for {length_ms:,.1f} ms{note}"
