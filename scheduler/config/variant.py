"""Another form of a model, as it is written."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, PlainValidator, StringConstraints

from scheduler.config.batch import Batch
from scheduler.config.device import Device, family
from scheduler.config.footprint import Footprint, FootprintByPool
from scheduler.config.name import Name
from scheduler.config.section import Section
from scheduler.config.units import quoted
from scheduler.config.uses import Uses
from scheduler.core.model import PoolFootprint
from scheduler.plugin.engine import EngineOptions

EngineName = Annotated[str, StringConstraints(strict=True, min_length=1)]


def _read_options(value: object) -> Mapping[str, Any] | EngineOptions:
    if isinstance(value, EngineOptions):
        return value
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{quoted(value)} is not a mapping; write {{key: value}}")
    return dict(value)


Options = Annotated[Mapping[str, Any] | EngineOptions, PlainValidator(_read_options)]
"""An engine's own options: a mapping, or what its plugin made of one."""


class Variant(Section):
    """A form of a model beside its first: fp16, int8, a smaller input.

    What it does not say is the model's: its `engine`, its `device`, what it `uses`, and of its
    `batch` and its `options` what is not written here, of these as long as the engine is the same.
    """

    name: Name
    engine: EngineName | None = None
    options: Options = Field(default_factory=dict)
    device: Device | None = None
    footprint: FootprintByPool
    uses: Uses | None = None
    batch: Batch | None = None


def merged(mine: Options, general: Options) -> Options:
    """The options of a variant on top of those of its model, where both are of one engine."""
    if isinstance(mine, EngineOptions):
        return mine
    if isinstance(general, EngineOptions):
        general = general.model_dump(exclude_unset=True)
    return {**general, **mine}


def footprint_on(
    footprint: Footprint | Mapping[str, Footprint], device: str
) -> dict[str, PoolFootprint]:
    """Bytes by pool of a form that is placed on `device`, which its family may stand for."""
    if isinstance(footprint, Footprint):
        return {device: footprint.to_pool()}
    return {
        device if pool == family(device) else pool: part.to_pool()
        for pool, part in footprint.items()
    }
