"""The shapes that a plan is built for: one optimisation profile, from the least to the largest."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from rota_tensorrt.binding import Shape, shape_of
from rota_tensorrt.staging import Layout
from scheduler.plugin.builder import BuildRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import tensorrt as trt

Span = tuple[Shape, Shape, Shape]
Shapes = dict[str, list[list[int]]]


def add_profile(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    asked: Mapping[str, Span],
    subject: str,
) -> Shapes:
    """Give the plan a profile of the shapes asked for, and return those of every input.

    Raises:
        BuildRefused: a dynamic input has no shapes, an input is unknown, or shapes do not fit.
    """
    inputs = [network.get_input(at) for at in range(network.num_inputs)]
    unknown = sorted(set(asked) - {tensor.name for tensor in inputs})
    if unknown:
        names = ", ".join(tensor.name for tensor in inputs)
        raise BuildRefused(f"{subject}: it has no input {', '.join(unknown)}; it has {names}")
    profile: Any = builder.create_optimization_profile()
    shapes: Shapes = {}
    dynamic = False
    for tensor in inputs:
        declared = shape_of(tensor.shape)
        span = asked.get(tensor.name) or _only(subject, tensor.name, declared)
        _check_span(subject, tensor.name, declared, span)
        if any(size < 0 for size in declared):
            dynamic = True
            profile.set_shape(tensor.name, *span)
        shapes[tensor.name] = [list(shape) for shape in span]
    if dynamic:
        config.add_optimization_profile(profile)
    return shapes


def staging_bytes(model: Path, shapes: Shapes) -> int:
    """Return the bytes of a staging block for the largest shapes, inputs and outputs.

    An output's shape is what ONNX's shape inference makes of the inputs'; one that it cannot tell
    counts as nothing.
    """
    import onnx  # noqa: PLC0415 - heavy, and needed only to build
    from onnx import TensorProto, shape_inference  # noqa: PLC0415

    network = onnx.load(model)
    for tensor in network.graph.input:
        if tensor.name in shapes:
            _fix(tensor, shapes[tensor.name][-1])
    del network.graph.value_info[:]  # a quantiser's notes of the samples' shapes
    for tensor in network.graph.output:
        tensor.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(network, data_prop=True)
    sizes = {}
    for tensor in (*inferred.graph.input, *inferred.graph.output):
        if tensor.name in shapes or tensor in inferred.graph.output:
            kind = tensor.type.tensor_type
            item = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type or TensorProto.FLOAT)
            sizes[tensor.name] = item.itemsize * prod(dim.dim_value for dim in kind.shape.dim)
    return Layout.of(sizes).total_bytes


def _fix(tensor: Any, shape: list[int]) -> None:
    for dim, size in zip(tensor.type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = size


def _only(subject: str, name: str, declared: Shape) -> Span:
    if any(size < 0 for size in declared):
        text = "x".join("?" if size < 0 else str(size) for size in declared)
        raise BuildRefused(
            f"{subject}: input {name} is {text}, so say which shapes it will have: "
            f'--shapes "{name}={text},{text},{text}" (least, usual, largest)'
        )
    return declared, declared, declared


def _check_span(subject: str, name: str, declared: Shape, span: Span) -> None:
    for shape in span:
        fits = len(shape) == len(declared) and all(
            size > 0 and wanted in (-1, size) for size, wanted in zip(shape, declared, strict=True)
        )
        if not fits:
            raise BuildRefused(
                f"{subject}: input {name} is {list(declared)} (-1 is any), not {list(shape)}"
            )
    least, usual, largest = span
    ordered = all(a <= b <= c for a, b, c in zip(least, usual, largest, strict=True))
    if not ordered:
        raise BuildRefused(
            f"{subject}: input {name}: {list(least)}, {list(usual)}, {list(largest)} do not grow; "
            f"give the least, the usual and the largest shape in this order"
        )
