"""What all parts of a configuration have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

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
