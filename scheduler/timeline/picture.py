"""Puts the picture together: title, legend, lanes, memory and the axis."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from scheduler.core.amounts import sized
from scheduler.core.model import SECOND_NS
from scheduler.timeline.element import SVG, Element, add, box, hover, words
from scheduler.timeline.lane_row import BAR, BAR_TOP, ROW, LaneRow
from scheduler.timeline.legend import draw_legend
from scheduler.timeline.memory_panel import PANEL, MemoryPanel
from scheduler.timeline.palette import COLOURS, style
from scheduler.timeline.scale import Scale

if TYPE_CHECKING:
    from scheduler.report.report import ModelReport
    from scheduler.timeline.timeline import Lane, Timeline

WIDTH = 1200
LEFT = 140
RIGHT = 170
PLOT = WIDTH - LEFT - RIGHT
TOP = 104
PANEL_GAP = 34
AXIS = 34
LINE = 14
NAME_LENGTH = 16
MEMORY_KEY = (("while running", "muted work"), ("overhead, residue", "rest"))


def draw(timeline: Timeline, *, detailed: bool = False) -> Element:
    """The whole picture as an `svg` element, `WIDTH` pixels wide by its own measure.

    With `detailed` it also has what a reader sees who zooms in (`zoom.js`).
    """
    scale = Scale(timeline.start_ns, timeline.end_ns, PLOT)
    lanes_end = TOP + ROW * len(timeline.lanes)
    panels = [
        MemoryPanel(track, lanes_end + PANEL_GAP + index * (PANEL + PANEL_GAP), scale)
        for index, track in enumerate(timeline.pools)
    ]
    bottom = lanes_end + len(panels) * (PANEL + PANEL_GAP)
    picture = _frame(bottom + AXIS)
    _draw_title(picture, timeline)
    draw_legend(picture, timeline, LEFT, 78)
    _draw_axis(picture, scale, bottom)
    _draw_beside_lanes(picture, timeline)
    _draw_beside_panels(picture, timeline, panels)
    plot = _plot(picture, bottom)
    classes = {lane.model: f"c{index % COLOURS}" for index, lane in enumerate(timeline.lanes)}
    for panel in panels:
        panel.draw(plot, classes)
    for index, lane in enumerate(timeline.lanes):
        row = add(plot, "g", transform=f"translate(0 {TOP + index * ROW})")
        LaneRow(row, lane, index % COLOURS, scale).draw(detailed=detailed)
    if detailed:
        _measures(picture, timeline, bottom)
    return picture


def _frame(height: float) -> Element:
    picture = ET.Element("svg", {"xmlns": SVG, "viewBox": f"0 0 {WIDTH} {height:g}"})
    picture.set("role", "img")
    add(picture, "style", style())
    definitions = add(picture, "defs")
    for colour in range(COLOURS):
        _hatch(definitions, f"hatch{colour}", f"s{colour}")
    _hatch(definitions, "hatch", "muted-stroke")
    box(picture, "paper", x=0, y=0, width=WIDTH, height=height)
    return picture


def _hatch(definitions: Element, name: str, class_: str) -> None:
    pattern = add(
        definitions, "pattern", id=name, width=5, height=5,
        patternUnits="userSpaceOnUse", patternTransform="rotate(45)",
    )  # fmt: skip
    add(pattern, "line", x1=0, y1=0, x2=0, y2=5, class_=f"hatch {class_}")


def _draw_title(picture: Element, timeline: Timeline) -> None:
    report = timeline.report
    models = report.models.values()
    asked, served = sum(m.requests for m in models), sum(m.completed for m in models)
    missed = sum(m.deadline_missed for m in models)
    figures = [
        f"{report.duration_s:.1f} s",
        f"{served:,} of {asked:,} requests served",
        f"{missed:,} missed their deadline",
        f"{report.swaps_per_minute:.1f} swaps per minute",
    ]
    figures += [
        f"{name}: at most {sized(pool.high_water_bytes)} of {sized(pool.budget_bytes)}"
        for name, pool in report.memory.items()
    ]
    words(picture, 24, 34, timeline.node, "title ink")
    when = words(picture, WIDTH - 24, 34, _time_of_day(timeline.started_at), "small muted end")
    hover(when, "when the run began")
    words(picture, 24, 56, "  ·  ".join(figures), "muted")


def _draw_axis(picture: Element, scale: Scale, bottom: float) -> None:
    axis = add(picture, "g", id="axis")
    for x, text in scale.labels():
        at = LEFT + x
        add(axis, "line", x1=at, x2=at, y1=TOP - 6, y2=bottom + 4, class_="grid line-stroke")
        words(axis, at, bottom + 19, text, "small muted middle")


def _draw_beside_lanes(picture: Element, timeline: Timeline) -> None:
    for index, lane in enumerate(timeline.lanes):
        top = TOP + index * ROW
        box(picture, "bed", x=LEFT, y=top + BAR_TOP, width=PLOT, height=BAR)
        name = words(picture, 24, top + BAR_TOP + 12, _short(lane.model), "name ink")
        hover(name, lane.model)
        words(picture, 24, top + BAR_TOP + 26, _rank(lane), "small muted")
        report = timeline.report.models.get(lane.model)
        if report is not None:
            _draw_figures(picture, report, top)


def _draw_figures(picture: Element, report: ModelReport, top: float) -> None:
    left = WIDTH - RIGHT + 12
    served = f"{report.completed:,} of {report.requests:,} served"
    words(picture, left, top + BAR_TOP + 12, served, "small ink")
    loads = f"{report.loads:,} load" + ("" if report.loads == 1 else "s")
    line = words(picture, left, top + BAR_TOP + 26, "", "small muted")
    if report.deadline_missed:
        add(line, "tspan", f"{report.deadline_missed:,} missed", class_="miss")
        add(line, "tspan", f" · {loads}")
    else:
        line.text = loads


def _draw_beside_panels(picture: Element, timeline: Timeline, panels: list[MemoryPanel]) -> None:
    left = WIDTH - RIGHT + 12
    for panel in panels:
        panel.draw_scale(picture, LEFT, LEFT + PLOT)
        words(picture, LEFT, panel.top - 8, f"memory, {_short(panel.track.name)}", "name ink")
        pool = timeline.report.memory[panel.track.name]
        budget_y = panel.y(pool.budget_bytes) + 4
        words(picture, left, budget_y, f"budget {sized(pool.budget_bytes)}", "small miss")
        measured = pool.measured_high_water_bytes
        if measured is not None:
            y = panel.y(measured) + 4
            if abs(y - budget_y) < LINE:
                y = budget_y + LINE
            words(picture, left, y, f"measured up to {sized(measured)}", "small ink")
        for row, (word, class_) in enumerate(MEMORY_KEY):
            y = panel.top + PANEL - 18 * (len(MEMORY_KEY) - row) + 10
            box(picture, class_, x=left, y=y, width=10, height=10)
            words(picture, left + 15, y + 9, word, "small muted")


def _plot(picture: Element, bottom: float) -> Element:
    """What moves and stretches when a reader zooms: an inner picture with its own view."""
    return add(
        picture, "svg", id="plot", x=LEFT, y=0, width=PLOT, height=bottom,
        viewBox=f"0 0 {PLOT} {bottom:g}", preserveAspectRatio="none",
    )  # fmt: skip


def _measures(picture: Element, timeline: Timeline, bottom: float) -> None:
    """Tell the script where the plot is and how long it lasts."""
    seconds = (timeline.end_ns - timeline.start_ns) / SECOND_NS
    measures = {
        "left": LEFT,
        "width": PLOT,
        "top": TOP - 6,
        "bottom": bottom + 4,
        "seconds": seconds,
    }
    for name, value in measures.items():
        picture.set(f"data-{name}", f"{value:g}" if name != "seconds" else f"{value:.9f}")


def _time_of_day(started_at: str) -> str:
    """`2026-01-02 03:04:05` of an ISO 8601 time."""
    return started_at.replace("T", " ")[:19]


def _rank(lane: Lane) -> str:
    return f"priority {lane.priority}" + (", pinned" if lane.pinned else "")


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"
