"""A broker's claim to be told that a message has been dealt with."""

from __future__ import annotations

from collections.abc import Callable


class Receipt:
    """Acknowledges one message at QoS 1, once.

    Until then the broker keeps the message: when the session resumes, it is delivered again, with
    another receipt. A receipt of a connection that is gone does nothing.
    """

    __slots__ = ("_acknowledge",)

    def __init__(self, acknowledge: Callable[[], None]) -> None:
        self._acknowledge: Callable[[], None] | None = acknowledge

    @property
    def is_given(self) -> bool:
        """Whether the message has been acknowledged."""
        return self._acknowledge is None

    def give(self) -> None:
        """Acknowledge the message; a second time does nothing."""
        acknowledge, self._acknowledge = self._acknowledge, None
        if acknowledge is not None:
            acknowledge()
