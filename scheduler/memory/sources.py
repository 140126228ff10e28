"""Which sources are asked about memory, by what the machine is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from scheduler.memory.host import HostProbe, host_probes
from scheduler.memory.machine import MachineKind, machine_kind
from scheduler.memory.nvml import NvmlProbe
from scheduler.memory.probe import MemoryProbe


def size_probes(root: Path = Path("/")) -> list[MemoryProbe]:
    """Whom to ask how large the pools of this machine are."""
    if machine_kind(root) is MachineKind.DISCRETE:
        return [HostProbe(root=root), NvmlProbe()]
    return [HostProbe(root=root)]


def pool_probes(pools: Iterable[str], root: Path = Path("/")) -> list[MemoryProbe]:
    """Whom to ask again and again about `pools`, which are what a configuration calls them."""
    wanted = list(pools)
    probes: list[MemoryProbe] = [*host_probes(wanted)]
    on_devices = any(pool.startswith("cuda:") for pool in wanted)
    if on_devices and machine_kind(root) is MachineKind.DISCRETE:
        probes.append(NvmlProbe())
    return probes
