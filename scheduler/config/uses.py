"""Units of resources that are held while running, as they are written."""

from collections.abc import Mapping

from scheduler.config.device import family
from scheduler.config.name import PoolName
from scheduler.config.section import Count

Uses = dict[PoolName, Count]
"""Units by resource. One called like a family of pools (`cuda`) is that of the engine's device."""


def uses_on(uses: Mapping[str, int], device: str) -> dict[str, int]:
    """The units that a run takes where its engine is placed on `device`.

    A resource may be named as a pool is (`cuda:0`, `cuda:1`), so that each device has units of its
    own; its family (`cuda`) then stands for the one of `device`, as in a footprint.
    """
    return {device if name == family(device) else name: count for name, count in uses.items()}
