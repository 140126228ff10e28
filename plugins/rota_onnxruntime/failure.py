"""What onnxruntime's errors mean in Rota's terms."""

from __future__ import annotations

import re

from scheduler.errors import BadInput, DeviceLost, EngineError, EngineOutOfMemory

_OUT_OF_MEMORY = (
    "failed to allocate memory",
    "bad allocation",
    "bad_alloc",
    "out of memory",
    "alloc_failed",
    "allocation_failed",
    "smaller than requested bytes",
    "cannot allocate memory",
)
"""Found in what the CPU and CUDA allocators, cuBLAS and cuDNN say; onnxruntime has no code."""

_CUDA_FAILURE = re.compile(r"cuda failure (\d+)")
_STICKY = frozenset(
    {"214", "220", "700", "702", "709", "710", "714", "715", "716", "717", "718", "719"}
)
"""`cudaError` values after which "the process must be terminated and relaunched", as the CUDA
runtime's documentation says of each."""

_LOAD_REMEDIES = {
    "InvalidProtobuf": "it is no whole ONNX file; copy it again",
    "InvalidArgument": "it is no whole ONNX file; copy it again",
    "InvalidGraph": "its graph is not valid; export the model again",
    "NoSuchFile": "a file is missing; keep a model's external data beside it",
    "NotImplemented": "it has an operator this provider lacks; update onnxruntime or "
    "export the model for an older opset",
}
"""By the exception's name, since every one derives from `Exception` alone."""


def load_failure(subject: str, error: Exception) -> EngineError:
    """Make the error of a session that could not be made; `subject` names the model."""
    if _is_device_lost(error):
        return _device_lost(subject, error)
    if _is_out_of_memory(error):
        return EngineOutOfMemory(f"{subject}: not enough memory to load it: {_text(error)}")
    remedy = _LOAD_REMEDIES.get(type(error).__name__, "onnxruntime cannot load it")
    return EngineError(f"{subject}: {remedy}: {_text(error)}")


def run_failure(subject: str, error: Exception) -> EngineError:
    """Make the error of a run; `subject` names the model."""
    if _is_device_lost(error):
        return _device_lost(subject, error)
    if _is_out_of_memory(error):
        return EngineOutOfMemory(f"{subject}: not enough memory to run it: {_text(error)}")
    if type(error).__name__ == "InvalidArgument":
        return BadInput(f"{subject} does not take this input: {_text(error)}")
    return EngineError(f"{subject} failed to run: {_text(error)}")


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY)


def _is_device_lost(error: Exception) -> bool:
    failure = _CUDA_FAILURE.search(str(error).lower())
    return failure is not None and failure[1] in _STICKY


def _device_lost(subject: str, error: Exception) -> DeviceLost:
    return DeviceLost(
        f"{subject}: its GPU fails for this whole process; start the process again: {_text(error)}"
    )


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
