"""The door: what is refused before it waits, for good ("never") or for now ("not now")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from scheduler.core.fit import declared_fit
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.core.units import never_units

if TYPE_CHECKING:
    from scheduler.core.model import ModelSpec
    from scheduler.core.settings import Settings


def never(
    spec: ModelSpec, specs: Mapping[str, ModelSpec], settings: Settings, items: int = 1
) -> Reason | None:
    """Why `spec` can never serve a request of `items` beside the pinned of `specs`, or None.

    Decides on declared figures; the scheduler asks the parts of this with measured ones.
    """
    return (
        never_units(spec.name, spec.forms, settings.resources)
        or excluded_by_pin(spec, (other for other in specs.values() if other.pinned))
        or declared_fit({**specs, spec.name: spec}, settings).why_not((spec.name,), items)
    )


def excluded_by_pin(spec: ModelSpec, pinned: Iterable[ModelSpec]) -> Reason | None:
    """A pinned engine of one of its exclusive groups is always in memory."""
    for other in pinned:
        shared = spec.exclusive & other.exclusive
        if other.name != spec.name and shared:
            return Reason(
                ReasonCode.EXCLUDED_BY_PIN,
                f"{spec.name} never loads: {other.name} is pinned and both are in the "
                f"exclusive group {min(shared)}",
            )
    return None
