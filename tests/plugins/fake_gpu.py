"""A GPU, its driver, pycuda and TensorRT, as far as the engine calls them; nothing is computed.

It proves what the real ones would punish: a call in another thread or without a context, memory or
a stream that is never given back, a freed address that is used. Device memory is memory of this
process, so copies really copy. The network of the fake plan doubles its input.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import types
from collections import Counter
from enum import Enum
from typing import Any

import numpy as np

VERSION = (10, 3, 0)


def plan_bytes(size_bytes: int = 4096) -> bytes:
    """A file with the header of a plan of TensorRT 10.3."""
    return (b"ftrt" + bytes(20) + bytes((*VERSION, 26))).ljust(size_bytes, b"\0")


class Gpu:
    """What is taken of it, who calls it, and what it is to fail at."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.stacks: dict[int, int] = Counter()
        self.memory: dict[int, Any] = {}
        self.most_bytes = 0
        self.streams: dict[int, int] = {}
        self.graphs: dict[int, list[Any]] = {}
        self.retained = 0
        self.capturing: list[Any] | None = None
        self.fail_at: int | None = None
        self.fail_on: str | None = None
        self.fail_with = (2, "CUDA_ERROR_OUT_OF_MEMORY")
        self.sticky: tuple[int, str] | None = None
        self.capability = (8, 7)
        self._next = 100

    @property
    def held_bytes(self) -> int:
        return sum(len(block) for block in self.memory.values())

    def is_clean(self) -> bool:
        """Whether everything has been given back."""
        left = (self.memory, self.streams, self.graphs, self.retained, sum(self.stacks.values()))
        return not any(left)

    def touched(self, name: str, *, frees: bool = False) -> int:
        """Note a call, in its thread, and return the driver's answer."""
        thread = threading.get_ident()
        assert self.stacks[thread] > 0, f"{name} without a context"
        self.threads.add(thread)
        self.calls.append(name)
        if self.sticky:
            return self.sticky[0]
        if name == self.fail_on:
            self.fail_on = None
            return self.fail_with[0]
        if not frees and self.fail_at is not None:
            self.fail_at -= 1
            if self.fail_at < 0:
                self.fail_at = None
                return self.fail_with[0]
        return 0

    def take(self, size_bytes: int) -> int:
        block = ctypes.create_string_buffer(size_bytes)
        self.memory[ctypes.addressof(block)] = block
        self.most_bytes = max(self.most_bytes, self.held_bytes)
        return ctypes.addressof(block)

    def do(self, action: Any) -> None:
        """Do it now, or when the graph that is being captured is launched."""
        if self.capturing is None:
            action()
        else:
            self.capturing.append(action)

    def handle(self) -> int:
        self._next += 1
        return self._next


class Libcuda:
    """The functions of libcuda that the engine's driver calls."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    def cuGetErrorName(self, code, text):
        names = dict([self._gpu.fail_with, self._gpu.sticky or (0, "")])
        text._obj.value = names.get(code.value, "CUDA_ERROR_UNKNOWN").encode()
        return 0

    def cuMemAlloc_v2(self, address, size):
        code = self._gpu.touched("alloc")
        if not code:
            address._obj.value = self._gpu.take(size.value)
        return code

    def cuMemFree_v2(self, address):
        code = self._gpu.touched("free", frees=True)
        del self._gpu.memory[address.value]
        return code

    def cuCtxGetStreamPriorityRange(self, least, greatest):
        least._obj.value, greatest._obj.value = 0, -5
        return self._gpu.touched("priorities")

    def cuStreamCreateWithPriority(self, handle, _flags, priority):
        code = self._gpu.touched("stream")
        if not code:
            handle._obj.value = self._gpu.handle()
            self._gpu.streams[handle._obj.value] = priority.value
        return code

    def cuStreamDestroy_v2(self, stream):
        del self._gpu.streams[stream.value]
        return self._gpu.touched("destroy stream", frees=True)

    def cuStreamSynchronize(self, stream):
        assert stream.value in self._gpu.streams
        return self._gpu.touched("synchronize")

    def cuMemcpyHtoDAsync_v2(self, target, source, size, _stream):
        self._gpu.do(lambda: ctypes.memmove(target.value, source.value, size.value))
        return self._gpu.touched("to device")

    def cuMemcpyDtoHAsync_v2(self, target, source, size, _stream):
        self._gpu.do(lambda: ctypes.memmove(target.value, source.value, size.value))
        return self._gpu.touched("to host")

    def cuStreamBeginCapture_v2(self, _stream, _mode):
        self._gpu.capturing = []
        return self._gpu.touched("begin capture")

    def cuStreamEndCapture(self, _stream, graph):
        graph._obj.value = self._gpu.handle()
        self._recorded, self._gpu.capturing = self._gpu.capturing, None
        return self._gpu.touched("end capture", frees=True)

    def cuGraphInstantiateWithFlags(self, executable, _graph, _flags):
        code = self._gpu.touched("instantiate")
        if not code:
            executable._obj.value = self._gpu.handle()
            self._gpu.graphs[executable._obj.value] = self._recorded
        return code

    def cuGraphDestroy(self, _graph):
        return self._gpu.touched("destroy captured", frees=True)

    def cuGraphExecDestroy(self, graph):
        del self._gpu.graphs[graph.value]
        return self._gpu.touched("destroy graph", frees=True)

    def cuGraphLaunch(self, graph, _stream):
        code = self._gpu.touched("launch")
        for action in self._gpu.graphs[graph.value]:
            action()
        return code


def pycuda_modules(gpu: Gpu) -> dict[str, Any]:
    """`pycuda`, `pycuda.driver` and `pycuda.tools`, for `sys.modules`."""

    class Error(Exception):
        pass

    class Context:
        def __init__(self) -> None:
            self.thread = threading.get_ident()
            gpu.retained += 1

        def push(self) -> None:
            assert threading.get_ident() == self.thread, "a context of another thread"
            gpu.stacks[self.thread] += 1

        def pop(self) -> None:
            gpu.stacks[threading.get_ident()] -= 1

        def detach(self) -> None:
            assert not gpu.stacks[threading.get_ident()], "detached while it is current"
            gpu.retained -= 1
            gpu.calls.append("detach")

    class Device:
        count = staticmethod(lambda: 1)

        def __init__(self, number: int) -> None:
            self.number = number

        name = staticmethod(lambda: "Fake GPU")
        compute_capability = staticmethod(lambda: gpu.capability)
        retain_primary_context = staticmethod(Context)

    class Block:
        def __init__(self, pool: Any, size_bytes: int) -> None:
            self.pool, self.address = pool, gpu.take(size_bytes)

        def __int__(self) -> int:
            return self.address

        def free(self) -> None:
            self.pool.held.append(self.address)

    class Pool:
        def __init__(self) -> None:
            self.held: list[int] = []
            self.stopped = False
            if gpu.touched("pool"):
                raise Error("cuMemAlloc failed: out of memory")

        def free_held(self) -> None:
            gpu.touched("free held", frees=True)
            while self.held:
                del gpu.memory[self.held.pop()]

        stop_holding = free_held

        def allocate(self, size: int) -> Block:
            if gpu.touched("staging"):
                raise Error("cuMemAlloc failed: out of memory")
            return Block(self, size)

    class Pinned(Pool):
        def allocate(self, shape: Any, dtype: Any) -> Any:  # type: ignore[override]
            if gpu.touched("pinned"):
                raise Error("cuMemHostAlloc failed: out of memory")
            return np.zeros(shape, dtype)

    driver = types.ModuleType("pycuda.driver")
    driver.init = lambda: None
    driver.Device, driver.Error = Device, Error
    tools = types.ModuleType("pycuda.tools")
    tools.DeviceMemoryPool, tools.PageLockedMemoryPool = Pool, Pinned
    pycuda = types.ModuleType("pycuda")
    pycuda.driver, pycuda.tools = driver, tools
    return {"pycuda": pycuda, "pycuda.driver": driver, "pycuda.tools": tools}


class Kind(Enum):
    INPUT, OUTPUT, DEVICE, HOST, FLOAT, HALF, BF16 = range(7)


class Network:
    """What the fake plan is: its type, its shapes, and how much memory it says that it needs."""

    def __init__(self) -> None:
        self.dtype = Kind.FLOAT
        self.profiles = [((1, 3), (4, 3), (8, 3)), ((1, 3), (16, 3), (32, 3))]
        self.activation_bytes = 1000
        self.weights_bytes = 2000
        self.no_context = False
        self.data_dependent = False
        self.most_output_bytes = 32 * 3 * 4
        self.tells_shape = True
        self.streamable_bytes = 0
        self.answer = lambda x: x * 2
        self.lines: list[str] = []


def tensorrt_module(gpu: Gpu, network: Network) -> Any:
    """The module `tensorrt`, of version 10.3."""
    module = types.ModuleType("tensorrt")

    class Counted:
        name = ""

        def __init__(self) -> None:
            gpu.touched(f"make {self.name}")

        def __del__(self) -> None:
            gpu.touched(f"drop {self.name}", frees=True)

    class ILogger:
        def log(self, severity: int, msg: str) -> None: ...

    class IOutputAllocator:
        pass

    class Context(Counted):
        name = "context"

        def __init__(self) -> None:
            super().__init__()
            self.shapes: dict[str, Any] = {}
            self.addresses: dict[str, int] = {}
            self.profile = 0
            self.working = 0
            self.allocators: dict[str, Any] = {}

        def set_optimization_profile_async(self, index: int, _stream: int) -> bool:
            self.profile = index
            return not gpu.touched("profile")

        def set_input_shape(self, name: str, shape: Any) -> bool:
            self.shapes[name] = tuple(shape)
            gpu.touched("shape")
            return True

        def get_tensor_shape(self, name: str) -> Any:
            return (-1, 3) if network.data_dependent and name == "y" else self.shapes["x"]

        def get_max_output_size(self, _name: str) -> int:
            return network.most_output_bytes

        def set_output_allocator(self, name: str, allocator: Any) -> bool:
            self.allocators[name] = allocator
            return True

        def set_tensor_address(self, name: str, address: int) -> bool:
            self.addresses[name] = address
            gpu.touched("address")
            return True

        def set_device_memory(self, address: int, size: int) -> None:
            assert size >= self.update_device_memory_size_for_shapes()
            assert address in gpu.memory or not size
            self.working = address

        def update_device_memory_size_for_shapes(self) -> int:
            most = network.profiles[self.profile][2][0]
            return network.activation_bytes * self.shapes["x"][0] // most

        def execute_async_v3(self, _stream: int) -> bool:
            if gpu.touched("execute"):
                logger.log(1, "IExecutionContext::enqueueV3: Error Code 3: API Usage Error")
                return False
            assert not network.activation_bytes or self.working in gpu.memory
            gpu.do(self.compute)
            return True

        def compute(self) -> None:
            rows = self.shapes["x"][0]
            kind = np.float16 if network.dtype is Kind.HALF else np.float32
            size = rows * 3 * np.dtype(kind).itemsize
            x = np.frombuffer(ctypes.string_at(self.addresses["x"], size), kind)
            y = network.answer(x).astype(kind).tobytes()
            target = self.addresses["y"]
            if network.data_dependent:
                target = self.allocators["y"].reallocate_output_async("y", 0, len(y), 256, 0)
                if network.tells_shape:
                    self.allocators["y"].notify_shape("y", (rows, 3))
            ctypes.memmove(target, y, len(y))

    class Engine(Counted):
        name = "engine"
        num_io_tensors = 2
        num_optimization_profiles = property(lambda _: len(network.profiles))
        device_memory_size_v2 = property(lambda _: network.activation_bytes)
        streamable_weights_size = property(lambda _: network.streamable_bytes)
        weight_streaming_budget_v2 = 0
        weight_streaming_scratch_memory_size = 64

        def __init__(self) -> None:
            super().__init__()
            self.weights = gpu.take(network.weights_bytes)

        def __del__(self) -> None:
            super().__del__()
            del gpu.memory[self.weights]

        def get_engine_stat(self, _what: Any) -> int:
            return network.weights_bytes

        def get_tensor_name(self, at: int) -> str:
            return "xy"[at]

        def get_tensor_mode(self, name: str) -> Kind:
            return Kind.INPUT if name == "x" else Kind.OUTPUT

        def get_tensor_location(self, _name: str) -> Kind:
            return Kind.DEVICE

        def get_tensor_dtype(self, _name: str) -> Kind:
            return network.dtype

        def get_tensor_shape(self, _name: str) -> Any:
            return (-1, 3)

        def get_tensor_profile_shape(self, _name: str, index: int) -> Any:
            return network.profiles[index]

        def create_execution_context(self, strategy: Any) -> Any:
            assert strategy == "user managed"
            if network.no_context or gpu.touched("context"):
                logger.log(1, "Error Code 2: OutOfMemory (no further information)")
                return None
            return Context()

    class Runtime(Counted):
        name = "runtime"

        def __init__(self, _logger: Any) -> None:
            super().__init__()

        def deserialize_cuda_engine(self, content: Any) -> Any:
            assert content[:4] == b"ftrt"
            for line in network.lines:
                logger.log(1, line)
            if network.lines or gpu.touched("deserialize"):
                return None
            return Engine()

    class Log(ILogger):
        def __init__(self) -> None:
            nonlocal logger
            logger = self

    logger: Any = None
    names = dict(Runtime=Runtime, ILogger=Log, IOutputAllocator=IOutputAllocator)
    module.__version__ = ".".join(str(part) for part in (*VERSION, 26))
    for name, value in names.items():
        setattr(module, name, value)
    module.TensorIOMode = module.TensorLocation = Kind
    module.EngineStat = types.SimpleNamespace(TOTAL_WEIGHTS_SIZE=0)
    module.ExecutionContextAllocationStrategy = types.SimpleNamespace(USER_MANAGED="user managed")
    return module


def install(monkeypatch: Any, gpu: Gpu, network: Network) -> None:
    """Put the fakes in the place of the real ones."""
    from rota_tensorrt import activation, device, engine

    for name, module in pycuda_modules(gpu).items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_module(gpu, network))
    monkeypatch.setattr(engine, "load_driver", lambda: Libcuda(gpu))
    monkeypatch.setattr(device, "_poisoned", {})
    monkeypatch.setattr(activation, "_blocks", {})
