"""Builds plans of an ONNX model: in fp32, fp16 and int8. Never while requests wait.

TensorRT builds for the GPU of this machine and takes minutes; TensorRT-RTX needs no GPU and builds
for all that it serves in a second.
"""

from __future__ import annotations

import hashlib
import warnings
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from rota_onnxruntime.derived import model_sha256
from rota_onnxruntime.tensor import TensorSpec
from rota_tensorrt.binding import numpy_dtype, shape_of
from rota_tensorrt.calibration import Samples
from rota_tensorrt.calibrator import Scales, check_has_calibrator
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
        if order.calibrator:
            check_has_calibrator(self.module)
        order.folder.mkdir(parents=True, exist_ok=True)
        for precision in order.precisions:
            progress(f"{precision}: preparing the model", 0, 1)
            model, notes = self._prepared(order, precision)
            yield self._one(order, precision, model, notes, progress)

    def _prepared(self, order: BuildOrder, precision: str) -> tuple[Path, tuple[str, ...]]:
        """Return the ONNX model in that precision, beside the plans."""
        if precision == "fp32" or (precision == "int8" and order.calibrator):
            return order.model, ()
        key = model_sha256(order.model)
        if precision == "fp16":
            target = order.folder / f"{order.model.stem}-fp16-{key[:_KEY]}.onnx"
            if not target.exists():
                to_half(order.model, target)
            return target, ()
        assert order.calibration is not None  # noqa: S101 - _check holds it
        inputs = self._inputs(order, self._network(order.model)[1])
        samples = Samples.find(order.calibration, inputs)
        key = hashlib.sha256(f"{key} {samples.digest}".encode()).hexdigest()
        target = order.folder / f"{order.model.stem}-int8-{key[:_KEY]}.onnx"
        if not target.exists():
            to_integers(order.model, target, samples)
        return target, (f"its scales come from {len(samples.files)} samples",)

    def _inputs(self, order: BuildOrder, network: trt.INetworkDefinition) -> list[TensorSpec]:
        return [
            TensorSpec(
                tensor.name,
                numpy_dtype(str(order.model), tensor.name, tensor.dtype.name),
                tuple(None if size < 0 else size for size in shape_of(tensor.shape)),
            )
            for tensor in (network.get_input(at) for at in range(network.num_inputs))
        ]

    def _network(
        self, model: Path, *, typed: bool = True
    ) -> tuple[trt.Builder, trt.INetworkDefinition]:
        """Parse the model; where it is `typed`, layers are of the types that it says itself."""
        builder = self.module.Builder(self._logger)
        flags: Any = self.module.NetworkDefinitionCreationFlag
        wanted = flags.STRONGLY_TYPED if typed and self._knows_types else flags.EXPLICIT_BATCH
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
        measures = precision == "int8" and order.calibrator
        builder, network = self._network(model, typed=not measures)
        config = builder.create_builder_config()
        shapes = add_profile(builder, network, config, order.shapes, str(order.model))
        if measures or not self._knows_types:
            self._set_types(config, precision)
        notes += self._settings(order, config)
        monitor = make_monitor(self.module, precision, progress)
        if monitor is not None:
            config.progress_monitor = monitor
        scales = self._scales(order, network, shapes) if measures else None
        content = self._built(order, builder, network, config, scales)
        notes += self._keep_timings(order, config)
        if scales is not None:
            notes += scales.notes
        # All forms have the inputs and outputs of the model itself.
        staged_bytes = staging_bytes(order.model, shapes)
        record = self._record(precision, model, content, shapes, staged_bytes)
        measured_on = "" if scales is None else scales.samples.digest
        file = order.folder / f"{_name(order, record, measured_on)}.plan"
        write_whole(file, content)
        record.write(file)
        footprint = record.footprint(unified=order.device == UNIFIED)
        return Built(precision, file, "tensorrt", {"plan": file.name}, footprint, notes)

    def _built(
        self,
        order: BuildOrder,
        builder: trt.Builder,
        network: trt.INetworkDefinition,
        config: trt.IBuilderConfig,
        scales: Scales | None,
    ) -> bytes:
        with ExitStack() as during:
            if scales is not None:
                device = order.device
                during.enter_context(scales.measured(self.module, builder, config, device))
            self._lines.clear()
            plan: Any = builder.build_serialized_network(network, config)
            if plan is None:
                raise classify(str(order.model), self._lines.errors, "TensorRT cannot build it")
            return bytes(plan)

    def _scales(self, order: BuildOrder, network: trt.INetworkDefinition, shapes: Shapes) -> Scales:
        """Measured on samples of the usual shapes, for this model and version alone."""
        assert order.calibration is not None  # noqa: S101 - _check holds it
        usual = {name: tuple(span[1]) for name, span in shapes.items()}
        inputs = [replace(spec, shape=usual[spec.name]) for spec in self._inputs(order, network)]
        samples = Samples.find(order.calibration, inputs)
        belongs_to = (model_sha256(order.model), self.module.__version__, repr(usual))
        return Scales.on(samples, order.folder, order.model.stem, belongs_to)

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

    @property
    def _knows_types(self) -> bool:
        """Whether the library can take types from the model."""
        return hasattr(self.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")

    def _set_types(self, config: trt.IBuilderConfig, precision: str) -> None:
        """Allow the types of a precision where the library does not take them from the model."""
        for flag in {"fp16": ("FP16",), "int8": ("FP16", "INT8")}.get(precision, ()):
            config.set_flag(getattr(self.module.BuilderFlag, flag))

    def _settings(self, order: BuildOrder, config: trt.IBuilderConfig) -> tuple[str, ...]:
        """Set the limits, and open the timing cache."""
        if order.workspace_bytes is not None:
            workspace = self.module.MemoryPoolType.WORKSPACE
            config.set_memory_pool_limit(workspace, order.workspace_bytes)
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
    if order.calibrator and "int8" not in order.precisions:
        raise BuildRefused("a calibrator is for int8: add --precision int8, or leave it out")


def _name(order: BuildOrder, record: PlanRecord, measured_on: str) -> str:
    """Name a plan by all that it depends on, so that one of something else is never taken for it.

    What it was made from, shapes and limits are in a hash; library and GPU are in words.
    """
    what = [record.model_sha256, repr(sorted(record.shapes.items())), str(order.workspace_bytes)]
    what += [str(order.weight_streaming), *filter(None, [measured_on])]
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
