"""The engine `tensorrt`: plans of TensorRT and TensorRT-RTX."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

from rota_onnxruntime.batch import run_alone, run_stacked
from rota_onnxruntime.tensor import Array, TensorSpec, read_payload
from rota_tensorrt.device import Device, check_not_lost, device_number
from rota_tensorrt.driver import Driver, load_driver, stream_priority
from rota_tensorrt.execution import Execution
from rota_tensorrt.failure import without_frames
from rota_tensorrt.header import PlanHeader, read_header
from rota_tensorrt.library import Library
from rota_tensorrt.options import TensorRtOptions
from rota_tensorrt.plan import Plan, explain, open_library
from scheduler.errors import BadInput, EngineError
from scheduler.plugin.capture import CAPTURE_GATE
from scheduler.plugin.engine import EngineContext, EnginePlugin


class TensorRtEngine(EnginePlugin):
    """Runs a plan that TensorRT or TensorRT-RTX has built.

    A payload is a numpy array (a plan of one input) or a mapping of input names to arrays, of the
    plan's own dtypes and shapes; a result is a dict of output names to arrays. The requests of a
    batch are stacked along the first dimension where the plan's profiles take as many rows;
    otherwise, they run one by one.

    `measure` counts the weights, the working memory that is held, and the staging blocks. What the
    process pays once is the pool's `overhead`: the GPU's context (about half a GiB on an H100) and,
    where memory is unified, the library itself (TensorRT-RTX: 102 MiB when it is imported).
    """

    Options: ClassVar[type[TensorRtOptions]] = TensorRtOptions

    def __init__(self, options: TensorRtOptions, context: EngineContext) -> None:
        super().__init__(options, context)
        self._undo = ExitStack()
        self._device: Device | None = None
        self._execution: Execution | None = None
        self._weights_bytes = 0

    def load(self) -> None:
        """Check the plan, open the GPU, bring the plan into its memory."""
        options, subject = self.options, self.context.model
        if options.weights_budget is not None and not self.context.device.startswith("cuda"):
            raise EngineError(
                f"{subject}: weights_budget leaves weights in the host's memory, and that is the "
                f"GPU's too ({self.context.device}); leave it out"
            )
        header = read_header(options.plan)
        module = open_library(options.plan, header, version_compatible=options.version_compatible)
        number = device_number(self.context.device)
        driver = Driver(subject, load_driver())
        device = self._device = Device(subject, number)
        self._undo.callback(device.release)
        # Loading and freeing wait for the whole device, which breaks another engine's capture.
        with CAPTURE_GATE.wait_for_device(), device.current(), ExitStack() as undo:
            undo.callback(device.free_pools)
            try:
                self._bring_in(device, driver, header, module, undo)
            except BaseException as error:
                without_frames(error)
                raise
            self._undo.callback(_close, device, undo.pop_all())

    def _bring_in(
        self,
        device: Device,
        driver: Driver,
        header: PlanHeader,
        module: Library,
        undo: ExitStack,
    ) -> None:
        options = self.options
        try:
            plan = Plan(options.plan, header, module, version_compatible=options.version_compatible)
        except EngineError as error:
            said = explain(error, header, device.capability, device.name)
            if said is error:
                raise
            raise said from error
        undo.callback(plan.close)
        self._weights_bytes = plan.weights_bytes
        if options.weights_budget is not None:
            self._weights_bytes = plan.limit_weights(options.weights_budget)
        priority = stream_priority(self.context.priority, *driver.priority_range())
        self._execution = Execution(plan, device, driver, options, priority)
        undo.callback(self._execution.close)

    def warm_up(self) -> None:
        """Run the example once: TensorRT loads kernels, and takes staging, with the first run."""
        self.infer([self.example()])

    def infer(self, batch: Sequence[Any]) -> Sequence[Any]:
        """Run a batch; a payload that the plan does not take has a `BadInput` for its result."""
        device, execution = self._loaded()
        check_not_lost(self.context.model, device.number)
        checked = [_checked(payload, execution.inputs) for payload in batch]
        good = [payload for payload in checked if not isinstance(payload, BadInput)]
        with device.current():
            answers = iter(run_stacked(execution, good) or run_alone(execution, good))
        return [bad if isinstance(bad, BadInput) else next(answers) for bad in checked]

    def example(self) -> dict[str, Any]:
        """Make ones of the shapes that the plan was built to be fastest with."""
        return self._loaded()[1].example()

    def measure(self) -> Mapping[str, int]:
        """What it holds between runs, in the pool of its GPU."""
        execution = self._execution
        if execution is None:
            return {}
        held_bytes = self._weights_bytes + execution.held_bytes
        if self.context.device == "unified":
            held_bytes += execution.pinned_bytes
        return {self.context.device: held_bytes}

    def unload(self) -> None:
        """Let go of everything, in the reverse order. A part of it that fails leaves no other."""
        self._execution = self._device = None
        self._undo.close()

    def _loaded(self) -> tuple[Device, Execution]:
        if self._device is None or self._execution is None:
            raise EngineError(f"{self.context.model} is not loaded; call load first")
        return self._device, self._execution


def _close(device: Device, undo: ExitStack) -> None:
    with CAPTURE_GATE.wait_for_device(), device.current():
        undo.close()


def _checked(payload: Any, inputs: Sequence[TensorSpec]) -> dict[str, Array] | BadInput:
    try:
        return read_payload(payload, inputs, whole=False)
    except BadInput as error:
        return error
