"""The picture as a page: zoom, words under the pointer, and the figures in a table."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from scheduler.timeline.element import printable
from scheduler.timeline.picture import draw

if TYPE_CHECKING:
    from scheduler.report.report import ModelReport
    from scheduler.timeline.timeline import Timeline

HEADINGS = (
    "model", "requests", "served", "missed", "rejected", "failed", "preempted", "cancelled",
    "p50 ms", "p99 ms", "max ms", "loads", "unloads",
)  # fmt: skip

_STYLE = """:root { color-scheme: light dark }
body { margin: 0 auto; max-width: 1600px; background: #ffffff; color: #1c2128;
  font: 14px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
svg { display: block; width: 100%; height: auto }
#plot { cursor: crosshair; user-select: none }
.choice { fill: #7f8b99; fill-opacity: .25; pointer-events: none }
p { margin: 0 2%; color: #656d79 }
table { border-collapse: collapse; margin: 1.5em 2%; font-variant-numeric: tabular-nums }
th, td { padding: .35em .8em; text-align: right; border-bottom: 1px solid #e3e6ea }
th:first-child, td:first-child { text-align: left; font-weight: 600 }
th { font-weight: 500; color: #656d79 }
@media (prefers-color-scheme: dark) {
body { background: #0f1318; color: #e6e9ed }
p, th { color: #98a2ae }
th, td { border-color: #2a313a }
}"""


def render_page(timeline: Timeline) -> str:
    """The whole page; it needs nothing but itself."""
    picture = ET.tostring(draw(timeline, detailed=True), encoding="unicode")
    script = files("scheduler.timeline").joinpath("zoom.js").read_text("utf-8")
    title = escape(printable(f"{timeline.node}: timeline"))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{_STYLE}
</style>
</head>
<body>
{picture}
<p>Drag over the picture to zoom in, double-click to see the whole again.</p>
{_table(timeline)}
<script>
{script}</script>
</body>
</html>
"""


def _table(timeline: Timeline) -> str:
    head = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    rows = [_row(name, model) for name, model in timeline.report.models.items()]
    return "\n".join(["<table>", f"<tr>{head}</tr>", *rows, "</table>"])


def _row(name: str, model: ModelReport) -> str:
    latency = model.latency_ms
    times = [
        "-" if value is None else f"{value:,.1f}"
        for value in (latency.p50, latency.p99, latency.max)
    ]
    counts = (
        model.requests, model.completed, model.deadline_missed, model.rejected, model.failed,
        model.preempted, model.cancelled,
    )  # fmt: skip
    cells = [escape(printable(name)), *(f"{count:,}" for count in counts), *times]
    cells += [f"{model.loads:,}", f"{model.unloads:,}"]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
