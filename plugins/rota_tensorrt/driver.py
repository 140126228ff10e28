"""The CUDA driver's calls that pycuda does not have: priorities of streams, and graphs.

pycuda holds the context and the pools; its streams have no priority and cannot be captured, and its
copies take no other streams, so streams, copies and graphs are the driver's own. Every call works
on the context that is current in the calling thread. What the calls return, and the names with
`_v2`, are those of the CUDA driver API.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any, Final

from rota_tensorrt.failure import NoDevice, driver_failure
from scheduler.plugin.capture import CAPTURE_GATE

_LIBRARY: Final = "libcuda.so.1"
_NON_BLOCKING: Final = 1
_CAPTURE_THREAD_LOCAL: Final = 1
"""`CU_STREAM_CAPTURE_MODE_THREAD_LOCAL`: what other threads do meanwhile does not disturb it."""


def load_driver() -> Any:
    """Open the driver's library.

    Raises:
        NoDevice: this machine has none.
    """
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise NoDevice(
            f"this machine has no NVIDIA driver ({error}); TensorRT engines run only on a machine "
            f"with a GPU and its driver"
        ) from error


class Driver:
    """The driver, for one engine; `subject` names the engine in errors.

    Every method raises what `driver_failure` makes of the driver's answer: `EngineOutOfMemory`,
    `DeviceLost`, `NoDevice` or `EngineError`.
    """

    def __init__(self, subject: str, library: Any) -> None:
        self._subject = subject
        self._library = library

    def allocate(self, size_bytes: int) -> int:
        """Take device memory and return its address."""
        address = c_uint64()
        self._call(
            "allocating device memory", "cuMemAlloc_v2", byref(address), c_size_t(size_bytes)
        )
        return address.value

    def free(self, address: int) -> None:
        """Give device memory back."""
        with CAPTURE_GATE.wait_for_device():
            self._call("freeing device memory", "cuMemFree_v2", c_uint64(address))

    def priority_range(self) -> tuple[int, int]:
        """Return the least and the greatest priority of a stream; the greatest is the lower."""
        least, greatest = c_int(), c_int()
        what = "asking for stream priorities"
        self._call(what, "cuCtxGetStreamPriorityRange", byref(least), byref(greatest))
        return least.value, greatest.value

    def make_stream(self, priority: int) -> int:
        """Make a stream that does not wait for the default one, and return its handle."""
        handle = c_void_p()
        self._call(
            "making a stream",
            "cuStreamCreateWithPriority",
            byref(handle),
            c_uint(_NON_BLOCKING),
            c_int(priority),
        )
        return handle.value or 0

    def destroy_stream(self, stream: int) -> None:
        """Let go of a stream."""
        self._call("destroying a stream", "cuStreamDestroy_v2", c_void_p(stream))

    def synchronize(self, stream: int) -> None:
        """Wait until everything on the stream is done; an error of a kernel shows here."""
        self._call("running", "cuStreamSynchronize", c_void_p(stream))

    def copy_to_device(self, target: int, source: int, size_bytes: int, stream: int) -> None:
        """Copy from pinned memory, as part of the stream."""
        what = "copying to the device"
        sizes = (c_uint64(target), c_void_p(source), c_size_t(size_bytes), c_void_p(stream))
        self._call(what, "cuMemcpyHtoDAsync_v2", *sizes)

    def copy_to_host(self, target: int, source: int, size_bytes: int, stream: int) -> None:
        """Copy to pinned memory, as part of the stream."""
        what = "copying from the device"
        sizes = (c_void_p(target), c_uint64(source), c_size_t(size_bytes), c_void_p(stream))
        self._call(what, "cuMemcpyDtoHAsync_v2", *sizes)

    def begin_capture(self, stream: int) -> None:
        """Record what is put on the stream from now on instead of doing it."""
        mode = c_int(_CAPTURE_THREAD_LOCAL)
        self._call("capturing a graph", "cuStreamBeginCapture_v2", c_void_p(stream), mode)

    def end_capture(self, stream: int) -> int:
        """Make what was recorded into a graph that can be launched, and return its handle."""
        graph, executable = c_void_p(), c_void_p()
        what = "capturing a graph"
        self._call(what, "cuStreamEndCapture", c_void_p(stream), byref(graph))
        try:
            self._call(what, "cuGraphInstantiateWithFlags", byref(executable), graph, c_uint64(0))
        finally:
            self._call(what, "cuGraphDestroy", graph)
        return executable.value or 0

    def abandon_capture(self, stream: int) -> None:
        """End a capture that failed, so that the stream can be used again."""
        graph = c_void_p()
        self._library.cuStreamEndCapture(c_void_p(stream), byref(graph))
        if graph.value:
            self._library.cuGraphDestroy(graph)

    def launch(self, graph: int, stream: int) -> None:
        """Put a graph on a stream."""
        self._call("launching a graph", "cuGraphLaunch", c_void_p(graph), c_void_p(stream))

    def destroy_graph(self, graph: int) -> None:
        """Let go of a graph."""
        self._call("destroying a graph", "cuGraphExecDestroy", c_void_p(graph))

    def _call(self, doing: str, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise driver_failure(self._subject, code, self._name_of(code), doing)

    def _name_of(self, code: int) -> str:
        text = ctypes.c_char_p()
        self._library.cuGetErrorName(c_int(code), byref(text))
        return text.value.decode() if text.value else f"CUDA error {code}"


def stream_priority(model_priority: int, least: int, greatest: int) -> int:
    """Map a model's priority (0..100, higher first) onto a stream's (`greatest` is the lowest).

    The range is cut into equal parts, so that 0 gives `least` and 100 `greatest`.
    """
    steps = least - greatest
    return least - min(steps, model_priority * (steps + 1) // 101)
