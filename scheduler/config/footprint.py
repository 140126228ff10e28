"""The bytes that an engine needs, as they are written."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Union

from pydantic import Discriminator, Tag, model_validator

from scheduler.config.name import PoolName
from scheduler.config.section import Section
from scheduler.config.units import PositiveSize, Size
from scheduler.core.amounts import sized
from scheduler.core.model import PoolFootprint


class Footprint(Section):
    """The bytes that an engine needs of one memory pool; one size alone is `resident`.

    `resident` while loaded, `load_peak` in all while loading (where that is more than resident),
    `workspace` on top while running, `per_item` on top for each further item of a batch. Sizes have
    a unit (`300MiB`, 1024-based; `300MB`, 1000-based); in a program an int is bytes.
    """

    resident: PositiveSize
    load_peak: Size = 0
    workspace: Size = 0
    per_item: Size = 0

    @model_validator(mode="before")
    @classmethod
    def _one_size_is_resident(cls, value: Any) -> Any:
        return value if isinstance(value, (Mapping, Footprint)) else {"resident": value}

    @model_validator(mode="after")
    def _peak_is_highest(self) -> "Footprint":
        if 0 < self.load_peak < self.resident:
            raise ValueError(
                f"load_peak is {sized(self.load_peak)} in all, less than the resident "
                f"{sized(self.resident)}; raise it, or leave it out"
            )
        return self

    def to_pool(self) -> PoolFootprint:
        """Return it as the core counts it."""
        return PoolFootprint(
            resident_bytes=self.resident,
            load_peak_bytes=self.load_peak,
            workspace_bytes=self.workspace,
            per_item_bytes=self.per_item,
        )


def _form(value: object) -> str:
    """Tell a footprint of the model's own pool from one that names its pools."""
    if not isinstance(value, Mapping) or not value:
        return "<own pool>"
    fields = list(Footprint.model_fields)
    if any(get_close_matches(str(key), fields, n=1, cutoff=0.75) for key in value):
        return "<own pool>"
    return "<by pool>"


def on_one_memory(parts: Mapping[str, Footprint]) -> Footprint:
    """Return what parts meant for several memories take of the only one there is.

    On a board whose CPU and GPU share it, what is meant for `host` and for `cuda:0` comes out of
    the same bytes: the parts are added.
    """
    return Footprint(
        resident=sum(part.resident for part in parts.values()),
        load_peak=sum(max(part.load_peak, part.resident) for part in parts.values()),
        workspace=sum(part.workspace for part in parts.values()),
        per_item=sum(part.per_item for part in parts.values()),
    )


FootprintByPool = Annotated[
    Union[
        Annotated[Footprint, Tag("<own pool>")],
        Annotated[dict[PoolName, Footprint], Tag("<by pool>")],
    ],
    Discriminator(_form),
]
"""One footprint, for the pool of the model's `device`, or one for each pool by name."""
