"""The same ONNX model in half precision, or in integers with their scales in the graph.

TensorRT 11 and TensorRT-RTX take types from the model alone, so both are made before it is parsed;
earlier versions take such models too. What is made is an ONNX model like any other: onnxruntime
runs it on a CPU, to compare.
"""

from __future__ import annotations

import logging
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scheduler.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rota_tensorrt.calibration import Samples

_PER_CHANNEL_OPSET: Final = 13
"""The first in which a weight can have a scale for each channel (ONNX, `DequantizeLinear`-13)."""

_WITH_WEIGHTS: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""What is quantised: the layers that time and weights are in. A constant that is quantised for
another layer is refused by TensorRT where that layer is no arithmetic."""

_QDQ: Final = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "DedicatedQDQPair": True,
}
"""What TensorRT takes: zero points of 0, and biases in float (its parser refuses int32)."""


def to_half(model: Path, target: Path) -> None:
    """Write `model` with weights and layers in float16; inputs and outputs stay as they are.

    Raises:
        EngineError: the model cannot be read or converted.
    """
    import onnx  # noqa: PLC0415 - heavy, and needed only to build
    from onnxruntime.transformers import float16  # noqa: PLC0415

    with _told(model, "convert to float16"):
        network = onnx.load(model)
        half = float16.convert_float_to_float16(network, keep_io_types=True)
        onnx.save(half, target)


def to_integers(model: Path, target: Path, samples: Samples) -> None:
    """Write `model` quantised to int8 by what its layers show for the samples.

    Symmetric, per channel, with quantise and dequantise nodes in the graph (onnxruntime's
    `quantize_static`).

    Raises:
        EngineError: the model cannot be read, converted or run on the samples.
    """
    from onnxruntime.quantization import (  # noqa: PLC0415 - heavy, and needed only to build
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    with _told(model, "quantise"), tempfile.TemporaryDirectory() as folder, _quiet():
        newer, prepared = Path(folder, "newer.onnx"), Path(folder, "prepared.onnx")
        _in_opset(model, newer)
        quant_pre_process(str(newer), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            samples.reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_WITH_WEIGHTS),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options=_QDQ,
        )


def _in_opset(model: Path, target: Path) -> None:
    """Write the model in an opset that has scales per channel, unless it is in one."""
    import onnx  # noqa: PLC0415
    from onnx import version_converter  # noqa: PLC0415

    network = onnx.load(model)
    opset = max((entry.version for entry in network.opset_import if not entry.domain), default=0)
    if opset < _PER_CHANNEL_OPSET:
        network = version_converter.convert_version(network, _PER_CHANNEL_OPSET)
    onnx.save(network, target)


@contextmanager
def _told(model: Path, doing: str) -> Iterator[None]:
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise EngineError(f"{model}: cannot {doing}: {type(error).__name__}: {text}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's remarks on unused weights, one for each, from the terminal."""
    import onnxruntime  # noqa: PLC0415

    root: Any = logging.getLogger()
    level = root.level
    onnxruntime.set_default_logger_severity(_ERROR)
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
        onnxruntime.set_default_logger_severity(_WARNING)


_WARNING: Final = 2
_ERROR: Final = 3
