"""Draws a pool's memory: reserved bytes stacked by model, the budget and what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.amounts import sized
from scheduler.timeline.element import Element, add, hover, number, words
from scheduler.timeline.memory import MemoryStep, MemoryTrack, highest
from scheduler.timeline.scale import nice_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler.timeline.scale import Scale

PANEL = 150
BIN_PX = 0.3
"""Of the steps within such a width the highest is drawn."""
ROOM_ABOVE = 1.06
GRID_LINES = 4
MIB = 1 << 20
GIB = 1 << 30


class MemoryPanel:
    """A pool's measures: `top` is its upper edge in the picture."""

    def __init__(self, track: MemoryTrack, top: float, scale: Scale) -> None:
        self.track = track
        self.top = top
        self.scale = scale
        self.most_bytes = track.top_bytes * ROOM_ABOVE

    def y(self, amount: int) -> float:
        """Where so many bytes are, from the top of the picture."""
        return self.top + PANEL * (1 - amount / self.most_bytes)

    def draw(self, plot: Element, models: Mapping[str, str]) -> None:
        """Draw the bands, each from the floor up, the highest first; `models` has their classes."""
        steps = list(highest(self.track.steps, BIN_PX * self.scale.pixel_ns))
        if steps:
            total = [step.reserved_bytes for step in steps]
            self._draw_band(plot, "running", "muted work", self._area(steps, total))
            edge = [step.reserved_bytes - step.running_bytes for step in steps]
            for model, class_ in reversed(list(models.items())):
                if any(model in step.by_model for step in steps):
                    self._draw_band(plot, model, f"band {class_}", self._area(steps, edge))
                    edge = [
                        y - step.by_model.get(model, 0) for y, step in zip(edge, steps, strict=True)
                    ]
            self._draw_band(plot, "overhead and residue", "rest", self._area(steps, edge))
        self._draw_lines(plot)

    def _draw_band(self, plot: Element, name: str, class_: str, area: str) -> None:
        """Each band lies on paper, so that what is drawn below it does not show through."""
        add(plot, "path", d=area, class_="paper")
        hover(add(plot, "path", d=area, class_=class_), name)

    def draw_scale(self, picture: Element, left: float, right: float) -> None:
        """Draw the grid and its figures outside of what can be zoomed."""
        word, unit = ("GiB", GIB) if self.most_bytes > 2 * GIB else ("MiB", MIB)
        step = nice_step(self.most_bytes / unit / GRID_LINES)
        for index in range(int(self.most_bytes / unit / step) + 1):
            y = self.y(int(index * step * unit))
            add(picture, "line", x1=left, x2=right, y1=y, y2=y, class_="grid line-stroke")
            words(picture, left - 8, y + 4, f"{index * step:g} {word}", "small muted end")

    def _area(self, steps: Sequence[MemoryStep], heights: Sequence[int]) -> str:
        path = [f"M{number(self.scale.x(steps[0].at_ns))} {number(self.y(0))}"]
        drawn = None
        for step, height in zip(steps, heights, strict=True):
            if height != drawn:
                path.append(f"H{number(self.scale.x(step.at_ns))}V{number(self.y(height))}")
                drawn = height
        path.append(f"H{number(self.scale.width)}V{number(self.y(0))}Z")
        return "".join(path)

    def _draw_lines(self, plot: Element) -> None:
        budget = self._stairs([(at_ns or 0, amount) for at_ns, amount in self.track.budgets])
        line = add(plot, "path", d=budget, class_="stroke dashed miss-stroke")
        hover(line, f"budget {sized(self.track.budgets[-1][1])}")
        if self.track.samples:
            measured = add(
                plot, "path", d=self._stairs(self.track.samples), class_="stroke ink-stroke"
            )
            hover(measured, "measured")

    def _stairs(self, points: Sequence[tuple[int, int]]) -> str:
        (first_ns, first), *rest = points
        path = [f"M{number(max(0.0, self.scale.x(first_ns)))} {number(self.y(first))}"]
        path += [f"H{number(self.scale.x(at))}V{number(self.y(amount))}" for at, amount in rest]
        return "".join([*path, f"H{number(self.scale.width)}"])
