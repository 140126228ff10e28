"""What each process holds for the GPU of a Jetson: nvmap's list of clients.

Memory that CUDA allocates on a Jetson is in no process's resident set. The kernel's nvmap driver
lists it by process in a file of debugfs, which only root can read.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from scheduler.memory.machine import UNIFIED
from scheduler.memory.probe import PoolSample

SOURCE = "nvmap"
CLIENTS = "sys/kernel/debug/nvmap/iovmm/clients"

UNITS = {"": 1, "B": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_CLIENT = re.compile(r"\s(?P<pid>[0-9]{1,10})\s+(?P<size>[0-9]{1,15})(?P<unit>[BKMG]?)\s*$")


def read_clients(text: str) -> dict[int, int]:
    """Return the bytes that each process holds, by its number.

    A line ends in the number of the process and a size, `user gnome-shell 2534 53840K`; the name
    may have spaces in it. A process can have several lines. Other lines (the heading, the total)
    are none of its.
    """
    held: dict[int, int] = {}
    for line in text.splitlines():
        found = _CLIENT.search(line) if not line.startswith("total") else None
        if found:
            pid, size_bytes = int(found["pid"]), int(found["size"]) * UNITS[found["unit"]]
            held[pid] = held.get(pid, 0) + size_bytes
    return held


class NvmapProbe:
    """Tells what this process holds for the GPU; what is available it does not know.

    Not listed is unknown, never 0: in a container the process has another number there.
    """

    name = SOURCE

    def __init__(
        self,
        *,
        root: Path = Path("/"),
        pid: int | None = None,
        pool: str = UNIFIED,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._file = root / CLIENTS
        self._pid = os.getpid() if pid is None else pid
        self._pool = pool
        self._now_ns = now_ns

    def sample(self) -> tuple[PoolSample, ...]:
        """One sample, with `used_bytes` alone; none while the file cannot be read."""
        taken_at_ns = self._now_ns()
        try:
            held = read_clients(self._file.read_text(errors="replace"))
        except OSError:
            return ()
        return (
            PoolSample(
                pool=self._pool,
                total_bytes=None,
                available_bytes=None,
                used_bytes=held.get(self._pid),
                source=SOURCE,
                taken_at_ns=taken_at_ns,
            ),
        )


def can_read_nvmap(root: Path = Path("/")) -> bool:
    """Whether the list is there and may be read."""
    return os.access(root / CLIENTS, os.R_OK)
