"""What kind of machine this is, which pools it has and how large they are."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

HOST = "host"
UNIFIED = "unified"


class MachineKind(str, Enum):
    """How many memories there are."""

    INTEGRATED = "integrated"
    """CPU and GPU share one memory (or there is no GPU): the pool `unified` is all there is."""
    DISCRETE = "discrete"
    """Devices bring their own memory: the pool `host`, and `cuda:0`, `cuda:1` and so on."""


def machine_kind(root: Path = Path("/")) -> MachineKind:
    """Integrated on a Jetson and where no NVIDIA device is, discrete where its driver has one.

    A Jetson is known by /etc/nv_tegra_release (the file L4T installs) or by its device tree, since
    containers see only the second. Elsewhere the driver lists its devices in
    /proc/driver/nvidia/gpus.
    """
    if (root / "etc/nv_tegra_release").exists() or _is_tegra(root):
        return MachineKind.INTEGRATED
    gpus = root / "proc/driver/nvidia/gpus"
    return MachineKind.DISCRETE if gpus.is_dir() and any(gpus.iterdir()) else MachineKind.INTEGRATED


def _is_tegra(root: Path) -> bool:
    try:
        return b"nvidia,tegra" in (root / "proc/device-tree/compatible").read_bytes()
    except OSError:
        return False


def host_pool(kind: MachineKind) -> str:
    """What the memory of the CPU is called on a machine of this kind."""
    return UNIFIED if kind is MachineKind.INTEGRATED else HOST
