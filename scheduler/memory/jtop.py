"""jtop (jetson-stats) as a source of the unified memory, where its service runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scheduler.memory.follower import FIRST_PAUSE_S, Follower
from scheduler.memory.machine import UNIFIED
from scheduler.memory.probe import PoolSample

SOURCE = "jtop"
SOCKET = "run/jtop.sock"
"""Where its service listens, from jetson-stats 3 on."""
INTERVAL_S = 1.0

KIB = 1024
BLOCK_BYTES = 4 * 1024 * KIB
"""jetson-stats 4 counts the free blocks of the buddy allocator's largest order."""
UNITS = {"k": KIB, "K": KIB, "M": KIB**2, "G": KIB**3}


@dataclass(frozen=True, slots=True)
class JtopMemory:
    """The main memory in bytes; None is unknown."""

    total_bytes: int
    used_bytes: int
    block_bytes: int | None


def read_jtop(memory: Any) -> JtopMemory | None:
    """Return what a `memory` (jetson-stats 4 and later) or a `ram` (3) says; None for neither.

    4 and later: `{"RAM": {"tot", "used", "lfb", ...}}` in KiB, `lfb` a number of blocks of 4 MiB.
    3: `{"use", "tot", "unit": "k", "lfb": {"nblock", "size", "unit": "M"}}`.
    """
    if not isinstance(memory, Mapping):
        return None
    ram = memory.get("RAM", memory)
    if not isinstance(ram, Mapping):
        return None
    unit = UNITS.get(str(ram.get("unit", "k")))
    total, used = _whole(ram.get("tot")), _whole(ram.get("used", ram.get("use")))
    if unit is None or not total or used is None or used > total:
        return None
    return JtopMemory(total * unit, used * unit, _block_bytes(ram.get("lfb")))


def _block_bytes(lfb: Any) -> int | None:
    if isinstance(lfb, Mapping):
        size, unit = _whole(lfb.get("size")), UNITS.get(str(lfb.get("unit", "M")))
        return size * unit if size and unit and lfb.get("nblock") else None
    return BLOCK_BYTES if _whole(lfb) else None


def _whole(value: Any) -> int | None:
    """A count: jtop has whole numbers, and a service of another version may send anything."""
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return int(value) if known else None


class JtopProbe:
    """Asks the service once a second in a thread of its own; connects again when it is gone."""

    name = SOURCE

    def __init__(
        self,
        *,
        client: Callable[..., Any] | None = None,
        pool: str = UNIFIED,
        now_ns: Callable[[], int] = time.monotonic_ns,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._client = client
        self._pool = pool
        self._now_ns = now_ns
        self._follower = Follower(self._readings, now_ns=now_ns, first_pause_s=first_pause_s)

    def sample(self) -> tuple[PoolSample, ...]:
        """One sample, as old as the service's last word; an unknown one before the first."""
        last = self._follower.last()
        memory, taken_at_ns = last if last is not None else (None, self._now_ns())
        return (
            PoolSample(
                pool=self._pool,
                total_bytes=None if memory is None else memory.total_bytes,
                available_bytes=None if memory is None else memory.total_bytes - memory.used_bytes,
                largest_block_bytes=None if memory is None else memory.block_bytes,
                source=SOURCE,
                taken_at_ns=taken_at_ns,
                period_ns=round(INTERVAL_S * 1e9),
                trouble=self._follower.trouble,
            ),
        )

    def close(self) -> None:
        """Ask no more."""
        self._follower.close()

    def _readings(self) -> Iterator[JtopMemory]:
        client = self._client or import_module("jtop").jtop
        with client(interval=INTERVAL_S) as jetson:
            while jetson.ok():
                reading = read_jtop(_memory(jetson))
                if reading is not None:
                    yield reading


def _memory(jetson: Any) -> Any:
    """`memory` is of jetson-stats 4 and later, `ram` of 3."""
    return jetson.memory if hasattr(jetson, "memory") else jetson.ram


def has_jtop(root: Path = Path("/")) -> bool:
    """Whether the package is installed and its service listens."""
    return (root / SOCKET).exists() and find_spec("jtop") is not None
