"""Engines that the configurations of these tests name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, field_validator

from scheduler.config.resource import ResourcePath
from scheduler.config.units import Duration, Nanoseconds, Size
from scheduler.plugin.engine import EngineOptions, EnginePlugin

if TYPE_CHECKING:
    from collections.abc import Sequence


class Scale(BaseModel):
    model_config = {"extra": "forbid"}

    width: int = 1


class EchoOptions(EngineOptions):
    load: Duration = Nanoseconds(0)
    memory: Size = 0
    threads: int = Field(1, ge=1)
    label: str | None = None
    model: ResourcePath | None = None
    scale: Scale = Scale()
    strange: int = 0

    @field_validator("strange")
    @classmethod
    def _strange(cls, value: int) -> int:
        if value == 13:
            raise LookupError("thirteen")
        return value


class Echo(EnginePlugin):
    Options = EchoOptions

    def load(self) -> None:
        pass

    def infer(self, batch: Sequence[Any]) -> Sequence[Any]:
        return list(batch)

    def unload(self) -> None:
        pass
