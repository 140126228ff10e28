"""The error of an engine plugin that breaks a rule."""

from __future__ import annotations


class EngineCheckFailed(AssertionError):  # noqa: N818 - "check failed" is what a person says
    """Raised by `check_engine` for the first rule that a plugin breaks.

    `rule` is the rule's name, for programs; the message says what happened and what must happen.
    """

    def __init__(self, rule: str, plugin: type, sentence: str) -> None:
        super().__init__(f"{plugin.__name__} [{rule}]: {sentence}")
        self.rule = rule
