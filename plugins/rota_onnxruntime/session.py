"""One onnxruntime session: made from a file, run, and let go of."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rota_onnxruntime.failure import load_failure, run_failure
from rota_onnxruntime.mapped import mapped_model
from rota_onnxruntime.options import CPU, Arena, OnnxOptions, Optimization, Weights
from rota_onnxruntime.provider import (
    available_providers,
    device_number,
    provider_settings,
    refusal,
    start_failure,
    takes_device,
    wanted_providers,
)
from rota_onnxruntime.tensor import Array, TensorSpec
from scheduler.errors import EngineError
from scheduler.plugin.capture import CAPTURE_GATE
from scheduler.plugin.engine import EngineContext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_FATAL: Final = 4
"""onnxruntime's log level: everything that matters comes as an exception too."""

_SHRINK: Final = "memory.enable_memory_arena_shrinkage"


class OnnxSession:
    """A loaded model. Not thread-safe but for `cancel`; making it imports onnxruntime.

    `inputs` and `outputs` describe its tensors; `providers` are those that onnxruntime took.

    Args:
        model: the file, `.onnx` or `.ort`.
        options: how it is loaded and run.
        context: the pool that it is placed in (the number in `cuda:1` picks the GPU), and what is
            booked for it there.

    Raises:
        EngineError: there is no such file, it is not a model, or a provider is not to be had.
        EngineOutOfMemory: there is not enough memory for it.
    """

    def __init__(
        self, model: Path, options: OnnxOptions, context: EngineContext | None = None
    ) -> None:
        if not model.is_file():
            raise EngineError(f"{model}: there is no such file; give the path of a model")
        self.model = model
        self._options = options
        self._context = context or EngineContext()
        self._wanted = wanted_providers(options, self._context)
        self._running: Any = None
        self.native: Any = self._open()
        """onnxruntime's own `InferenceSession`, for libraries that take one."""
        self.providers: tuple[str, ...] = tuple(self.native.get_providers())
        self._check_started()
        name = model.name
        self.inputs = tuple(TensorSpec.read(node, name) for node in self.native.get_inputs())
        self.outputs = tuple(TensorSpec.read(node, name) for node in self.native.get_outputs())

    @property
    def is_on_device(self) -> bool:
        """Whether it runs on a GPU."""
        return takes_device(self.providers)

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None, items: int = 1
    ) -> dict[str, Array]:
        """Run once and return the named outputs, or all. Each array owns its memory.

        `items` is how many of a batch's places the inputs take.

        Raises:
            BadInput: onnxruntime does not take these inputs.
            EngineOutOfMemory: the run found no memory.
            EngineError: the run failed otherwise, or was cancelled.
        """
        names = list(outputs) if outputs is not None else [spec.name for spec in self.outputs]
        options = self._running = self._run_options(items)
        try:
            values = self.native.run(names, dict(inputs), options)
        except Exception as error:
            error.__traceback__ = None  # its frames hold the native session for as long as it lives
            raise run_failure(self.model.name, error) from error
        finally:
            self._running = None
        return {name: owned(value) for name, value in zip(names, values, strict=True)}

    def cancel(self) -> None:
        """End the run that is under way at its next operator. Called from any thread."""
        running = self._running
        if running is not None:
            running.terminate = True

    def close(self) -> None:
        """Let go of the model. Called twice, it does nothing."""
        with self._at_the_gate():
            self.native = None

    def _at_the_gate(self) -> AbstractContextManager[None]:
        """On a GPU, hold off CUDA graphs: sessions wait for the device as they come and go."""
        return CAPTURE_GATE.wait_for_device() if takes_device(self._wanted) else nullcontext()

    def _open(self) -> Any:
        import onnxruntime  # noqa: PLC0415 - heavy: imported when a model is loaded

        options, providers = self._session_options(), self._providers()
        model = self.model
        if self._options.weights is Weights.MAPPED:
            make_options = partial(self._session_options, mapped=False)
            model = mapped_model(model, self._options.optimization.value, make_options)
        try:
            with self._at_the_gate():
                return onnxruntime.InferenceSession(
                    str(model), options, providers=providers, enable_fallback=0
                )
        except Exception as error:
            error.__traceback__ = None  # its frames hold the half-made session
            raise load_failure(str(self.model), error) from error

    def _session_options(self, *, mapped: bool | None = None) -> Any:
        from onnxruntime import GraphOptimizationLevel, SessionOptions  # noqa: PLC0415

        levels = {
            Optimization.OFF: GraphOptimizationLevel.ORT_DISABLE_ALL,
            Optimization.BASIC: GraphOptimizationLevel.ORT_ENABLE_BASIC,
            Optimization.EXTENDED: GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
            Optimization.ALL: GraphOptimizationLevel.ORT_ENABLE_ALL,
        }
        if mapped is None:
            mapped = self._options.weights is Weights.MAPPED
        options = SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = self._options.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = self._options.arena is not Arena.OFF
        options.graph_optimization_level = levels[
            Optimization.OFF if mapped else self._options.optimization
        ]
        if mapped:
            options.add_session_config_entry("session.disable_prepacking", "1")
        return options

    def _run_options(self, items: int) -> Any:
        from onnxruntime import RunOptions  # noqa: PLC0415

        options = RunOptions()
        options.log_severity_level = _FATAL
        if self._options.arena is Arena.SHRINK or self._is_lent_more(items):
            options.add_run_config_entry(_SHRINK, self._arenas())
        return options

    def _is_lent_more(self, items: int) -> bool:
        """Whether a run on a GPU is booked bytes on top of the resident ones, to be given back."""
        footprint = self._context.footprint
        return self.is_on_device and footprint is not None and footprint.running_bytes(items) > 0

    def _arenas(self) -> str:
        number = device_number(self._context.device)
        return f"cpu:0;gpu:{number}" if self.is_on_device else "cpu:0"

    def _providers(self) -> list[tuple[str, dict[str, str]]]:
        available = available_providers(self._wanted)
        wanted = [name for name in self._wanted if name in available]
        if len(wanted) < len(self._wanted) and not self._options.allow_fallback:
            raise refusal(str(self.model), self._wanted, available)
        return [
            (name, provider_settings(name, self._options, self._context))
            for name in wanted or [CPU]
        ]

    def _check_started(self) -> None:
        if self._options.allow_fallback or set(self._wanted) <= set(self.providers):
            return
        self.close()
        raise start_failure(str(self.model), self._wanted, self.providers)


def owned(value: Any) -> Any:
    """Copy an array that is a view: what onnxruntime returns keeps the session's arena alive."""
    if isinstance(value, np.ndarray) and not value.flags.owndata:
        return value.copy()
    return value
