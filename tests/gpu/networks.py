"""The ONNX models of these tests: matrix products of any size, and a hungry image net."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from dense_engine import BLOCK_BYTES, WIDTH, bias_of
from onnx import TensorProto, helper, numpy_helper

MATRICES = 4
CHANNELS = (64, 64, 128, 256, 512, 512, 512)
STRIDES = (1, 1, 2, 2, 2, 2, 2)
SIDE = 1024


def write_weights(folder: Path) -> Path:
    """Four random matrices of 256 MiB, as `weights.npy` and, for ONNX, as `weights.bin`."""
    generator = np.random.default_rng(7)
    weights = generator.random((MATRICES, WIDTH, WIDTH), dtype=np.float32)
    weights -= 0.5
    weights *= np.sqrt(12 / WIDTH)  # a standard deviation of 1/sqrt(WIDTH) keeps outputs near 1
    np.save(folder / "weights.npy", weights)
    weights.tofile(folder / "weights.bin")
    return folder / "weights.npy"


def matrix_net(folder: Path, name: str, blocks: int, seed: int) -> Path:
    """`x = tanh(x w + b)`, `blocks` times, on rows of 8192; its weights are in `weights.bin`."""
    nodes, weights = [], []
    for block in range(blocks):
        weights += [_external(f"w{block}", (seed + block) % MATRICES)]
        weights += [numpy_helper.from_array(bias_of(block, seed), f"b{block}")]
        nodes += [
            helper.make_node("MatMul", [f"x{block}", f"w{block}"], [f"p{block}"]),
            helper.make_node("Add", [f"p{block}", f"b{block}"], [f"s{block}"]),
            helper.make_node("Tanh", [f"s{block}"], [f"x{block + 1}"]),
        ]
    shape = ["n", WIDTH]
    return _save(folder / f"{name}.onnx", nodes, ("x0", shape), (f"x{blocks}", shape), weights)


def _external(name: str, matrix: int) -> Any:
    tensor = onnx.TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[WIDTH, WIDTH])
    tensor.data_location = TensorProto.EXTERNAL
    places = {"location": "weights.bin", "offset": matrix * BLOCK_BYTES, "length": BLOCK_BYTES}
    for key, value in places.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def image_net(folder: Path, name: str, seed: int) -> Path:
    """A net of 25 MiB whose first layers keep 64 channels of a large image, whatever its side."""
    generator = np.random.default_rng(seed)
    nodes, weights, before = [], [], 3
    for layer, (channels, stride) in enumerate(zip(CHANNELS, STRIDES, strict=True)):
        scale = np.sqrt(2 / (before * 9))
        kernel = generator.standard_normal((channels, before, 3, 3), dtype=np.float32) * scale
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"k{layer}"))
        settings = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [stride, stride]}
        nodes += [
            helper.make_node("Conv", [f"x{layer}", f"k{layer}"], [f"c{layer}"], **settings),
            helper.make_node("Relu", [f"c{layer}"], [f"x{layer + 1}"]),
        ]
        before = channels
    last = len(CHANNELS)
    nodes += [
        helper.make_node("GlobalAveragePool", [f"x{last}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["y"]),
    ]
    image = ["n", 3, "h", "w"]
    return _save(folder / f"{name}.onnx", nodes, ("x0", image), ("y", ["n", before]), weights)


def image(seed: int, side: int = SIDE) -> Any:
    """One random image, 1x3xSIDExSIDE."""
    return np.random.default_rng(seed).standard_normal((1, 3, side, side), dtype=np.float32)


def vector(seed: int) -> Any:
    """One random row of 8192."""
    return np.random.default_rng(seed).standard_normal(WIDTH, dtype=np.float32)


def _save(path: Path, nodes: Any, source: Any, target: Any, weights: Any) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(source[0], TensorProto.FLOAT, source[1])],
        [helper.make_tensor_value_info(target[0], TensorProto.FLOAT, target[1])],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    )
    return path
