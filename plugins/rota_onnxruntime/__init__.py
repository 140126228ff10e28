"""Engines that run on onnxruntime."""

from rota_onnxruntime.engine import OnnxRuntimeEngine
from rota_onnxruntime.options import Arena, OnnxOptions, Optimization, Weights
from rota_onnxruntime.session import OnnxSession
from rota_onnxruntime.tensor import TensorSpec

__all__ = [
    "Arena",
    "OnnxOptions",
    "OnnxRuntimeEngine",
    "OnnxSession",
    "Optimization",
    "TensorSpec",
    "Weights",
]
