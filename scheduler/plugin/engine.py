"""The whole interface between Rota and an engine plugin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from scheduler.core.model import PoolFootprint


class EngineOptions(BaseModel):
    """The base of a plugin's own options: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Example:
    """Stands for "an input of the engine's own choosing": its plugin's `example()` replaces it."""

    def __repr__(self) -> str:
        return "EXAMPLE"


EXAMPLE: Final = Example()
"""Send this as a payload to run an engine on the input that its `example()` makes."""


@dataclass(frozen=True, slots=True)
class EngineContext:
    """Where an engine finds itself: the model's name, and what was decided about it.

    `device` is the pool that it is placed in, `footprint` what is booked for it there (None where
    nobody said), `batch_max` the most items of one run, and `priority` the model's own.
    """

    model: str = "model"
    device: str = "unified"
    footprint: PoolFootprint | None = None
    batch_max: int = 1
    priority: int = 50

    @property
    def most_bytes(self) -> int | None:
        """What is booked at most of its pool: resident, and the largest run; None for unknown."""
        if self.footprint is None:
            return None
        return self.footprint.resident_bytes + self.footprint.running_bytes(self.batch_max)


class EnginePlugin(ABC):
    """An engine: derive from this, name the class in the entry-point group `rota.engines`.

    Plain synchronous code. Rota makes one object per load and runs all of its methods but `cancel`
    in one thread that belongs to it alone, in the order: `load`, `warm_up`, then `infer` any number
    of times, then `unload`. `unload` is called after a failed `load` or `warm_up` too, so it must
    cope with a half-built engine. Import heavy libraries in `load`, not at the top of the module.

    The thread may have served another engine before, and may serve one after: leave nothing in it,
    such as a device context that is still current.

    After `load` and `unload` Rota itself collects garbage and, where the model's footprint counts
    memory of the process (`unified`, `host`), returns what is free to the system.

    Raise `EngineOutOfMemory` for lack of memory, `BadInput` for a payload the engine does not take,
    `EngineError` for anything else worth a clear sentence; any other exception counts as a failure
    of the engine with its text.
    """

    Options: ClassVar[type[EngineOptions]] = EngineOptions
    """The plugin's own options, a pydantic model; the configuration's `options:` must fit it."""

    LIBRARIES: ClassVar[tuple[str, ...]] = ()
    """The heavy modules that `load` imports. A process pays for them once: `rota run` imports them
    before it takes the baseline that engines are measured against."""

    def __init__(self, options: Any, context: EngineContext) -> None:
        """Keep `options` (an instance of `Options`) and `context`. Must be cheap."""
        self.options = options
        self.context = context

    @abstractmethod
    def load(self) -> None:
        """Bring the engine into memory."""

    @abstractmethod
    def infer(self, batch: Sequence[Any]) -> Sequence[Any]:
        """Answer a batch: one result for each payload, in their order.

        A result that is an exception object fails that payload alone. Results must not be views of
        buffers that the next call overwrites.
        """

    @abstractmethod
    def unload(self) -> None:
        """Let go of everything that `load` and `infer` took. Called twice, it does nothing."""

    def warm_up(self) -> None:  # noqa: B027 - optional, empty on purpose
        """Pay first-run costs; counted as part of loading."""

    def example(self) -> Any:
        """One valid payload, for synthetic sources, tests and measuring. Called after `load`."""
        raise NotImplementedError

    def measure(self) -> Mapping[str, int]:
        """Bytes held now per pool, where the engine itself knows; empty where it does not."""
        return {}

    @classmethod
    def summary(cls, results: Sequence[Any]) -> str:
        """What a person wants to know of a run's results (the last some thousand), in one line."""
        return f"{len(results)} results"

    def cancel(self) -> None:  # noqa: B027 - optional, empty on purpose
        """Hasten the end of the `infer` that is running. Called from another thread."""
