"""Engines that run plans of TensorRT, and the builder of such plans."""

from rota_tensorrt.activation import Activation
from rota_tensorrt.engine import TensorRtEngine
from rota_tensorrt.failure import CorruptPlan, ForeignPlan, NoDevice, NotFinite, PlanError
from rota_tensorrt.header import PlanHeader, read_header
from rota_tensorrt.options import TensorRtOptions

__all__ = [
    "Activation",
    "CorruptPlan",
    "ForeignPlan",
    "NoDevice",
    "NotFinite",
    "PlanError",
    "PlanHeader",
    "TensorRtEngine",
    "TensorRtOptions",
    "read_header",
]
