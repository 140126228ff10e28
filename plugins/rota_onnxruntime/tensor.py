"""A model's input or output, and the check of what is sent for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scheduler.errors import BadInput, EngineError

Array = NDArray[Any]

DTYPES: Final[Mapping[str, Any]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
"""onnxruntime's names of element types, with numpy's; the rest have no numpy type."""

_EXAMPLE_SIDE: Final = 224
"""Height and width of an example image: a multiple of 32, the stride of most vision networks."""

_EXAMPLE_LENGTH: Final = 16


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output: its name, numpy dtype and shape. A dynamic dimension is None.

    An empty `shape` means a scalar or a model that does not say: any rank is let through.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]

    @classmethod
    def read(cls, node: Any, model: str) -> TensorSpec:
        """Read onnxruntime's `NodeArg`.

        Raises:
            EngineError: it is no tensor, or of a type numpy does not have.
        """
        dtype = DTYPES.get(node.type)
        if dtype is None:
            raise EngineError(
                f"{model}: {node.name} is {node.type}; only tensors of numpy's types are taken"
            )
        shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in node.shape)
        return cls(node.name, np.dtype(dtype), shape)

    @property
    def rows(self) -> int | None:
        """The first dimension, which batches are stacked along."""
        return self.shape[0] if self.shape else None

    def check(self, value: Any, *, whole: bool = True) -> Array:
        """Return `value` if it is what this input takes; with `whole` off any number of rows.

        Raises:
            BadInput: it is no array, or of another dtype, rank or shape.
        """
        if not isinstance(value, np.ndarray):
            raise BadInput(
                f"input {self.name} is {type(value).__name__}; send a numpy array of {self}"
            )
        if not self._takes_dtype(value) or not self._takes_shape(value.shape, whole=whole):
            raise BadInput(
                f"input {self.name} is {value.dtype}{list(value.shape)}; the model takes {self}"
            )
        return value

    def _takes_dtype(self, value: Array) -> bool:
        if self.dtype == np.object_:
            return value.dtype.kind == "U" or (
                value.dtype == np.object_ and all(isinstance(item, str) for item in value.flat)
            )
        return value.dtype == self.dtype

    def _takes_shape(self, shape: Sequence[int], *, whole: bool) -> bool:
        if not self.shape:
            return True
        skipped = 0 if whole else 1
        return len(shape) == len(self.shape) and all(
            wanted in (None, size)
            for size, wanted in zip(shape[skipped:], self.shape[skipped:], strict=True)
        )

    def example(self) -> Array:
        """Make a valid value: ones, with one row, images of 224 pixels, other lengths of 16."""
        side = _EXAMPLE_SIDE if len(self.shape) == len("NCHW") else _EXAMPLE_LENGTH
        free = [1, *[side] * (len(self.shape) - 1)]
        sizes = [
            size if wanted is None else wanted
            for size, wanted in zip(free[: len(self.shape)], self.shape, strict=True)
        ]
        if self.dtype == np.object_:
            return np.full(sizes, "a", dtype=np.object_)
        return np.ones(sizes, dtype=self.dtype)

    def __str__(self) -> str:
        sizes = ", ".join("any" if size is None else str(size) for size in self.shape)
        return f"{'string' if self.dtype == np.object_ else self.dtype}[{sizes}]"


def read_payload(
    payload: Any, inputs: Sequence[TensorSpec], *, whole: bool = True
) -> dict[str, Array]:
    """Turn a payload (an array, or a mapping of names to arrays) into checked inputs.

    Raises:
        BadInput: names, dtypes or shapes are not the model's; the sentence says what is.
    """
    names = [spec.name for spec in inputs]
    if not isinstance(payload, Mapping):
        if len(inputs) != 1:
            raise BadInput(
                f"the payload is {type(payload).__name__}, but the model takes {len(inputs)} "
                f"inputs; send a mapping of the names {', '.join(names)} to arrays"
            )
        payload = {names[0]: payload}
    missing = [name for name in names if name not in payload]
    unknown = [str(name) for name in payload if name not in names]
    if missing or unknown:
        raise BadInput(
            f"inputs missing: {', '.join(missing) or 'none'}; "
            f"unknown: {', '.join(unknown) or 'none'}; the model takes {', '.join(names)}"
        )
    return {spec.name: spec.check(payload[spec.name], whole=whole) for spec in inputs}
