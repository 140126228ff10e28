"""The memory of the CPU: what the machine and its control groups still allow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from scheduler.memory.cgroup import group_memories
from scheduler.memory.machine import HOST, UNIFIED, host_pool, machine_kind
from scheduler.memory.probe import PoolSample


class HostProbe:
    """Asks the system (psutil) and the control groups; whichever allows less decides.

    `available` is MemAvailable, never MemFree: page cache and what CUDA calls "free" on a board
    with one memory say nothing about what can be allocated. `root` is where /proc and /sys are
    found for control groups; `pool` defaults to the name that the kind of machine gives this
    memory.
    """

    name = "MemAvailable"

    def __init__(
        self,
        pool: str | None = None,
        *,
        root: Path = Path("/"),
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.pool = host_pool(machine_kind(root)) if pool is None else pool
        self._root = root
        self._now_ns = now_ns

    def sample(self) -> tuple[PoolSample, ...]:
        """One sample; a control group that does not tell its use leaves the system's figure."""
        taken_at_ns = self._now_ns()
        memory = psutil.virtual_memory()
        groups = group_memories(self._root)
        total_bytes = min([memory.total, *(group.limit_bytes for group in groups)])
        allowed = [g.available_bytes for g in groups if g.available_bytes is not None]
        available_bytes = min([memory.available, *allowed])
        sample = PoolSample(
            pool=self.pool,
            total_bytes=total_bytes,
            available_bytes=available_bytes,
            source="MemAvailable" if available_bytes == memory.available else "cgroup",
            taken_at_ns=taken_at_ns,
        )
        return (sample,)


def host_probes(pools: Iterable[str], root: Path = Path("/")) -> list[HostProbe]:
    """A probe for each of `pools` that is the memory of the CPU: what a configuration calls it.

    A file written for a board with one memory (`unified`) runs on any machine, and `host` is the
    same bytes. Other pools need a probe of their device.
    """
    return [HostProbe(pool, root=root) for pool in pools if pool in {HOST, UNIFIED}]
