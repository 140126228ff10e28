"""Elements of an SVG picture, escaped by the standard library."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

Element = ET.Element
SVG = "http://www.w3.org/2000/svg"

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 forbids even when escaped (section 2.2)."""


def add(parent: Element, tag: str, text: str = "", **attributes: str | float) -> Element:
    """Append an element. In attribute names `_` stands for `-`, and a last one is dropped.

    Names that others chose belong into `text`, which is made printable, not into attributes.
    """
    plain = {
        name.rstrip("_").replace("_", "-"): _value(value) for name, value in attributes.items()
    }
    element = ET.SubElement(parent, tag, plain)
    if text:
        element.text = printable(text)
    return element


def box(
    parent: Element, class_: str, *, x: float, y: float, width: float, height: float
) -> Element:
    """Append a rectangle."""
    return add(parent, "rect", x=x, y=y, width=width, height=height, class_=class_)


def words(parent: Element, x: float, y: float, text: str, class_: str) -> Element:
    """Append a line of text; `y` is its baseline."""
    return add(parent, "text", text, x=x, y=y, class_=class_)


def hover(element: Element, text: str) -> None:
    """Say more about an element when the pointer rests on it."""
    add(element, "title", text)


def printable(text: str) -> str:
    """The text with what no XML document can hold replaced."""
    return _NOT_XML.sub("\ufffd", text)


def number(value: float) -> str:
    """A coordinate to a hundredth of a pixel, as short as it can be written."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else number(value)
