"""Pressure stall information: for how much of the time somebody waits for memory (Linux 4.20)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MEMORY = "proc/pressure/memory"

_LINE = re.compile(r"^(some|full) avg10=([0-9]{1,3}\.[0-9]{1,4})(?:\s|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Pressure:
    """Per cent of the last 10 s in which some, or all, of what could run waited for memory."""

    some_percent: float | None
    full_percent: float | None


def read_pressure(text: str) -> Pressure:
    """Read /proc/pressure/memory, or `memory.pressure` of a control group.

    The format is that of the kernel's Documentation/accounting/psi.rst. What is missing is None.
    """
    said = {kind: float(share) for kind, share in _LINE.findall(text)}
    return Pressure(said.get("some"), said.get("full"))


def memory_pressure(root: Path = Path("/")) -> Pressure:
    """Return the machine's; unknown where the kernel does not count it."""
    try:
        return read_pressure((root / MEMORY).read_text(errors="replace"))
    except OSError:
        return Pressure(None, None)
