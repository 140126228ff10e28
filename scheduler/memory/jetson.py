"""Which Jetson this is, from what its device tree and its system say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MODEL = "proc/device-tree/model"
COMPATIBLE = "proc/device-tree/compatible"
RELEASE = "etc/nv_tegra_release"

_RELEASE = re.compile(r"R([0-9]{1,3}) \(release\), REVISION: ([0-9.]{1,12})")
_CHIP = re.compile(r"nvidia,(tegra[0-9]{2,4})")

JETPACKS = {32: 4, 34: 5, 35: 5, 36: 6, 38: 7, 39: 7}
"""The JetPack of each release of Jetson Linux (L4T): NVIDIA's "Jetson Linux Archive"."""


@dataclass(frozen=True, slots=True)
class Jetson:
    """A board: its name, its chip, and the release of its system; "" and None are unknown.

    In a container the system's release is often not to be seen.
    """

    model: str
    chip: str
    l4t: str
    jetpack: int | None


def find_jetson(root: Path = Path("/")) -> Jetson | None:
    """Return which Jetson this is; None when it is none."""
    model, compatible = _text(root / MODEL), _text(root / COMPATIBLE)
    release = _RELEASE.search(_text(root / RELEASE))
    chip = _CHIP.search(compatible)
    if chip is None and not (root / RELEASE).exists():
        return None
    return Jetson(
        model=model.strip("\0 \n"),
        chip=chip[1] if chip else "",
        l4t=f"{release[1]}.{release[2]}" if release else "",
        jetpack=JETPACKS.get(int(release[1])) if release else None,
    )


def _text(path: Path) -> str:
    try:
        return path.read_bytes()[:4096].decode(errors="replace")
    except OSError:
        return ""
