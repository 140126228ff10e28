"""One GPU as one engine sees it: the primary context, and staging memory from pycuda's pools.

The primary context is the one that CUDA libraries share, so a process pays for it once. It is made
current around every call, and never left so: pycuda aborts a process one of whose threads ends with
a context on its stack. pycuda's objects belong to the thread that made them, so each engine has its
own, made, used and freed in the engine's thread.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rota_tensorrt.failure import NoDevice, guarded
from scheduler.errors import DeviceLost, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

_poisoned: dict[int, str] = {}
"""The devices that are lost to this process, by number, and how they were lost."""


class Device:
    """A GPU, retained by one engine until `release`. `subject` names the engine in errors."""

    def __init__(self, subject: str, number: int) -> None:
        """Retain the primary context of GPU `number`.

        Raises:
            NoDevice: there is no such GPU, no driver, or no pycuda.
            DeviceLost: an earlier error has made the GPU useless for this process.
        """
        self.subject = subject
        self.number = number
        check_not_lost(subject, number)
        cuda, tools = _import_pycuda(subject)
        try:
            cuda.init()
            count = cuda.Device.count()
        except Exception as error:
            raise guarded(subject, error, "looking for GPUs") from error
        if number >= count:
            raise NoDevice(f"{subject}: there is no GPU {number}; this machine has {count}")
        try:
            device = cuda.Device(number)
            self.name: Final[str] = device.name()
            self.capability: Final = ".".join(str(part) for part in device.compute_capability())
            self._context: Any = device.retain_primary_context()
        except Exception as error:
            raise guarded(subject, error, "opening the GPU") from error
        try:
            with self.current():
                self.pinned: Any = tools.PageLockedMemoryPool()
                self.staging: Any = tools.DeviceMemoryPool()
        except Exception as error:
            self.release()
            raise guarded(subject, error, "opening the GPU") from error

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current in the calling thread while the block runs.

        An error that has made the GPU useless for the process is remembered on its way out.
        """
        self._context.push()
        try:
            yield
        except DeviceLost as error:
            _poisoned.setdefault(self.number, str(error))
            raise
        finally:
            self._context.pop()

    def free_pools(self) -> None:
        """Give back what the pools hold. With the context current, after the last use of them."""
        self.pinned.stop_holding()
        self.staging.stop_holding()

    def release(self) -> None:
        """Let go of the primary context, which ends with the last who has it."""
        context, self._context = self._context, None
        if context is not None:
            context.detach()


def check_not_lost(subject: str, number: int) -> None:
    """Refuse a GPU that an earlier error has made useless for this process.

    Raises:
        DeviceLost: it is; nothing was asked of the device.
    """
    if number in _poisoned:
        raise DeviceLost(
            f"{subject}: GPU {number} is lost to this process since: {_poisoned[number]}"
        )


def device_number(pool: str) -> int:
    """Return the GPU of a pool: 1 for `cuda:1`, 0 for `unified`.

    Raises:
        EngineError: the pool is no GPU's.
    """
    kind, _, number = pool.partition(":")
    if kind == "host":
        raise EngineError('TensorRT needs a GPU; write device: "cuda:0" (or unified on a Jetson)')
    return int(number) if number.isdigit() else 0


def _import_pycuda(subject: str) -> tuple[Any, Any]:
    try:
        import pycuda.driver as cuda  # noqa: PLC0415 - heavy, and absent without CUDA
        from pycuda import tools  # noqa: PLC0415
    except Exception as error:
        raise NoDevice(
            f"{subject}: pycuda cannot be used: {type(error).__name__}: {error}; it "
            f"needs a GPU and its driver: pip install rota[tensorrt]"
        ) from error
    return cuda, tools
