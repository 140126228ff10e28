"""The inputs and outputs of a plan, and the shapes that its optimisation profiles take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np

from rota_onnxruntime.tensor import TensorSpec
from scheduler.errors import BadInput, EngineError

Shape = tuple[int, ...]

DTYPES: Final[Mapping[str, Any]] = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}
"""TensorRT's names of element types, with numpy's; the rest (BF16, FP8, INT4) have none."""


@dataclass(frozen=True, slots=True)
class Range:
    """The shapes of one input that one optimisation profile takes."""

    least: Shape
    best: Shape
    most: Shape

    def takes(self, shape: Shape) -> bool:
        """Whether `shape` is within it, both ends included."""
        return len(shape) == len(self.least) and all(
            low <= size <= high
            for low, size, high in zip(self.least, shape, self.most, strict=True)
        )

    def __str__(self) -> str:
        return f"{list(self.least)} to {list(self.most)}"


@dataclass(frozen=True, slots=True)
class Binding:
    """One input or output of a plan. A dynamic dimension is -1.

    `ranges` has, for an input, what each optimisation profile takes. `on_host` says that the plan
    reads or writes it in host memory: a shape, not data.
    """

    name: str
    dtype: np.dtype[Any]
    shape: Shape
    is_input: bool
    ranges: tuple[Range, ...] = ()
    on_host: bool = False

    @property
    def spec(self) -> TensorSpec:
        """What a payload for it must be."""
        return TensorSpec(
            self.name, self.dtype, tuple(None if size < 0 else size for size in self.shape)
        )

    def size_bytes(self, shape: Shape) -> int:
        """Return the bytes of it at `shape`.

        Raises:
            EngineError: a dimension is negative: the shape is not known yet.
        """
        if any(size < 0 for size in shape):
            raise EngineError(
                f"{self.name} has the shape {list(shape)}, which is not known before it has run; "
                f"build the plan with a shape that is"
            )
        return prod(shape) * self.dtype.itemsize

    @property
    def best_shape(self) -> Shape:
        """The shape that the first profile is fastest with; 1 for a dimension nobody has set."""
        if self.ranges:
            return self.ranges[0].best
        return tuple(max(1, size) for size in self.shape)


def numpy_dtype(subject: str, tensor: str, name: str) -> np.dtype[Any]:
    """Return numpy's dtype for TensorRT's `name`, as `HALF`.

    Raises:
        EngineError: numpy has none.
    """
    if name not in DTYPES:
        raise EngineError(
            f"{subject}: {tensor} is {name}, which numpy does not have; "
            f"build the plan with inputs and outputs of float32 or float16"
        )
    dtype: np.dtype[Any] = np.dtype(DTYPES[name])
    return dtype


def shape_of(dims: Any) -> Shape:
    """Return TensorRT's `Dims` as a tuple."""
    return tuple(int(size) for size in dims)


def choose_profile(bindings: Sequence[Binding], shapes: Mapping[str, Shape], current: int) -> int:
    """Return the optimisation profile that takes all `shapes`: `current` if it does, or the first.

    Raises:
        BadInput: none does; the sentence has the input and the shapes that are taken.
    """
    inputs = [binding for binding in bindings if binding.is_input and binding.ranges]
    if not inputs:
        return current
    count = len(inputs[0].ranges)
    profiles: list[int] = [current, *range(count)]
    for profile in profiles:
        if all(binding.ranges[profile].takes(shapes[binding.name]) for binding in inputs):
            return profile
    raise BadInput(_why_not(inputs, shapes))


def _why_not(inputs: Sequence[Binding], shapes: Mapping[str, Shape]) -> str:
    for binding in inputs:
        shape = shapes[binding.name]
        if not any(span.takes(shape) for span in binding.ranges):
            spans = " or ".join(str(span) for span in binding.ranges)
            return f"input {binding.name} is {list(shape)}; the plan takes {spans}"
    named = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
    return f"no one profile of the plan takes {named} together"
