"""Spans of time, in words."""

from __future__ import annotations

MS_NS = 1_000_000
SECOND_NS = 1_000_000_000


def spoken(span_ns: int) -> str:
    """`82.0 ms`, and from a second on `3.20 s`."""
    if abs(span_ns) < SECOND_NS:
        return f"{span_ns / MS_NS:.1f} ms"
    return f"{span_ns / SECOND_NS:.2f} s"
