"""The legend: only what this picture really shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.timeline.element import Element, add, box, words
from scheduler.timeline.lane_row import MARK_CLASSES, MARK_HEIGHTS, MARK_WORDS
from scheduler.timeline.timeline import Phase

if TYPE_CHECKING:
    from scheduler.timeline.timeline import Timeline

SWATCH = 20
HEIGHT = 12
LETTER_PX = 6.1
"""About the width of a letter at 11 px, to place the next entry."""


def draw_legend(picture: Element, timeline: Timeline, left: float, top: float) -> None:
    """Draw the entries in a row from `left`; `top` is the upper edge of the swatches."""
    x = left
    for phase in Phase:
        if any(len(lane.spans[phase]) for lane in timeline.lanes):
            _draw_phase(picture, phase, x, top)
            x = _label(picture, phase.value, x, top)
    for outcome, word in MARK_WORDS.items():
        if any(len(lane.marks[outcome]) for lane in timeline.lanes):
            height = MARK_HEIGHTS[outcome]
            box(
                picture,
                MARK_CLASSES[outcome],
                x=x + SWATCH - 4,
                y=top + HEIGHT - height,
                width=2,
                height=height,
            )
            x = _label(picture, word, x, top)
    for word, class_ in (("budget", "dashed miss-stroke"), ("measured", "ink-stroke")):
        if word == "budget" or any(pool.samples for pool in timeline.pools):
            y = top + HEIGHT / 2
            add(picture, "line", x1=x, x2=x + SWATCH, y1=y, y2=y, class_=f"stroke {class_}")
            x = _label(picture, word, x, top)


def _draw_phase(picture: Element, phase: Phase, x: float, top: float) -> None:
    if phase is Phase.LOADING:
        add(picture, "rect", x=x, y=top, width=SWATCH, height=HEIGHT, fill="url(#hatch)")
    elif phase is Phase.HELD:
        class_ = "outline muted-stroke"
        add(picture, "rect", x=x, y=top, width=SWATCH, height=HEIGHT, rx=3, class_=class_)
    elif phase is Phase.WAITING:
        box(picture, "rest", x=x, y=top + HEIGHT / 2, width=SWATCH, height=2.5)
    else:
        classes = {Phase.RESIDENT: "resident muted", Phase.UNLOADING: "unloading muted"}
        box(picture, classes.get(phase, "muted"), x=x, y=top, width=SWATCH, height=HEIGHT)


def _label(picture: Element, word: str, x: float, top: float) -> float:
    words(picture, x + SWATCH + 6, top + HEIGHT - 2, word, "small muted")
    return x + SWATCH + 6 + LETTER_PX * len(word) + 16
