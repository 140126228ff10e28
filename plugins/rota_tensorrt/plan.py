"""A plan brought into memory: the engine of TensorRT, its bindings and its two sizes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rota_tensorrt.binding import Binding, Range, numpy_dtype, shape_of
from rota_tensorrt.failure import (
    CorruptPlan,
    ForeignPlan,
    NoDevice,
    PlanError,
    classify,
    guarded,
    without_frames,
)
from rota_tensorrt.header import HEADER_BYTES, SERVED, PlanHeader, parse_header
from rota_tensorrt.library import library, version_of
from rota_tensorrt.logger import make_logger
from scheduler.errors import DeviceLost, EngineError, EngineOutOfMemory

if TYPE_CHECKING:
    import tensorrt as trt

    from rota_tensorrt.library import Library


class Plan:
    """A plan in device memory. Made, used and dropped in one thread, with the context current."""

    def __init__(
        self, path: Path, header: PlanHeader, module: Library, *, version_compatible: bool = False
    ) -> None:
        """Bring it into memory.

        Raises:
            EngineError: one of the kinds of `failure`, which says what is wrong with it.
        """
        self.path = path
        self.header = header
        self.module = module
        self.logger, self.lines = make_logger(module)
        self._runtime: Any = module.Runtime(self.logger)
        if version_compatible:
            self._runtime.engine_host_code_allowed = True
        try:
            self.engine: trt.ICudaEngine = self._deserialize()
            self.bindings = tuple(self._bindings())
        except BaseException as error:
            without_frames(error)
            self.close()
            raise

    @property
    def weights_bytes(self) -> int:
        """What its weights take: by the library's own figure, the header's, or the file's size."""
        engine: Any = self.engine
        if hasattr(engine, "get_engine_stat"):
            stats: Any = getattr(self.module, "EngineStat", None)
            counted = engine.get_engine_stat(stats.TOTAL_WEIGHTS_SIZE) if stats else 0
            if counted > 0:
                return int(counted)
        return self.header.weights_bytes or self.header.file_bytes

    @property
    def activation_bytes(self) -> int:
        """What its layers work in, for the largest shapes of its profiles."""
        engine: Any = self.engine
        newer = getattr(engine, "device_memory_size_v2", None)
        return int(engine.device_memory_size if newer is None else newer)

    def limit_weights(self, budget_bytes: int) -> int:
        """Keep at most so much of the weights on the device, and return what they take then.

        Raises:
            EngineError: the plan, or the library, cannot stream its weights.
        """
        engine: Any = self.engine
        streamable = int(getattr(engine, "streamable_weights_size", 0))
        if not streamable:
            raise EngineError(
                f"{self.path}: its weights cannot be streamed; build it with rota build "
                f"--weight-streaming (TensorRT 10 or newer), or leave weights_budget out"
            )
        fixed_bytes = self.weights_bytes - streamable
        engine.weight_streaming_budget_v2 = max(0, min(budget_bytes - fixed_bytes, streamable))
        scratch_bytes = int(getattr(engine, "weight_streaming_scratch_memory_size", 0))
        return fixed_bytes + int(engine.weight_streaming_budget_v2) + scratch_bytes

    def context(self) -> trt.IExecutionContext:
        """Make an execution context without working memory of its own.

        Raises:
            EngineOutOfMemory: it could not be made, which TensorRT says by returning None.
        """
        engine: Any = self.engine
        strategies: Any = getattr(self.module, "ExecutionContextAllocationStrategy", None)
        self.lines.clear()
        if strategies is not None and hasattr(strategies, "USER_MANAGED"):
            context = engine.create_execution_context(strategies.USER_MANAGED)
        else:
            context = engine.create_execution_context_without_device_memory()
        if context is None:
            error = classify(str(self.path), self.lines.errors, "no execution context")
            if isinstance(error, DeviceLost):
                raise error
            raise EngineOutOfMemory(
                f"{self.path}: not enough device memory for an execution context ({error})"
            )
        made: trt.IExecutionContext = context
        return made

    def close(self) -> None:
        """Let go of it: the engine before the runtime that made it."""
        self.__dict__.pop("engine", None)
        self._runtime = None

    def _deserialize(self) -> trt.ICudaEngine:
        self.lines.clear()
        # Not mapped: a file that is written over while it is mapped ends the process.
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise PlanError(f"{self.path}: cannot read it: {error.strerror}") from error
        if parse_header(str(self.path), content[:HEADER_BYTES], len(content)) != self.header:
            raise CorruptPlan(f"{self.path}: it was written over while it was read; load it again")
        try:
            engine = self._runtime.deserialize_cuda_engine(content)
        except Exception as error:
            raise guarded(str(self.path), error, "loading it") from error
        if engine is None:
            raise classify(str(self.path), self.lines.errors, "TensorRT does not load it")
        made: trt.ICudaEngine = engine
        return made

    def _bindings(self) -> list[Binding]:
        engine = self.engine
        return [self._binding(engine.get_tensor_name(at)) for at in range(engine.num_io_tensors)]

    def _binding(self, name: str) -> Binding:
        engine = self.engine
        is_input = engine.get_tensor_mode(name) == self.module.TensorIOMode.INPUT
        on_host = engine.get_tensor_location(name) == self.module.TensorLocation.HOST
        dtype = numpy_dtype(str(self.path), name, engine.get_tensor_dtype(name).name)
        ranges = self._ranges(name) if is_input and not on_host else ()
        return Binding(
            name, dtype, shape_of(engine.get_tensor_shape(name)), is_input, ranges, on_host
        )

    def _ranges(self, name: str) -> tuple[Range, ...]:
        engine = self.engine
        profiles = range(engine.num_optimization_profiles)
        return tuple(
            Range(*(shape_of(shape) for shape in engine.get_tensor_profile_shape(name, profile)))
            for profile in profiles
        )


def open_library(path: Path, header: PlanHeader, *, version_compatible: bool) -> Library:
    """Import the library that a plan is for, and refuse a plan of another version of it.

    Raises:
        ForeignPlan: another version built it.
        EngineError: the library is not installed.
    """
    module = library(header.library)
    ours = version_of(module)[:3]
    if header.version[:3] != ours and not version_compatible:
        raise ForeignPlan(
            f"{path}: {header.library} {header.version_text} built it, and {module.__version__} is "
            f"installed; build it again: rota build MODEL.onnx --output DIR"
        )
    return module


def explain(error: EngineError, header: PlanHeader, capability: str, name: str) -> EngineError:
    """Say more of a plan that was refused, by the GPUs that it was built for."""
    if header.capabilities is None or capability in header.capabilities:
        return error
    if isinstance(error, (EngineOutOfMemory, DeviceLost)):
        return error
    served = ", ".join(header.capabilities)
    if capability not in SERVED:
        return NoDevice(
            f"{name} has compute capability {capability}, which TensorRT-RTX does not serve "
            f"(it serves {', '.join(SERVED)}); use a plan of TensorRT here ({error})"
        )
    return ForeignPlan(
        f"the plan is for compute capability {served}, and {name} has {capability}; build it again "
        f"on this machine: rota build MODEL.onnx --output DIR ({error})"
    )
