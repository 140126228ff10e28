"""The options of the engine `tensorrt`."""

from pydantic import model_validator

from rota_tensorrt.activation import Activation
from scheduler.config.resource import ResourcePath
from scheduler.config.units import SizeOrNone
from scheduler.plugin.engine import EngineOptions


class TensorRtOptions(EngineOptions):
    """A plan, and how it is held and run.

    `activation` says where the memory that layers work in comes from: `held`, `run` or `shared`.
    `graph` replays a run of unchanged shapes as one CUDA graph. `finite` makes a NaN or infinity in
    an output an error. `weights_budget` leaves the rest of the weights in host memory, of a plan
    that was built with weight streaming. `version_compatible` says that the plan was built to be
    read by later versions (`trtexec --versionCompatible`).
    """

    plan: ResourcePath
    activation: Activation = Activation.HELD
    graph: bool = False
    finite: bool = False
    weights_budget: SizeOrNone = None
    version_compatible: bool = False

    @model_validator(mode="after")
    def _agree(self) -> "TensorRtOptions":
        if self.graph and self.activation is not Activation.HELD:
            raise ValueError(
                f"a graph needs memory that stays where it is, and activation is "
                f"{self.activation.value}; write activation: held, or graph: false"
            )
        return self
