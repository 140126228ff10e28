"""What is asked of an engine in a process of its own, and what came of it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Act = Literal["load", "run", "unload"]


class Order(BaseModel):
    """One line to the process: what to do, for a run with how many items."""

    model_config = ConfigDict(frozen=True)

    act: Act
    items: int = 1


class Step(BaseModel):
    """One line from the process: what an act took.

    Bytes are above what the process held before its first load. `peak_bytes` is the most during
    the act, `held_bytes` what is held after it, `claimed_bytes` what the engine's own `measure()`
    says. A failed act has an `error`; an engine that died in it has none left to say it, so
    whoever waited says it.
    """

    model_config = ConfigDict(frozen=True)

    act: Act
    items: int = 1
    took_ns: int = 0
    peak_bytes: int = 0
    held_bytes: int = 0
    claimed_bytes: int | None = None
    exact: bool = True
    error: str = ""
    out_of_memory: bool = False
