"""The engine `onnxruntime`: any ONNX model."""

from collections.abc import Sequence
from typing import Any, ClassVar

from rota_onnxruntime.batch import run_alone, run_stacked
from rota_onnxruntime.options import OnnxOptions
from rota_onnxruntime.session import OnnxSession
from rota_onnxruntime.tensor import Array, TensorSpec, read_payload
from scheduler.config.resource import ResourcePath
from scheduler.errors import BadInput, EngineError
from scheduler.plugin.engine import EnginePlugin


class OnnxRuntimeOptions(OnnxOptions):
    """The options of the engine `onnxruntime`: a model, and how it is loaded and run.

    `warm_up` runs the example once as part of loading, which then needs the memory of a run too. By
    default that is done where first runs are slow, on a GPU, if what is booked for a load covers it
    (`load_peak` is at least `resident` and `workspace` together).
    """

    model: ResourcePath
    warm_up: bool | None = None


class OnnxRuntimeEngine(EnginePlugin):
    """Runs an ONNX model.

    A payload is a numpy array (a model of one input) or a mapping of input names to arrays, of the
    model's own dtypes and shapes; a result is a dict of output names to arrays.

    The requests of a batch are stacked along the first dimension where every input's is dynamic (or
    is as many as there are rows) and every output has a row for each; otherwise, they run one by
    one. Leave `batch.max` at 1 for a model whose first dimension is dynamic but no batch.
    """

    Options: ClassVar[type[OnnxRuntimeOptions]] = OnnxRuntimeOptions
    LIBRARIES = ("onnxruntime",)
    _session: OnnxSession | None = None

    def load(self) -> None:
        """Make the session."""
        self._session = OnnxSession(self.options.model, self.options, self.context)

    def warm_up(self) -> None:
        """Run the example once, where the options ask for it or the books allow for it."""
        asked = self.options.warm_up
        if self._has_room_to_warm_up() if asked is None else asked:
            self._loaded().run(self.example())

    def _has_room_to_warm_up(self) -> bool:
        footprint = self.context.footprint
        if footprint is None or not self._loaded().is_on_device:
            return False
        return footprint.loading_bytes >= footprint.resident_bytes + footprint.running_bytes(1)

    def infer(self, batch: Sequence[Any]) -> Sequence[Any]:
        """Run a batch; a payload that the model does not take has a `BadInput` for its result."""
        session = self._loaded()
        if len(batch) == 1:
            return run_alone(session, batch)
        checked = [_checked(payload, session.inputs) for payload in batch]
        good = [payload for payload in checked if not isinstance(payload, BadInput)]
        answers = iter(run_stacked(session, good) or run_alone(session, good))
        return [bad if isinstance(bad, BadInput) else next(answers) for bad in checked]

    def example(self) -> dict[str, Any]:
        """Make ones of the model's shapes: one row, images of 224 pixels, other lengths of 16."""
        return {spec.name: spec.example() for spec in self._loaded().inputs}

    def cancel(self) -> None:
        """End the run that is under way at its next operator."""
        session = self._session
        if session is not None:
            session.cancel()

    def unload(self) -> None:
        """Let go of the session."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _loaded(self) -> OnnxSession:
        if self._session is None:
            raise EngineError(f"{self.context.model} is not loaded; call load first")
        return self._session


def _checked(payload: Any, inputs: Sequence[TensorSpec]) -> dict[str, Array] | BadInput:
    try:
        return read_payload(payload, inputs, whole=False)
    except BadInput as error:
        return error
