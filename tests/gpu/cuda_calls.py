"""The CUDA driver's calls that pycuda lacks: streams with a priority, and work on such a stream."""

import ctypes
from ctypes import byref, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any

from scheduler.errors import EngineError, EngineOutOfMemory

NON_BLOCKING = 1
OUT_OF_MEMORY = 2


LIBRARY = "libcuda.so.1"


class Driver:
    """Calls by name; each works on the context that is current in the calling thread.

    What only queues work keeps the interpreter's lock. If it let go of it, the device would wait
    at each piece of a run until the event loop has had its turn: a fifth of the rate at 1 ms a run.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        self._queueing = ctypes.PyDLL(LIBRARY)

    def __call__(self, name: str, *args: Any) -> None:
        self._check(name, getattr(self._library, name)(*args))

    def _queue(self, name: str, *args: Any) -> None:
        self._check(name, getattr(self._queueing, name)(*args))

    def _check(self, name: str, status: int) -> None:
        if status:
            kind = EngineOutOfMemory if status == OUT_OF_MEMORY else EngineError
            raise kind(f"{name} returned error {status} of the CUDA driver")

    def stream(self, priority: int | None) -> c_void_p:
        """Make a stream: the higher `priority` (0 to 100), the more important; None is default."""
        handle = c_void_p()
        if priority is None:
            self("cuStreamCreate", byref(handle), c_uint(NON_BLOCKING))
            return handle
        least, greatest = c_int(), c_int()
        self("cuCtxGetStreamPriorityRange", byref(least), byref(greatest))
        steps = least.value - greatest.value  # the greatest priority is the lowest number
        number = least.value - round(steps * priority / 100)
        self("cuStreamCreateWithPriority", byref(handle), c_uint(NON_BLOCKING), c_int(number))
        return handle

    def module(self, cubin: bytes) -> c_void_p:
        """Load compiled kernels."""
        handle = c_void_p()
        self("cuModuleLoadData", byref(handle), ctypes.c_char_p(cubin))
        return handle

    def function(self, module: c_void_p, name: str) -> c_void_p:
        """Look a kernel up."""
        handle = c_void_p()
        self("cuModuleGetFunction", byref(handle), module, ctypes.c_char_p(name.encode()))
        return handle

    def launch(
        self, function: c_void_p, blocks: int, threads: int, stream: c_void_p, *args: Any
    ) -> None:
        """Queue a kernel; `args` are ctypes values."""
        pointers = (c_void_p * len(args))(*(ctypes.addressof(arg) for arg in args))
        one = c_uint(1)
        grid, block = (c_uint(blocks), one, one), (c_uint(threads), one, one)
        self._queue("cuLaunchKernel", function, *grid, *block, c_uint(0), stream, pointers, None)

    def to_device(self, target: int, source: Any, stream: c_void_p) -> None:
        """Queue a copy of a contiguous array to the device."""
        size = c_size_t(source.nbytes)
        pointer = c_void_p(source.ctypes.data)
        self._queue("cuMemcpyHtoDAsync_v2", c_uint64(target), pointer, size, stream)

    def to_host(self, target: Any, source: int, stream: c_void_p) -> None:
        """Queue a copy from the device into a contiguous array."""
        size = c_size_t(target.nbytes)
        pointer = c_void_p(target.ctypes.data)
        self._queue("cuMemcpyDtoHAsync_v2", pointer, c_uint64(source), size, stream)

    def wait(self, stream: c_void_p) -> None:
        """Wait until all that was queued on a stream is done."""
        self("cuStreamSynchronize", stream)

    def drop(self, stream: c_void_p) -> None:
        """Give a stream back."""
        self("cuStreamDestroy_v2", stream)
