"""How long engines take in the simulation, as somebody wrote it down or for want of better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from scheduler.plugin.synthetic import MS_NS, SyntheticOptions

if TYPE_CHECKING:
    from scheduler.config import Model

ASSUMED_LOAD_NS = 100 * MS_NS
"""A small network from a warm page cache: those measured on a desktop took 17 to 347 ms."""
ASSUMED_RUN_NS = 20 * MS_NS
"""A small convolution net: those measured on a desktop took 4 to 50 ms."""
ASSUMED_UNLOAD_NS = 10 * MS_NS
"""Measured on a desktop: 7 to 17 ms."""


class EngineTimes(Protocol):
    """How long the next act of an engine takes, in nanoseconds. Each call is one act."""

    def load_ns(self) -> int:
        """From the decision to load until the engine is ready."""

    def run_ns(self, items: int) -> int:
        """From the grant until the batch of `items` is answered."""

    def unload_ns(self) -> int:
        """From the decision to unload until the memory is back."""


@dataclass(frozen=True, slots=True)
class FixedTimes:
    """Always the same; each item of a batch beyond the first adds `per_item`."""

    load: int = ASSUMED_LOAD_NS
    run: int = ASSUMED_RUN_NS
    per_item: int = 0
    unload: int = ASSUMED_UNLOAD_NS

    def load_ns(self) -> int:
        """See EngineTimes."""
        return self.load

    def run_ns(self, items: int) -> int:
        """See EngineTimes."""
        return self.run + self.per_item * (items - 1)

    def unload_ns(self) -> int:
        """See EngineTimes."""
        return self.unload


def written_times(model: Model) -> FixedTimes | None:
    """The times in the options of a model whose engine is `synthetic`; None for other engines."""
    return _of_options(model.options)


def times_by_form(model: Model) -> dict[str, FixedTimes | None]:
    """The times of each of its variants as `written_times` has them, by `form_key`."""
    if not model.variants:
        return {model.name: written_times(model)}
    return {
        form_key(model.name, variant.name): _of_options(variant.options)
        for variant in model.every_variant()
    }


def form_key(model: str, variant: str) -> str:
    """By what the times of a form are known: `faces`, and `faces/int8` where it has variants."""
    return f"{model}/{variant}" if variant else model


def _of_options(options: object) -> FixedTimes | None:
    if not isinstance(options, SyntheticOptions):
        return None
    return FixedTimes(load=options.load, run=options.infer, per_item=options.per_item)
