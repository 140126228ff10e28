"""Colours, for light and dark grounds, that people with any colour vision can tell apart.

The first five are Okabe and Ito's ("Color Universal Design", 2008), the next three from Tol's muted
scheme (2021); on dark ground each is lighter. A model's colour is never its only sign: lanes and
bands are named too, and marks differ in height.
"""

from __future__ import annotations

LIGHT = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#999933", "#882255", "#7a5c3e")
DARK = ("#3f9fdc", "#e8a71c", "#20b88c", "#db90ba", "#86ccf5", "#b8b84f", "#c05a8c", "#b08d68")
COLOURS = len(LIGHT)

_LIGHT_GROUND = {
    "paper": "#ffffff",
    "ink": "#1c2128",
    "muted": "#656d79",
    "line": "#e3e6ea",
    "bed": "#f4f5f7",
    "rest": "#a3abb6",
    "miss": "#d1242f",
    "refuse": "#7a4fc2",
}
_DARK_GROUND = {
    "paper": "#0f1318",
    "ink": "#e6e9ed",
    "muted": "#98a2ae",
    "line": "#2a313a",
    "bed": "#181d24",
    "rest": "#5c6672",
    "miss": "#ff6b68",
    "refuse": "#b99bf0",
}


def style() -> str:
    """The style sheet of a picture; dark where the reader's system is."""
    light = _rules(_LIGHT_GROUND, LIGHT)
    dark = _rules(_DARK_GROUND, DARK)
    return f"{_SHAPE}\n{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _rules(ground: dict[str, str], colours: tuple[str, ...]) -> str:
    rules = [f".{name} {{ fill: {colour} }}" for name, colour in ground.items()]
    rules += [f".{name}-stroke {{ stroke: {colour} }}" for name, colour in ground.items()]
    rules += [f".c{index} {{ fill: {colour} }}" for index, colour in enumerate(colours)]
    rules += [f".s{index} {{ stroke: {colour} }}" for index, colour in enumerate(colours)]
    return "\n".join(rules)


_SHAPE = """text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
.title { font-size: 19px; font-weight: 650 }
.name { font-size: 13px; font-weight: 600 }
.small { font-size: 11px }
.end { text-anchor: end }
.middle { text-anchor: middle }
.resident { fill-opacity: .24 }
.unloading { fill-opacity: .1 }
.band { fill-opacity: .82 }
.work { fill-opacity: .38 }
.b1 { fill-opacity: .4 }
.b2 { fill-opacity: .6 }
.b3 { fill-opacity: .8 }
.outline { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke }
.hatch { stroke-width: 2 }
.grid { stroke-width: 1; shape-rendering: crispEdges }
.stroke { fill: none; stroke-width: 1.5; vector-effect: non-scaling-stroke }
.dashed { stroke-dasharray: 6 4 }
.fine { display: none }
.near .fine { display: inline }
.near .coarse { display: none }"""
