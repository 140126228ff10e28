"""Makes files for engines ahead of time, such as TensorRT's plans: never in a request's path.

A builder is an entry point of the group `rota.builders` that names a class with `build`. It is
found like an engine: without importing what is not asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from scheduler.errors import PluginError

GROUP = "rota.builders"

Shape = tuple[int, ...]
Progress = Callable[[str, int, int], None]
"""Hears what is being done, how many of its steps are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """What is to be built of a model.

    `shapes` has the least, the usual and the largest shape of each input with dynamic dimensions.
    `calibration` is a folder of samples, for integers; with `calibrator` the library itself
    measures scales on them. With `weight_streaming` an engine may leave weights in host memory.
    `device` is the pool that the result is for.
    """

    model: Path
    folder: Path
    precisions: tuple[str, ...] = ("fp32",)
    shapes: Mapping[str, tuple[Shape, Shape, Shape]] = field(default_factory=dict)
    workspace_bytes: int | None = None
    calibration: Path | None = None
    calibrator: bool = False
    timing_cache: Path | None = None
    weight_streaming: bool = False
    device: str = "unified"


@dataclass(frozen=True, slots=True)
class Built:
    """One form of the model: its name, its file, and how a configuration speaks of it."""

    name: str
    file: Path
    engine: str
    options: Mapping[str, Any]
    footprint: Mapping[str, int]
    """Bytes by the keys of `footprint:`."""
    notes: tuple[str, ...] = ()
    """What a person should know of it, in sentences."""


class Builder(Protocol):
    """Builds the forms that an order asks for, one after the other."""

    def build(self, order: BuildOrder, progress: Progress) -> Iterator[Built]:
        """Yield each form when its file is whole and in its place.

        Raises:
            EngineError: the model cannot be built; the sentence has the place and what to do.
            BuildRefused: the order itself is wrong.
        """


class BuildRefused(PluginError):  # noqa: N818 - it names the order
    """Raised by a builder when what it was asked for cannot be meant: a wrong name or file."""


def find_builder(name: str) -> Builder:
    """Return the builder called `name`.

    Raises:
        PluginError: none is installed under that name, or it cannot be imported.
    """
    offered = [point for point in entry_points(group=GROUP) if point.name == name]
    if not offered:
        raise PluginError(f'no builder "{name}" is installed; install a package that has one')
    try:
        builder: Builder = offered[0].load()()
    except Exception as error:
        raise PluginError(f'builder "{name}" cannot be used: {error}') from error
    return builder
