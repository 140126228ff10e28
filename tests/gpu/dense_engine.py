"""An engine of weights and kernels of our own, through pycuda, on the primary context.

It holds `blocks` square matrices of 256 MiB and nothing else but two small buffers, so what it has
of the device's memory is known to the byte.
"""

from collections.abc import Sequence
from ctypes import c_int, c_uint64
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from cuda_calls import Driver

from scheduler.errors import BadInput, EngineOutOfMemory
from scheduler.plugin.engine import EngineOptions, EnginePlugin

WIDTH = 8192
BLOCK_BYTES = 4 * WIDTH * WIDTH
MOST_ITEMS = 16
WARP, THREADS = 32, 256
GRAIN_BYTES = 2 * 1024**2
"""What the driver takes at a time for small allocations."""

KERNEL = """
__global__ void dense(const float4* w, const float* bias, const float4* x, float* y, int width)
{
    int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    int item = row / width, quads = width / 4;
    row %= width;
    float sum = 0;
    for (int i = lane; i < quads; i += 32) {
        float4 a = w[(size_t)row * quads + i], b = x[(size_t)item * quads + i];
        sum += a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
    }
    for (int step = 16; step; step /= 2) sum += __shfl_down_sync(0xffffffff, sum, step);
    if (lane == 0) y[(size_t)item * width + row] = tanhf(sum + bias[row]);
}
"""


def bias_of(block: int, seed: int) -> Any:
    """The bias of one block: what tells two engines apart."""
    return (0.2 * np.sin(np.arange(WIDTH) * (seed + 1) + block)).astype(np.float32)


def on_cpu(weights: Any, blocks: int, seed: int, x: Any) -> Any:
    """What the engine answers to `x`, computed by numpy."""
    for block in range(blocks):
        x = np.tanh(weights[(seed + block) % len(weights)] @ x + bias_of(block, seed))
    return x


class DenseOptions(EngineOptions):
    """`priority` of None is a stream without one; `scratch` bytes are taken for each item."""

    weights: Path
    blocks: int
    seed: int = 0
    scratch: int = 0
    stream_priority: bool = False


class DenseEngine(EnginePlugin):
    """`y = tanh(w x + b)`, `blocks` times. A payload is a float32 array of 8192."""

    Options: ClassVar[type[DenseOptions]] = DenseOptions
    LIBRARIES = ("pycuda.driver",)
    _context: Any = None
    _stream: Any = None

    def load(self) -> None:
        """Copy the weights to the device, in this thread, which keeps the context current."""
        import pycuda.driver as cuda

        number = int(self.context.device.partition(":")[2] or 0)
        primary, function = on_device(number)
        primary.push()
        self._context, self._function, self._cuda, self._driver = primary, function, cuda, Driver()
        self._memory: list[Any] = []
        priority = self.context.priority if self.options.stream_priority else None
        self._stream = self._driver.stream(priority)
        weights = np.load(self.options.weights, mmap_mode="r")
        seed = self.options.seed
        self._weights = [
            self._copied(weights[(seed + block) % len(weights)])
            for block in range(self.options.blocks)
        ]
        self._biases = [self._copied(bias_of(block, seed)) for block in range(self.options.blocks)]
        self._buffers = [self._taken(4 * WIDTH * MOST_ITEMS) for _ in range(2)]
        self._host = cuda.pagelocked_empty((MOST_ITEMS, WIDTH), np.float32)

    def _taken(self, size_bytes: int) -> Any:
        try:
            memory = self._cuda.mem_alloc(size_bytes)
        except self._cuda.MemoryError as error:
            raise EngineOutOfMemory(f"no {size_bytes} bytes of the device: {error}") from None
        self._memory.append(memory)
        return memory

    def _copied(self, array: Any) -> Any:
        memory = self._taken(array.nbytes)
        self._cuda.memcpy_htod(memory, array)
        return memory

    def infer(self, batch: Sequence[Any]) -> Sequence[Any]:
        """Run all payloads in one go."""
        good = [_is_input(payload) for payload in batch]
        items = [payload for payload, is_good in zip(batch, good, strict=True) if is_good]
        answers = iter(self._run(items) if items else ())
        return [
            next(answers) if is_good else BadInput("send a float32 array of 8192")
            for is_good in good
        ]

    def _run(self, items: Sequence[Any]) -> Any:
        count, driver, stream = len(items), self._driver, self._stream
        scratch = self._taken(self.options.scratch * count) if self.options.scratch else None
        host = self._host[:count]
        host[:] = items
        source, target = (int(buffer) for buffer in self._buffers)
        driver.to_device(source, host, stream)
        width, blocks = c_int(WIDTH), count * WIDTH * WARP // THREADS
        for weights, bias in zip(self._weights, self._biases, strict=True):
            arrays = [c_uint64(int(array)) for array in (weights, bias, source, target)]
            driver.launch(self._function, blocks, THREADS, stream, *arrays, width)
            source, target = target, source
        driver.to_host(host, source, stream)
        driver.wait(stream)
        if scratch is not None:
            self._memory.remove(scratch)
            scratch.free()
        return [row.copy() for row in host]

    def example(self) -> Any:
        """Make some input."""
        return np.cos(np.arange(WIDTH)).astype(np.float32)

    def measure(self) -> dict[str, int]:
        """The bytes that it holds: its weights, and one grain for all the rest."""
        return {self.context.device: resident_bytes(self.options.blocks)}

    def unload(self) -> None:
        """Give everything back, in the same thread."""
        if self._context is None:
            return
        for memory in self._memory:
            memory.free()
        if self._stream is not None:
            self._driver.drop(self._stream)
        for name in list(vars(self)):
            if name not in {"options", "context", "_context"}:
                delattr(self, name)
        self._context.pop()
        self._context = None


def resident_bytes(blocks: int) -> int:
    """What the engine holds of the device: biases and buffers share grains of 2 MiB."""
    small = blocks * 4 * WIDTH + 2 * 4 * WIDTH * MOST_ITEMS
    return blocks * BLOCK_BYTES + -(-small // GRAIN_BYTES) * GRAIN_BYTES


@lru_cache(maxsize=8)
def on_device(number: int) -> tuple[Any, Any]:
    """The primary context of a device, kept for good, and the kernel in it."""
    import pycuda.driver as cuda
    from pycuda.compiler import compile as compiled

    cuda.init()
    device = cuda.Device(number)
    major, minor = device.compute_capability()
    cubin = compiled(KERNEL, arch=f"sm_{major}{minor}")
    primary = device.retain_primary_context()
    primary.push()
    try:
        driver = Driver()
        function = driver.function(driver.module(cubin), "dense")
    finally:
        primary.pop()
    return primary, function


def _is_input(payload: Any) -> bool:
    return (
        isinstance(payload, np.ndarray)
        and payload.shape == (WIDTH,)
        and payload.dtype == np.float32
    )
