"""One run of a plan: shapes, copies, working memory, the stream, and the answer."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from rota_tensorrt.activation import Activation, WorkingMemory, shared_block
from rota_tensorrt.binding import Binding, Shape, choose_profile
from rota_tensorrt.failure import NotFinite, classify, without_frames
from rota_tensorrt.graph import Graph
from rota_tensorrt.output import make_output
from rota_tensorrt.staging import Layout, Staging
from scheduler.errors import BadInput, EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rota_onnxruntime.tensor import Array, TensorSpec
    from rota_tensorrt.device import Device
    from rota_tensorrt.driver import Driver
    from rota_tensorrt.options import TensorRtOptions
    from rota_tensorrt.plan import Plan


class Execution:
    """An execution context with all that it needs to run, for one engine's thread.

    It holds a stream, staging blocks and working memory, and lets go of them in `close`, in the
    reverse order; so does a construction that fails half-way. With the context current throughout.
    """

    def __init__(
        self, plan: Plan, device: Device, driver: Driver, options: TensorRtOptions, priority: int
    ) -> None:
        self._plan = plan
        self._driver = driver
        self._options = options
        self._profile = 0
        self._shapes: dict[str, Shape] = {}
        self.inputs: tuple[TensorSpec, ...] = tuple(
            binding.spec for binding in plan.bindings if binding.is_input
        )
        with ExitStack() as undo:
            self._stream = driver.make_stream(priority)
            undo.callback(driver.destroy_stream, self._stream)
            self._staging = Staging(device)
            undo.callback(self._staging.free)
            block = shared_block(device.number)
            most_bytes = plan.activation_bytes
            self._working = WorkingMemory(options.activation, driver, most_bytes, block)
            undo.callback(self._working.close)
            self._context: Any = plan.context()
            undo.callback(self._drop_context)
            self._graph = Graph(driver, self._stream) if options.graph else None
            if self._graph is not None:
                undo.callback(self._graph.drop)
            self._undo = undo.pop_all()

    @property
    def held_bytes(self) -> int:
        """Device memory that is held between runs, without the weights and a shared block."""
        return self._staging.size_bytes + self._working.held_bytes

    @property
    def pinned_bytes(self) -> int:
        """Host memory that is held between runs."""
        return self._staging.size_bytes

    def run(self, inputs: Mapping[str, Array], *, items: int = 1) -> dict[str, Array]:  # noqa: ARG002 - a plan's memory is known
        """Run once, for any number of `items`. Each output owns its memory.

        Raises:
            BadInput: no profile of the plan takes these shapes.
            NotFinite: an output has a NaN or infinity, and the options promise none.
            EngineError: the run failed; its subclasses say how.
        """
        try:
            return self._run(inputs)
        except BaseException as error:
            without_frames(error)
            self._shapes = {}
            raise

    def example(self) -> dict[str, Any]:
        """Make ones of the shapes that the plan was built to be fastest with."""
        return {
            binding.name: np.ones(binding.best_shape, binding.dtype)
            for binding in self._plan.bindings
            if binding.is_input
        }

    def close(self) -> None:
        """Let go of everything, in the reverse order. Called twice, it does nothing."""
        self._undo.close()

    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        changed = self._take_shapes({name: value.shape for name, value in inputs.items()})
        outputs = [make_output(self._plan, self._context, at) for at in self._outputs()]
        sizes = {name: value.nbytes for name, value in inputs.items()}
        sizes |= {output.name: output.room_bytes for output in outputs}
        layout = Layout.of(sizes)
        moved = self._staging.fit(layout)
        for name, value in inputs.items():
            flat = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
            self._staging.host(layout, name)[:] = flat
        if self._graph is not None and (changed or moved):
            self._graph.drop()
        for output in outputs:
            output.address = self._staging.address(layout, output.name)
        with self._working.lend(self._needed_bytes()) as (address, size_bytes):
            if changed or moved or self._options.activation is not Activation.HELD:
                self._place(layout, address, size_bytes)
            self._go(layout, [output.name for output in outputs])
        answers = {
            output.name: output.read(self._staging.host(layout, output.name)) for output in outputs
        }
        if self._options.finite:
            _check_finite(str(self._plan.path), answers)
        return answers

    def _outputs(self) -> list[Binding]:
        return [binding for binding in self._plan.bindings if not binding.is_input]

    def _take_shapes(self, shapes: dict[str, Shape]) -> bool:
        """Tell the context the shapes; True when they are others than last time."""
        if shapes == self._shapes:
            return False
        profile = choose_profile(self._plan.bindings, shapes, self._profile)
        context = self._context
        self._plan.lines.clear()
        self._shapes = {}
        if profile != self._profile:
            if not context.set_optimization_profile_async(profile, self._stream):
                raise self._failure(f"it does not take profile {profile}")
            self._driver.synchronize(self._stream)
            self._profile = profile
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise self._refused(name, shape)
        self._shapes = shapes
        return True

    def _needed_bytes(self) -> int:
        """What a run of these shapes works in; what the largest does where the library is older."""
        ask = getattr(self._context, "update_device_memory_size_for_shapes", None)
        if self._options.activation is not Activation.RUN or ask is None:
            return self._plan.activation_bytes
        return int(ask()) or self._plan.activation_bytes

    def _place(self, layout: Layout, address: int, size_bytes: int) -> None:
        """Tell the context where its tensors and its working memory are."""
        context = self._context
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(address, size_bytes)
        else:
            context.device_memory = address
        for binding in self._plan.bindings:
            where = self._staging.address(layout, binding.name)
            if binding.on_host:
                where = self._staging.host(layout, binding.name).ctypes.data
            if not context.set_tensor_address(binding.name, where):
                raise self._failure(f"it does not take an address for {binding.name}")

    def _go(self, layout: Layout, outputs: list[str]) -> None:
        if self._graph is None:
            self._enqueue(layout, outputs)
        else:
            self._graph.run(lambda: self._enqueue(layout, outputs))
        self._driver.synchronize(self._stream)

    def _enqueue(self, layout: Layout, outputs: list[str]) -> None:
        driver, staging, stream = self._driver, self._staging, self._stream
        on_host = {binding.name for binding in self._plan.bindings if binding.on_host}
        for name in self._shapes:
            if name not in on_host:
                host = staging.host(layout, name)
                driver.copy_to_device(
                    staging.address(layout, name), host.ctypes.data, host.nbytes, stream
                )
        self._plan.lines.clear()
        if not self._context.execute_async_v3(stream):
            raise self._failure("the run failed")
        for name in outputs:
            if name not in on_host:
                host = staging.host(layout, name)
                driver.copy_to_host(
                    host.ctypes.data, staging.address(layout, name), host.nbytes, stream
                )

    def _refused(self, name: str, shape: Shape) -> EngineError:
        """The error of a shape that is within the profile and refused nevertheless."""
        error = self._failure("it is refused")
        if type(error) is EngineError:
            return BadInput(f"input {name} is {list(shape)}; {error}")
        return error

    def _failure(self, otherwise: str) -> EngineError:
        return classify(str(self._plan.path), self._plan.lines.errors, otherwise)

    def _drop_context(self) -> None:
        self._context = None


def _check_finite(subject: str, answers: Mapping[str, Array]) -> None:
    for name, value in answers.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            bad = int(value.size - np.isfinite(value).sum())
            raise NotFinite(
                f"{subject}: output {name} has {bad} of {value.size} values that are NaN or "
                f"infinite; check the input's scale, or build the plan with a wider type"
            )
