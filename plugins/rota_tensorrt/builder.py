"""Builds plans of an ONNX model: in fp32, fp16 and int8. Never while requests wait.

TensorRT builds for the GPU of this machine and takes minutes; TensorRT-RTX needs no GPU and builds
for all that it serves in a second.
"""

from __future__ import annotations

import hashlib
import warnings
from typing import TYPE_CHECKING, Any, Final

from rota_onnxruntime.derived import model_sha256
from rota_onnxruntime.tensor import TensorSpec
from rota_tensorrt.binding import numpy_dtype, shape_of
from rota_tensorrt.calibration import Samples
from rota_tensorrt.failure import classify
from rota_tensorrt.header import HEADER_BYTES, parse_header
from rota_tensorrt.library import find_library
from rota_tensorrt.logger import make_logger
from rota_tensorrt.network import read_network
from rota_tensorrt.precision import to_half, to_integers
from rota_tensorrt.profile import Shapes, add_profile, staging_bytes
from rota_tensorrt.progress import make_monitor
from rota_tensorrt.record import PlanRecord, figures, write_whole
from scheduler.errors import EngineError
from scheduler.plugin.builder import BuildOrder, BuildRefused, Built, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import tensorrt as trt

UNIFIED: Final = "unified"
PRECISIONS: Final = ("fp32", "fp16", "int8")


class PlanBuilder:
    """The builder `tensorrt`, for the engine of that name."""

    def __init__(self) -> None:
        self.library, self.module = find_library()
        self._logger, self._lines = make_logger(self.module)

    def build(self, order: BuildOrder, progress: Progress) -> Iterator[Built]:
        """Yield each form when its plan is whole and in its place, as `Builder` says."""
        _check(order)
        order.folder.mkdir(parents=True, exist_ok=True)
        for precision in order.precisions:
            progress(f"{precision}: preparing the model", 0, 1)
            model, notes = self._prepared(order, precision)
            yield self._one(order, precision, model, notes, progress)

    def _prepared(self, order: BuildOrder, precision: str) -> tuple[Path, tuple[str, ...]]:
        """Return the ONNX model in that precision, beside the plans."""
        if precision == "fp32":
            return order.model, ()
        key = model_sha256(order.model)
        if precision == "fp16":
            target = order.folder / f"{order.model.stem}-fp16-{key[:_KEY]}.onnx"
            if not target.exists():
                to_half(order.model, target)
            return target, ()
        assert order.calibration is not None  # noqa: S101 - _check holds it
        samples = Samples.find(order.calibration, self._inputs(order))
        key = hashlib.sha256(f"{key} {samples.digest}".encode()).hexdigest()
        target = order.folder / f"{order.model.stem}-int8-{key[:_KEY]}.onnx"
        if not target.exists():
            to_integers(order.model, target, samples)
        return target, (f"its scales come from {len(samples.files)} samples",)

    def _inputs(self, order: BuildOrder) -> list[TensorSpec]:
        network = self._network(order.model)[1]
        return [
            TensorSpec(
                tensor.name,
                numpy_dtype(str(order.model), tensor.name, tensor.dtype.name),
                tuple(None if size < 0 else size for size in shape_of(tensor.shape)),
            )
            for tensor in (network.get_input(at) for at in range(network.num_inputs))
        ]

    def _network(self, model: Path) -> tuple[trt.Builder, trt.INetworkDefinition]:
        builder = self.module.Builder(self._logger)
        flags: Any = self.module.NetworkDefinitionCreationFlag
        typed = getattr(flags, "STRONGLY_TYPED", None)
        wanted = typed if typed is not None else flags.EXPLICIT_BATCH
        network = builder.create_network(1 << int(wanted))
        read_network(model, network, self.module, self._logger, self._lines)
        return builder, network

    def _one(
        self,
        order: BuildOrder,
        precision: str,
        model: Path,
        notes: tuple[str, ...],
        progress: Progress,
    ) -> Built:
        builder, network = self._network(model)
        config = builder.create_builder_config()
        shapes = add_profile(builder, network, config, order.shapes, str(order.model))
        notes += self._settings(order, config, precision)
        monitor = make_monitor(self.module, precision, progress)
        if monitor is not None:
            config.progress_monitor = monitor
        self._lines.clear()
        plan: Any = builder.build_serialized_network(network, config)
        if plan is None:
            raise classify(str(order.model), self._lines.errors, "TensorRT cannot build it")
        notes += self._keep_timings(order, config)
        content = bytes(plan)
        # All forms have the inputs and outputs of the model itself.
        staged_bytes = staging_bytes(order.model, shapes)
        record = self._record(precision, model, content, shapes, staged_bytes)
        file = order.folder / f"{_name(order, record)}.plan"
        write_whole(file, content)
        record.write(file)
        footprint = record.footprint(unified=order.device == UNIFIED)
        return Built(precision, file, "tensorrt", {"plan": file.name}, footprint, notes)

    def _record(
        self, precision: str, model: Path, content: bytes, shapes: Shapes, staged_bytes: int
    ) -> PlanRecord:
        header = parse_header(f"the plan of {model}", content[:HEADER_BYTES], len(content))
        said = figures(self._lines)
        return PlanRecord(
            model_sha256=model_sha256(model),
            library=self.library,
            version=self.module.__version__,
            gpu=_gpu(header.capabilities),
            precision=precision,
            plan_bytes=len(content),
            weights_bytes=header.weights_bytes or said.get("weights", len(content)),
            activation_bytes=said["activation"],
            persistent_bytes=said.get("persistent", 0),
            staging_bytes=staged_bytes,
            shapes=shapes,
        )

    def _settings(
        self, order: BuildOrder, config: trt.IBuilderConfig, precision: str
    ) -> tuple[str, ...]:
        """Set the limits, and the precision where the library does not take it from the model."""
        if order.workspace_bytes is not None:
            workspace = self.module.MemoryPoolType.WORKSPACE
            config.set_memory_pool_limit(workspace, order.workspace_bytes)
        if not hasattr(self.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
            for flag in {"fp16": ("FP16",), "int8": ("FP16", "INT8")}.get(precision, ()):
                config.set_flag(getattr(self.module.BuilderFlag, flag))
        if order.weight_streaming:
            streaming: Any = getattr(self.module.BuilderFlag, "WEIGHT_STREAMING", None)
            if streaming is None:
                raise BuildRefused(f"TensorRT {self.module.__version__} cannot stream weights")
            config.set_flag(streaming)
        if order.timing_cache is None:
            return ()
        if self.library == "tensorrt_rtx":
            return ("TensorRT-RTX measures nothing while it builds: no timing cache is used",)
        known = order.timing_cache.read_bytes() if order.timing_cache.exists() else b""
        cache = config.create_timing_cache(known)
        taken: Any = config.set_timing_cache(cache, ignore_mismatch=False)
        if taken is False:
            return (f"{order.timing_cache} is another GPU's or version's: measured anew",)
        return ()

    def _keep_timings(self, order: BuildOrder, config: trt.IBuilderConfig) -> tuple[str, ...]:
        if order.timing_cache is None or self.library == "tensorrt_rtx":
            return ()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content: Any = config.get_timing_cache().serialize()
            write_whole(order.timing_cache, bytes(content))
        except OSError as error:
            return (f"{order.timing_cache}: the timings are not kept: {error.strerror}",)
        return ()


def _check(order: BuildOrder) -> None:
    unknown = [name for name in order.precisions if name not in PRECISIONS]
    if unknown or not order.precisions:
        raise BuildRefused(
            f"precision {', '.join(unknown) or 'none'}: choose from {', '.join(PRECISIONS)}"
        )
    if "int8" in order.precisions and order.calibration is None:
        raise BuildRefused(
            "int8 needs calibration data: give a folder of inputs with --calibration FOLDER"
        )


def _name(order: BuildOrder, record: PlanRecord) -> str:
    """Name a plan by all that it depends on, so that one of something else is never taken for it.

    What it was made from, shapes and limits are in a hash; library and GPU are in words.
    """
    what = [record.model_sha256, repr(sorted(record.shapes.items())), str(order.workspace_bytes)]
    what.append(str(order.weight_streaming))
    key = hashlib.sha256("\n".join(what).encode()).hexdigest()[:_KEY]
    short = "rtx" if record.library == "tensorrt_rtx" else "trt"
    stem = order.model.stem
    return f"{stem}-{record.precision}-{key}-{short}{record.version}-{record.gpu}"


def _gpu(capabilities: tuple[str, ...] | None) -> str:
    """Name the GPU that a plan is for: by its compute capability, or by those it can be of."""
    if capabilities:
        return f"cc{'_'.join(capabilities)}"
    try:
        import pycuda.driver as cuda  # noqa: PLC0415 - only where there is a GPU

        cuda.init()
        device = cuda.Device(0)
        capability = ".".join(str(part) for part in device.compute_capability())
        return f"{'_'.join(device.name().split())}-cc{capability}"
    except Exception as error:
        raise EngineError(f"the GPU that was built for cannot be named: {error}") from error


_KEY: Final = 12
