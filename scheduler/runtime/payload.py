"""How many bytes a payload keeps in memory while it waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PARTS_MAX = 1000
"""Further parts of a nested payload are not looked at: counting must not hold up the loop."""


def payload_bytes(payload: Any) -> int:
    """The bytes of arrays (`nbytes`) and bytes, also inside mappings, lists and tuples; else 0."""
    nbytes = _own_bytes(payload)
    if nbytes is not None:
        return nbytes
    total_bytes, seen, rest = 0, 0, [payload]
    while rest and seen < PARTS_MAX:
        part = rest.pop()
        seen += 1
        nbytes = _own_bytes(part)
        if nbytes is not None:
            total_bytes += nbytes
        elif isinstance(part, Mapping):
            rest.extend(part.values())
        elif isinstance(part, (list, tuple)):
            rest.extend(part[:PARTS_MAX])
    return total_bytes


def _own_bytes(part: Any) -> int | None:
    if isinstance(part, (bytes, bytearray)):
        return len(part)
    nbytes = getattr(part, "nbytes", None)
    return nbytes if isinstance(nbytes, int) else None
