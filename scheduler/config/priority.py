"""Priorities: whole numbers from 0 to 100, or words for five of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import PlainValidator

from scheduler.config.units import quoted
from scheduler.core.model import PRIORITY_CRITICAL

PRIORITY_WORDS = {
    "background": 10,
    "low": 25,
    "normal": 50,
    "high": 75,
    "critical": PRIORITY_CRITICAL,
}


def read_priority(value: object) -> int:
    """Read a priority: 0..100, higher goes first, or a word. Raises ValueError."""
    if isinstance(value, str) and value in PRIORITY_WORDS:
        return PRIORITY_WORDS[value]
    if isinstance(value, bool) or not isinstance(value, int):
        words = ", ".join(PRIORITY_WORDS)
        raise ValueError(  # noqa: TRY004 - pydantic gathers ValueErrors
            f"{quoted(value)} is not a priority; write a whole number from 0 to "
            f"{PRIORITY_CRITICAL} without quotes, or one of {words}"
        )
    if not 0 <= value <= PRIORITY_CRITICAL:
        raise ValueError(f"{quoted(value)} is out of range; a priority is 0 to {PRIORITY_CRITICAL}")
    return value


Priority = Annotated[int, PlainValidator(read_priority)]
"""A whole number from 0 to 100, or background, low, normal, high, critical."""
