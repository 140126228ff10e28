"""What CUDA itself says of its devices, where this process uses CUDA already."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from scheduler.memory.probe import PoolSample

SOURCE = "CUDA"
PYCUDA = "pycuda.autoprimaryctx"
PYCUDA_DRIVER = "pycuda.driver"
BINDINGS = "cuda.bindings.driver"


class CudaProbe:
    """Asks CUDA's memory figures of the contexts that the process has; it never makes one.

    Through pycuda's primary context where that module was imported (device 0 or the one that
    pycuda chose), else through `cuda.bindings.driver` for every device whose primary context is
    active. Without either there is no sample. Raises what CUDA raises, such as for a device in a
    broken state: whoever asks takes that for unknown.
    """

    name = SOURCE

    def __init__(
        self,
        *,
        modules: Mapping[str, ModuleType] | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._modules = sys.modules if modules is None else modules
        self._now_ns = now_ns

    def sample(self) -> tuple[PoolSample, ...]:
        """One sample per device of which a context is there."""
        taken_at_ns = self._now_ns()
        primary, bindings = self._modules.get(PYCUDA), self._modules.get(BINDINGS)
        if primary is not None:
            return _by_pycuda(primary, self._modules[PYCUDA_DRIVER], taken_at_ns)
        return () if bindings is None else _by_bindings(bindings, taken_at_ns)


def _by_pycuda(primary: Any, driver: Any, taken_at_ns: int) -> tuple[PoolSample, ...]:
    context = getattr(primary, "context", None)
    if context is None:
        return ()
    bus_id = context.get_device().pci_bus_id()
    numbers = range(driver.Device.count())
    number = next(n for n in numbers if driver.Device(n).pci_bus_id() == bus_id)
    context.push()
    try:
        free, total = driver.mem_get_info()
    finally:
        context.pop()
    return (_sample(number, free, total, taken_at_ns),)


def _by_bindings(driver: Any, taken_at_ns: int) -> tuple[PoolSample, ...]:
    (count,) = _asked(driver.cuDeviceGetCount())
    samples = []
    for number in range(count):
        (device,) = _asked(driver.cuDeviceGet(number))
        _, active = _asked(driver.cuDevicePrimaryCtxGetState(device))
        if active:
            free, total = _in_context(driver, device)
            samples.append(_sample(number, free, total, taken_at_ns))
    return tuple(samples)


def _in_context(driver: Any, device: Any) -> tuple[int, int]:
    (context,) = _asked(driver.cuDevicePrimaryCtxRetain(device))
    try:
        _asked(driver.cuCtxPushCurrent(context))
        try:
            free, total = _asked(driver.cuMemGetInfo())
        finally:
            driver.cuCtxPopCurrent()
    finally:
        driver.cuDevicePrimaryCtxRelease(device)
    return int(free), int(total)


def _asked(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a call of the bindings returned, without the error that comes first."""
    error, *values = answer
    if int(error) != 0:
        raise OSError(f"CUDA answers {error}")
    return tuple(values)


def _sample(number: int, free: int, total: int, taken_at_ns: int) -> PoolSample:
    return PoolSample(
        pool=f"cuda:{number}",
        total_bytes=int(total),
        available_bytes=int(free),
        source=SOURCE,
        taken_at_ns=taken_at_ns,
    )
