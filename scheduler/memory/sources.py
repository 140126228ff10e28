"""Which sources are asked about memory, by what the machine is.

| machine | pool | sources |
| --- | --- | --- |
| any | `unified`, `host` | MemAvailable with the limits of control groups |
| Jetson | `unified` | jtop where its service runs, else tegrastats; nvmap where it may be read |
| with discrete devices | `cuda:0` ... | NVML; CUDA itself where the process uses it |

All are asked, and the one that says least is available counts: see `cautious`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from scheduler.memory.cuda import CudaProbe
from scheduler.memory.host import HostProbe, host_probes
from scheduler.memory.jetson import find_jetson
from scheduler.memory.jtop import JtopProbe, has_jtop
from scheduler.memory.machine import UNIFIED, MachineKind, machine_kind
from scheduler.memory.nvmap import NvmapProbe, can_read_nvmap
from scheduler.memory.nvml import NvmlProbe
from scheduler.memory.probe import MemoryProbe
from scheduler.memory.tegrastats import TegrastatsProbe, find_tegrastats


def size_probes(root: Path = Path("/")) -> list[MemoryProbe]:
    """Whom to ask how large the pools of this machine are."""
    if machine_kind(root) is MachineKind.DISCRETE:
        return [HostProbe(root=root), NvmlProbe()]
    return [HostProbe(root=root)]


def pool_probes(pools: Iterable[str], root: Path = Path("/")) -> list[MemoryProbe]:
    """Whom to ask again and again about `pools`, which are what a configuration calls them."""
    wanted = list(pools)
    probes: list[MemoryProbe] = [*host_probes(wanted, root)]
    if find_jetson(root) is not None:
        return [*probes, *_jetson_probes(root)] if UNIFIED in wanted else probes
    on_devices = any(pool.startswith("cuda:") for pool in wanted)
    if on_devices and machine_kind(root) is MachineKind.DISCRETE:
        return [*probes, NvmlProbe(), CudaProbe()]
    return probes


def _jetson_probes(root: Path) -> list[MemoryProbe]:
    probes: list[MemoryProbe] = []
    tegrastats = find_tegrastats(root)
    if has_jtop(root):
        probes.append(JtopProbe())
    elif tegrastats is not None:
        probes.append(TegrastatsProbe(tegrastats))
    if can_read_nvmap(root):
        probes.append(NvmapProbe(root=root))
    return probes
