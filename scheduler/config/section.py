"""What all parts of a configuration have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

if TYPE_CHECKING:
    from typing_extensions import Self

COUNT_MAX = 1_000_000

FROM_KEY = "from the key"
"""Marks a field that is not written in its section: it is the key that the section stands under."""

Count = Annotated[int, Strict(), Field(ge=1, le=COUNT_MAX)]
"""A whole number of at least 1."""


class Section(BaseModel):
    """One mapping of a configuration: unknown keys are errors, values do not change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True
    )

    def completed(self, general: Section) -> Self:
        """Return this section with what it does not say itself from `general`; it says all then."""
        mine = {key: getattr(self, key) for key in self.model_fields_set}
        whole = {key: getattr(general, key) for key in type(self).model_fields}
        return self.model_copy(update=whole | mine)
