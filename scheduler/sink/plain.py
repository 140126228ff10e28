"""Results as strict JSON values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
from pydantic import BaseModel

LIST_ELEMENTS = 1024
"""Arrays, lists and mappings with more elements than this are told by their shape."""

TEXT_CHARACTERS = 65536

DEPTH = 16
"""Deeper nesting (or a circle) is told by its type."""

_SAFE_INT = 2**63


class Plain:
    """Turns any result into what strict JSON can say, and remembers what it had to change.

    Mapping: nan and infinities → null, `non_finite` then true; numpy scalars → numbers, arrays up
    to 1024 elements → nested lists, larger ones → {"dtype", "shape"}; longer lists → {"type",
    "length"}; bytes → {"type": "bytes", "length"}; integers beyond 64 bits → text; dataclasses,
    pydantic models and mappings → objects with text keys; sets and tuples → lists; enums → their
    value; anything else → its repr. Never raises.
    """

    def __init__(self) -> None:
        self.non_finite = False

    def value(self, value: Any, depth: int = DEPTH) -> Any:
        """`value` as dict, list, str, int, finite float, bool or None."""
        if depth == 0:
            return {"type": type(value).__name__}
        if isinstance(value, Enum):
            return self.value(value.value, depth - 1)
        if isinstance(value, (np.ndarray, np.generic)):
            return self._array(np.asarray(value))
        fields = _fields(value)
        if fields is not None:
            return self._mapping(fields, depth)
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._list(value, depth)
        return self._scalar(value)

    def _scalar(self, value: Any) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value) if -_SAFE_INT <= value < _SAFE_INT else hex(value)
        if isinstance(value, float):
            return self._finite(float(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return {"type": "bytes", "length": len(value)}
        return _text(value)

    def _finite(self, value: float) -> float | None:
        if math.isfinite(value):
            return value
        self.non_finite = True
        return None

    def _array(self, array: np.ndarray[Any, Any]) -> Any:
        if array.size > LIST_ELEMENTS or array.dtype.kind not in "biufU":
            return {"dtype": str(array.dtype), "shape": list(array.shape)}
        return self._nested(array.tolist())

    def _nested(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._nested(item) for item in value]
        return self._scalar(value)

    def _mapping(self, fields: Mapping[Any, Any], depth: int) -> Any:
        if len(fields) > LIST_ELEMENTS:
            return {"type": type(fields).__name__, "length": len(fields)}
        return {_text(key): self.value(item, depth - 1) for key, item in fields.items()}

    def _list(self, items: Any, depth: int) -> Any:
        if len(items) > LIST_ELEMENTS:
            return {"type": type(items).__name__, "length": len(items)}
        return [self.value(item, depth - 1) for item in items]


def _fields(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, BaseModel):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    return None


def _text(value: Any) -> str:
    """Text that fits and can be encoded; the type's name where even repr fails."""
    try:
        text = str(value) if isinstance(value, str) else repr(value)
    except Exception:  # noqa: BLE001 - a result is never lost because it cannot be shown
        text = f"<{type(value).__name__}>"
    return text[:TEXT_CHARACTERS]
