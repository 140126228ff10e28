"""What a run comes to: the one object that `--report` and `simulate --json` print."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class LatencyReport(BaseModel):
    """From arrival to answer, in milliseconds, of completed requests. None: nothing completed."""

    model_config = ConfigDict(frozen=True)

    p50: float | None
    p99: float | None
    max: float | None


class AheadReport(BaseModel):
    """Of the `loads` that were begun before anybody asked, so many were `used` before they went."""

    model_config = ConfigDict(frozen=True)

    loads: int
    used: int


class ModelReport(BaseModel):
    """One model's figures.

    `requests` counts runs asked for (leases, loads and unloads asked for are not in it); it is the
    sum of the six outcomes and of what had not ended yet. `loads` and `unloads` count those that
    succeeded. `loads_ahead` is left out when there were none. `forms` counts the loads of each form
    that the model may take, by its name; left out where it has one only.
    """

    model_config = ConfigDict(frozen=True)

    requests: int
    completed: int
    failed: int
    rejected: int
    deadline_missed: int
    preempted: int
    cancelled: int
    loads: int
    unloads: int
    latency_ms: LatencyReport
    loads_ahead: AheadReport | None = None
    forms: dict[str, int] | None = None

    @model_serializer(mode="wrap")
    def _without_unknown(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_none(handler(self))


class PoolReport(BaseModel):
    """One pool's figures. What was not measured, and by whom (`source`), is left out."""

    model_config = ConfigDict(frozen=True)

    budget_bytes: int
    high_water_bytes: int
    measured_high_water_bytes: int | None = None
    source: str | None = None

    @model_serializer(mode="wrap")
    def _without_unknown(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_none(handler(self))


class SourceReport(BaseModel):
    """One source's figures: what it would have sent, and what it dropped for lack of room."""

    model_config = ConfigDict(frozen=True)

    sent: int
    dropped: int


class Report(BaseModel):
    """A whole run. `sources` is left out when none was attached.

    A swap is a load for which another engine had to go: one that begins after an engine was told to
    unload to make room, and no other load has begun since.
    """

    model_config = ConfigDict(frozen=True)

    duration_s: float
    models: dict[str, ModelReport]
    memory: dict[str, PoolReport]
    swaps_per_minute: float
    sources: dict[str, SourceReport] | None = None

    @model_serializer(mode="wrap")
    def _without_unknown(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_none(handler(self))


def _without_none(plain: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plain.items() if value is not None}
