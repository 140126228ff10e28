"""Where a moment lies in the picture, and which moments get a label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scheduler.core.model import SECOND_NS

LABELS = 11
"""About so many labels along the axis."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From `start_ns` at 0 to `end_ns` at `width` pixels."""

    start_ns: int
    end_ns: int
    width: float

    @property
    def pixel_ns(self) -> float:
        """How long a pixel is."""
        return max(1, self.end_ns - self.start_ns) / self.width

    def x(self, at_ns: int) -> float:
        """Pixels from the left."""
        return (at_ns - self.start_ns) / self.pixel_ns

    def labels(self) -> Iterator[tuple[float, str]]:
        """Pixels and words of the labelled moments, in seconds since the start."""
        length_s = (self.end_ns - self.start_ns) / SECOND_NS
        step_s = nice_step(length_s / LABELS)
        for index in range(int(length_s / step_s + 1e-9) + 1):
            at_s = index * step_s
            yield self.x(self.start_ns + round(at_s * SECOND_NS)), f"{at_s:g} s"


def nice_step(at_least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20 … (and .5, .2 …) that is not below `at_least`."""
    if at_least <= 0:
        return 1.0
    decade = 10.0
    while decade > at_least:
        decade /= 10
    while decade * 10 <= at_least:
        decade *= 10
    return next(step for step in (decade, 2 * decade, 5 * decade, 10 * decade) if step >= at_least)
