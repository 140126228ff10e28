"""The room for an output, and its array afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from rota_tensorrt.binding import shape_of
from scheduler.errors import EngineError

if TYPE_CHECKING:
    import tensorrt as trt

    from rota_onnxruntime.tensor import Array
    from rota_tensorrt.binding import Binding, Shape
    from rota_tensorrt.library import Library
    from rota_tensorrt.plan import Plan


@dataclass(slots=True)
class Output:
    """An output of one run: its bytes in the staging block, and its shape.

    `shape` has negative dimensions until the run has told them, where they depend on the data.
    """

    name: str
    dtype: np.dtype[Any]
    shape: Shape
    room_bytes: int
    address: int = field(default=0)

    def read(self, content: np.ndarray[Any, np.dtype[np.uint8]]) -> Array:
        """Make its array from the bytes of the staging block: a copy, as they are used again.

        Raises:
            EngineError: the run has not told its shape.
        """
        if any(size < 0 for size in self.shape):
            raise EngineError(f"output {self.name} has no shape after the run; is it a plan's bug?")
        used_bytes = prod(self.shape) * self.dtype.itemsize
        values: Array = content[:used_bytes].view(self.dtype)
        shaped: Array = values.reshape(self.shape).copy()
        return shaped


def make_output(plan: Plan, context: Any, binding: Binding) -> Output:
    """Ask the context for an output's shape, now that those of the inputs are set.

    Where the shape depends on the data there is room for the largest, and an allocator that hears
    what it came to.

    Raises:
        EngineError: the library does not say how large it can become.
    """
    shape = shape_of(context.get_tensor_shape(binding.name))
    if all(size >= 0 for size in shape):
        return Output(binding.name, binding.dtype, shape, binding.size_bytes(shape))
    room_bytes = int(context.get_max_output_size(binding.name))
    if room_bytes <= 0:
        raise EngineError(
            f"{plan.path}: nobody knows how large {binding.name} ({list(shape)}) can become; "
            f"end the model before the layer that makes it, or pad it to a fixed size"
        )
    output = Output(binding.name, binding.dtype, shape, room_bytes)
    if not context.set_output_allocator(binding.name, make_allocator(plan.module, output)):
        raise EngineError(f"{plan.path}: no allocator can be set for {binding.name}")
    return output


def make_allocator(module: Library, output: Output) -> trt.IOutputAllocator:
    """Make the allocator that gives an output its room, and keeps the shape that it is told."""

    class Allocator(module.IOutputAllocator):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            module.IOutputAllocator.__init__(self)

        def reallocate_output(
            self, _name: str, _memory: int, size_bytes: int, _alignment: int
        ) -> int:
            return output.address if size_bytes <= output.room_bytes else 0

        def reallocate_output_async(
            self, name: str, memory: int, size_bytes: int, alignment: int, _stream: int
        ) -> int:
            return self.reallocate_output(name, memory, size_bytes, alignment)

        def notify_shape(self, _name: str, shape: Any) -> None:
            output.shape = shape_of(shape)

    made: trt.IOutputAllocator = Allocator()
    return made
