"""The options of one onnxruntime session."""

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, model_validator

from scheduler.plugin.engine import EngineOptions

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"


class Arena(str, Enum):
    """What becomes of the memory that a run took; on a GPU, `on` is what the footprint makes of it.

    There a run that is booked bytes on top of the resident ones (`workspace`, `per_item`) gives
    them back when it ends, as the books say, and others run faster.
    """

    ON = "on"
    """It stays with the engine for the next run: fastest; counts as resident after the first."""
    SHRINK = "shrink"
    """It goes back to the system after each run: resident stays low, each run faults it in anew."""
    OFF = "off"
    """No arena: malloc serves each tensor, and hoards as it likes until it is trimmed."""


class Weights(str, Enum):
    """How the weights come into memory."""

    COPIED = "copied"
    """Read, optimised and packed by each load."""
    MAPPED = "mapped"
    """Optimised once, then mapped from a file: loads in milliseconds, without a peak."""


class Optimization(str, Enum):
    """How far onnxruntime rewrites the graph (`GraphOptimizationLevel`)."""

    OFF = "off"
    BASIC = "basic"
    EXTENDED = "extended"
    ALL = "all"


def _on_or_off(value: Any) -> Any:
    """Read back what YAML made of a plain `on` or `off`."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


ProviderSetting = str | int | float | bool


class OnnxOptions(EngineOptions):
    """What every engine on onnxruntime takes; a plugin derives its own `Options` from it.

    `providers` are onnxruntime's names; by default they are those of the pool that the model is
    placed in: CUDA in `cuda:0`, `cuda:1` and so on, else the CPU.
    `threads` run inside one operator (operators run one after the other); they sleep while they
    wait, since a spinning thread takes its core from the other engines.
    """

    providers: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    provider_options: Mapping[str, Mapping[str, ProviderSetting]] = Field(default_factory=dict)
    allow_fallback: bool = False
    threads: int = Field(default=1, ge=1, le=256)
    arena: Annotated[Arena, BeforeValidator(_on_or_off)] = Arena.ON
    weights: Weights = Weights.COPIED
    optimization: Annotated[Optimization, BeforeValidator(_on_or_off)] = Optimization.ALL

    @model_validator(mode="after")
    def _agree(self) -> "OnnxOptions":
        strangers = sorted(set(self.provider_options) - set(self.providers or (CUDA, CPU)))
        if strangers:
            raise ValueError(
                f"provider_options names {', '.join(strangers)}, which providers does not; "
                f"add it to providers or take its options out"
            )
        if self.weights is Weights.MAPPED and self.providers not in (None, (CPU,)):
            raise ValueError(
                f"weights: mapped is for {CPU} alone, other providers copy weights to their "
                f"device; write weights: copied"
            )
        return self
