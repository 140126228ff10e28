"""Which form of a model is measured, and in which pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.config import Config
    from scheduler.core.model import PoolFootprint


@dataclass(frozen=True, slots=True)
class Place:
    """One variant of a model ("" for a model without) in its first place, `pool`.

    `device` names the place where there is a choice; `declared` is what the variant is to take of
    the pool, None where nothing is declared; `batch_max` the most requests that one run may serve.
    """

    model: str
    variant: str
    device: str
    pool: str
    declared: PoolFootprint | None
    batch_max: int = 1

    @property
    def label(self) -> str:
        """What a person calls it."""
        return f"{self.model} {self.variant}".rstrip()


def places(config: Config, name: str) -> list[Place]:
    """Return every variant of a model in its first place, in the order written."""
    first_pool = next(iter(config.memory.by_pool()))
    model = config.models[name]
    devices = {variant.name: variant.device or first_pool for variant in model.every_variant()}
    found: dict[str, Place] = {}
    for form in model.forms(first_pool):
        device = devices[form.variant or model.variant]
        pool = form.device or (device if isinstance(device, str) else device[0])
        declared = form.footprint.get(pool)
        place = Place(name, form.variant, form.device, pool, declared, form.batch_max)
        found.setdefault(form.variant, place)
    return list(found.values())
