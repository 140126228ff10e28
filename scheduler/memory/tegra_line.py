"""What a line of `tegrastats` says of memory, on any Jetson from JetPack 4 to 7.

The line has changed with boards and releases: a date in front or none; `SWAP` and `IRAM` or
neither; the GPU as `GR3D_FREQ 7%@300`, `7%`, `7%@[600,600]`, `@[600,600,0]` or not at all. So each
field is looked for on its own, wherever it stands, and one that is odd or cut off is unknown
without making the others so. (The fields are described in the appendix "tegrastats Utility" of
NVIDIA's Jetson Linux Developer Guide.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

UNITS = {"B": 1, "kB": 1024, "KB": 1024, "MB": 1024**2, "GB": 1024**3}
"""tegrastats writes powers of 1024 with the letters of powers of 1000."""

_NUMBER = r"([0-9]{1,12})"
_UNIT = r"(B|kB|KB|MB|GB)\b"
_RAM = re.compile(
    rf"(?<![\w/])RAM {_NUMBER}/{_NUMBER}{_UNIT}(?: \(lfb {_NUMBER}x{_NUMBER}{_UNIT}\))?"
)
_SWAP = re.compile(rf"(?<![\w/])SWAP {_NUMBER}/{_NUMBER}{_UNIT}")
_LOAD = re.compile(r"(?<![\w/])GR3D(?:_FREQ)? ([0-9]{1,3})%")


@dataclass(frozen=True, slots=True, kw_only=True)
class TegraLine:
    """The figures of one line, in bytes and per cent; None is unknown.

    `lfb 3x2MB` are 3 free blocks of 2 MB, and no larger one: `block_bytes` is what can be had in
    one piece. `used_bytes` leaves out buffers and page cache.
    """

    total_bytes: int
    used_bytes: int
    blocks: int | None = None
    block_bytes: int | None = None
    swap_total_bytes: int | None = None
    swap_used_bytes: int | None = None
    gpu_load_percent: int | None = None

    @property
    def in_largest_blocks_bytes(self) -> int | None:
        """All that is free in blocks of the largest size: count x size."""
        if self.blocks is None or self.block_bytes is None:
            return None
        return self.blocks * self.block_bytes


def read_tegra_line(line: str) -> TegraLine | None:
    """Return what a line says; None where it does not even say how much memory there is."""
    ram = _RAM.search(line)
    if ram is None:
        return None
    used, total, unit, blocks, block, block_unit = ram.groups()
    used_bytes, total_bytes = int(used) * UNITS[unit], int(total) * UNITS[unit]
    if total_bytes == 0 or used_bytes > total_bytes:
        return None
    swap = _SWAP.search(line)
    load = _LOAD.search(line)
    return TegraLine(
        total_bytes=total_bytes,
        used_bytes=used_bytes,
        blocks=int(blocks) if blocks else None,
        block_bytes=int(block) * UNITS[block_unit] if blocks else None,
        swap_used_bytes=int(swap[1]) * UNITS[swap[3]] if swap else None,
        swap_total_bytes=int(swap[2]) * UNITS[swap[3]] if swap else None,
        gpu_load_percent=int(load[1]) if load else None,
    )
