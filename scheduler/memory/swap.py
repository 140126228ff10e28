"""Where the system puts what does not fit into memory: swap, on a disk or compressed (zram)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SWAPS = "proc/swaps"
SWAPPINESS = "proc/sys/vm/swappiness"
FSTAB = "etc/fstab"
KIB = 1024

_SWAP = re.compile(
    r"^(?P<name>/.*?)\s+(?P<kind>partition|file)\s+(?P<size>[0-9]{1,15})\s+(?P<used>[0-9]{1,15})\s+(?P<priority>-?[0-9]{1,6})\s*$",
    re.MULTILINE,
)
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Swap:
    """One swap area. `is_zram`: it is memory itself, compressed."""

    name: str
    is_zram: bool
    size_bytes: int
    used_bytes: int
    priority: int


def read_swaps(text: str) -> tuple[Swap, ...]:
    """Read /proc/swaps (proc(5)): sizes are KiB, a space in a name is an octal escape."""
    return tuple(
        Swap(
            name=_ESCAPED.sub(lambda code: chr(int(code[1], 8)), found["name"]),
            is_zram="/zram" in found["name"],
            size_bytes=int(found["size"]) * KIB,
            used_bytes=int(found["used"]) * KIB,
            priority=int(found["priority"]),
        )
        for found in _SWAP.finditer(text)
    )


def swaps(root: Path = Path("/")) -> tuple[Swap, ...] | None:
    """Return the swap areas in use; None where the system does not say."""
    text = _text(root / SWAPS)
    return None if text is None else read_swaps(text)


def swappiness(root: Path = Path("/")) -> int | None:
    """Return vm.swappiness: 0 avoids swapping, 100 treats it like dropping cache; None: unknown."""
    text = (_text(root / SWAPPINESS) or "").strip()
    return int(text) if re.fullmatch("[0-9]{1,3}", text) else None


def at_boot(root: Path = Path("/")) -> frozenset[str]:
    """Return the swap areas that /etc/fstab sets up when the machine starts."""
    lines = [line.split() for line in (_text(root / FSTAB) or "").splitlines()]
    return frozenset(
        fields[0]
        for fields in lines
        if len(fields) > 2 and fields[2] == "swap"  # noqa: PLR2004
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
