"""A model in the form that is mapped into memory instead of being read and rewritten.

onnxruntime optimises the graph once and writes it down with its weights in a file of their own.
Loaded with optimisation and packing off, that file is mapped: nothing is copied, so a load takes
milliseconds and has no peak, and the pages come in when the first run touches them.
"""

from __future__ import annotations

import platform
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rota_onnxruntime.derived import derived
from rota_onnxruntime.failure import load_failure

if TYPE_CHECKING:
    from collections.abc import Callable

_GRAPH: Final = "model.onnx"
_WEIGHTS: Final = "weights.bin"
_SMALLEST_BYTES: Final = 1024
"""Smaller tensors stay inside the graph: they are not worth a mapping of their own."""


def mapped_model(model: Path, recipe: str, session_options: Callable[[], Any]) -> Path:
    """Return the mapped form of `model`, made now unless it is in the cache.

    `session_options` makes onnxruntime's `SessionOptions` at the wanted optimisation level, and
    `recipe` names that level. The result depends on the processor, which is part of its key.

    Raises:
        EngineError: the model cannot be read or the form cannot be made.
    """
    build = partial(_write, model, session_options)
    return derived(model, f"mapped {recipe} {_processor()}", build) / _GRAPH


def _write(model: Path, session_options: Callable[[], Any], folder: Path) -> None:
    import onnxruntime  # noqa: PLC0415 - heavy, and only needed once

    options = session_options()
    options.optimized_model_filepath = str(folder / _GRAPH)
    for key, value in {
        "session.optimized_model_external_initializers_file_name": _WEIGHTS,
        "session.optimized_model_external_initializers_min_size_in_bytes": str(_SMALLEST_BYTES),
    }.items():
        options.add_session_config_entry(key, value)
    try:
        onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise load_failure(str(model), error) from error


def _processor() -> str:
    """Name the processor's kind and abilities: the full optimisation lays weights out for them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    abilities = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return f"{platform.machine()} {abilities}"
