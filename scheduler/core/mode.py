"""A mode: a named set of overrides, of which one is in force at a time, or none."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import field

from scheduler.core.outcome import Reason, ReasonCode
from scheduler.core.value import Value


class Mode(Value, frozen=True, kw_only=True):
    """What is different while it is in force.

    `pin` are loaded and never evicted, `priority` takes the place of the models' own, `disable` are
    unloaded and refused. No model is in both `pin` and `disable`.
    """

    name: str
    pin: tuple[str, ...] = ()
    priority: Mapping[str, int] = field(default_factory=dict)
    disable: tuple[str, ...] = ()

    def named(self) -> set[str]:
        """Every model that it speaks of."""
        return {*self.pin, *self.priority, *self.disable}

    def disabled(self, model: str) -> Reason:
        """Why a model that it disables is refused."""
        return Reason(ReasonCode.MODEL_DISABLED, f"{model} is disabled in mode {self.name}")
