"""What a CUDA context costs a process, once: measured in a process that makes one.

`python -m scheduler.doctor.context` prints it as JSON, or an error. The driver's own library is
called (cuInit, cuDevicePrimaryCtxRetain of the CUDA driver API), so no package is needed.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from scheduler.memory.budget import machine_samples
from scheduler.memory.machine import MachineKind, host_pool, machine_kind
from scheduler.memory.process import resident_bytes

LIBRARY = "libcuda.so.1"
LIMIT_S = 60.0


class ContextCost(BaseModel):
    """Made on the first device; None and "" are unknown.

    `device_bytes` is what became unavailable in the device's pool (on a board with one memory: in
    that), `process_bytes` how much the process's resident set grew.
    """

    model_config = ConfigDict(frozen=True)

    pool: str = ""
    took_ns: int | None = None
    device_bytes: int | None = None
    process_bytes: int | None = None
    error: str = ""


def context_cost() -> ContextCost:
    """Measure it in a child, which a broken driver may take down."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "scheduler.doctor.context"],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        return ContextCost.model_validate_json(done.stdout)
    except subprocess.TimeoutExpired:
        return ContextCost(error=f"no context within {LIMIT_S:.0f} s")
    except ValidationError:
        return ContextCost(error=f"the process that made one ended with {done.returncode}")


def make_context() -> ContextCost:
    """Make a context in this process and say what it took. It stays until the process ends."""
    try:
        cuda = ctypes.CDLL(LIBRARY)
    except OSError as error:
        return ContextCost(error=f"the CUDA driver cannot be loaded: {error}")
    kind = machine_kind(Path("/"))
    pool = host_pool(kind) if kind is MachineKind.INTEGRATED else "cuda:0"
    before, process_bytes = _available_bytes(pool), resident_bytes()
    started_ns = time.perf_counter_ns()
    device, context = ctypes.c_int(), ctypes.c_void_p()
    for status in (
        cuda.cuInit(0),
        cuda.cuDeviceGet(ctypes.byref(device), 0),
        cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device),
    ):
        if status != 0:
            return ContextCost(pool=pool, error=f"the CUDA driver answers with error {status}")
    took_ns = time.perf_counter_ns() - started_ns
    after = _available_bytes(pool)
    return ContextCost(
        pool=pool,
        took_ns=took_ns,
        device_bytes=None if before is None or after is None else max(0, before - after),
        process_bytes=max(0, resident_bytes() - process_bytes),
    )


def _available_bytes(pool: str) -> int | None:
    sample = machine_samples().get(pool)
    return None if sample is None else sample.available_bytes


if __name__ == "__main__":
    sys.stdout.write(make_context().model_dump_json())
