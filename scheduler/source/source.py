"""What a source is: something that yields frames for a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from scheduler.errors import RotaError


class SourceError(RotaError):
    """Raised when a source cannot be opened or has nothing to give."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One payload for a model.

    `stamp_ns` is when it was taken: the time from the start of a recording, which goes on growing
    when it loops, or monotonic time for a live source; None where the source knows no time. `gap`
    says that something is missing between the frame before and this one.
    """

    payload: Any
    stamp_ns: int | None = None
    gap: bool = False


class Source(ABC):
    """Yields frames, one after another, until there are no more.

    A source that is `live` yields each frame when the world has made it, so it is not fed at a
    rate.
    """

    live: ClassVar[bool] = False

    @property
    def lost(self) -> int:
        """How many frames it had to throw away before anybody asked for them."""
        return 0

    @abstractmethod
    async def next_frame(self) -> Frame | None:
        """The next frame, or None when there are no more.

        Raises:
            SourceError: the source cannot be opened or read.
        """

    def marked(self, payload: Any) -> Any:
        """`payload` as it is sent when something is missing before it: what its engines take."""
        return payload

    async def aclose(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of files and devices. Called twice, it does nothing."""
