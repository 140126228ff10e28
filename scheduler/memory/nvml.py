"""The memory of discrete NVIDIA devices, as their driver tells it through NVML (nvidia-ml-py)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

from scheduler.memory.probe import PoolSample

SOURCE = "NVML"

RETRY_NS = 1_000_000_000
"""After an error the library is started anew, but not more often than this."""


class NvmlProbe:
    """The devices that CUDA shows to this process, as the pools `cuda:0`, `cuda:1` and so on.

    CUDA's numbers are those of `CUDA_VISIBLE_DEVICES`, which may name devices by number or by
    UUID. Numbers are taken in the order of the PCI bus, as NVML has them; CUDA has the same order
    where all cards are alike, or with `CUDA_DEVICE_ORDER=PCI_BUS_ID`.

    `used_bytes` of a sample is what this process holds there. In a container the driver may list
    the process under another number, or not at all: then it is unknown.

    A driver that is reset, or a device that falls off its bus, makes the figures unknown; the
    library is then started again until it answers. `nvml` is the module `pynvml`; without one, it
    is imported, and where it is not installed there is no sample.
    """

    name = SOURCE

    def __init__(
        self,
        *,
        nvml: Any = None,
        pid: int | None = None,
        environment: Mapping[str, str] = os.environ,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._nvml = _module() if nvml is None else nvml
        self._pid = os.getpid() if pid is None else pid
        self._visible = environment.get("CUDA_VISIBLE_DEVICES")
        self._now_ns = now_ns
        self._handles: list[Any] | None = None
        self._devices = 0
        self._retry_at_ns = 0
        self._trouble = "nvidia-ml-py is not installed" if self._nvml is None else ""

    @property
    def trouble(self) -> str:
        """Why there are no figures; empty while there are."""
        return self._trouble

    def sample(self) -> tuple[PoolSample, ...]:
        """One sample per device; unknown ones, with the reason, while the driver does not answer.

        Empty until the driver has answered for the first time.
        """
        if self._nvml is None:
            return ()
        now = self._now_ns()
        try:
            handles = self._started(now)
            return tuple(self._device(number, handle, now) for number, handle in enumerate(handles))
        except self._nvml.NVMLError as error:
            self._stop(str(error), now)
        return tuple(_sample(number, now, self._trouble) for number in range(self._devices))

    def close(self) -> None:
        """Let go of the library."""
        if self._handles is not None:
            self._stop("", self._now_ns())

    def _started(self, now: int) -> list[Any]:
        if self._handles is None and now >= self._retry_at_ns:
            self._nvml.nvmlInit()
            self._handles = list(self._visible_handles())
            self._devices, self._trouble = len(self._handles), ""
        if self._handles is None:
            raise self._nvml.NVMLError(self._nvml.NVML_ERROR_UNINITIALIZED)
        return self._handles

    def _stop(self, trouble: str, now: int) -> None:
        if self._handles is None and now < self._retry_at_ns:
            return
        self._handles, self._trouble, self._retry_at_ns = None, trouble, now + RETRY_NS
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def _device(self, number: int, handle: Any, now: int) -> PoolSample:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        return PoolSample(
            pool=f"cuda:{number}",
            total_bytes=int(memory.total),
            available_bytes=int(memory.free),
            used_bytes=self._own_bytes(handle),
            source=SOURCE,
            taken_at_ns=now,
        )

    def _own_bytes(self, handle: Any) -> int | None:
        """What this process holds on a device; None where the driver does not say."""
        try:
            processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except self._nvml.NVMLError:
            return None
        held = [process.usedGpuMemory for process in processes if process.pid == self._pid]
        known = [int(figure) for figure in held if figure is not None]
        return sum(known) if known and len(known) == len(held) else None

    def _visible_handles(self) -> Iterator[Any]:
        """The devices in CUDA's order; as in CUDA, the first that is not there ends the list."""
        count = self._nvml.nvmlDeviceGetCount()
        wanted = range(count) if self._visible is None else self._visible.split(",")
        for entry in wanted:
            handle = self._handle(str(entry).strip(), count)
            if handle is None:
                return
            yield handle

    def _handle(self, entry: str, count: int) -> Any:
        if entry.isascii() and entry.isdigit():
            number = int(entry)
            return self._nvml.nvmlDeviceGetHandleByIndex(number) if number < count else None
        try:
            return self._nvml.nvmlDeviceGetHandleByUUID(entry.encode())
        except self._nvml.NVMLError:
            return self._abbreviated(entry, count)

    def _abbreviated(self, entry: str, count: int) -> Any:
        """The device whose UUID begins so: CUDA takes that where only one does."""
        handles = [self._nvml.nvmlDeviceGetHandleByIndex(number) for number in range(count)]
        found = [h for h in handles if _text(self._nvml.nvmlDeviceGetUUID(h)).startswith(entry)]
        return found[0] if entry and len(found) == 1 else None


def _sample(number: int, now: int, trouble: str) -> PoolSample:
    return PoolSample(
        pool=f"cuda:{number}",
        total_bytes=None,
        available_bytes=None,
        source=SOURCE,
        taken_at_ns=now,
        trouble=trouble,
    )


def _text(uuid: str | bytes) -> str:
    return uuid.decode() if isinstance(uuid, bytes) else uuid


def _module() -> Any:
    try:
        return import_module("pynvml")
    except ImportError:
        return None
