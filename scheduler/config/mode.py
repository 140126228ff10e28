"""A mode as it is written: what is different while it is in force."""

from typing import Any

from pydantic import Field

from scheduler.config.name import Name
from scheduler.config.priority import Priority
from scheduler.config.section import Section
from scheduler.core.mode import Mode

NO_MODE = "none"
"""What stands for no mode wherever one can be named."""


class ModeConfig(Section):
    """One mode: the models that it pins and disables, and the priorities that it gives."""

    pin: tuple[Name, ...] = ()
    priority: dict[Name, Priority] = Field(default_factory=dict)
    disable: tuple[Name, ...] = ()

    def to_mode(self, name: str) -> Mode:
        """Return what the core is told of it."""
        return Mode(name=name, pin=self.pin, priority=self.priority, disable=self.disable)


def none_is_no_mode(value: Any) -> Any:
    """Let `none` stand for no mode."""
    return None if value == NO_MODE else value
