"""Writes a timeline to a file, in the form that the file's name asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from scheduler.timeline.page import render_page
from scheduler.timeline.picture import draw

if TYPE_CHECKING:
    from scheduler.timeline.timeline import Timeline


def write_timeline(timeline: Timeline, path: str | Path) -> None:
    """Write `timeline` as a page (`.html`) or as a picture (`.svg`).

    Raises:
        ValueError: another suffix.
        OSError: the file cannot be written.
    """
    path = Path(path)
    match path.suffix.lower():
        case ".html" | ".htm":
            content = render_page(timeline)
        case ".svg":
            content = ET.tostring(draw(timeline), encoding="unicode") + "\n"
        case suffix:
            raise ValueError(f"{path}: a timeline is written as .html or .svg, not as {suffix!r}")
    path.write_text(content, encoding="utf-8")
