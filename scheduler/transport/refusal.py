"""Why something that came in from outside is not taken."""

from __future__ import annotations

from enum import Enum

from scheduler.core.outcome import Outcome
from scheduler.errors import RotaError


class RefusalCode(str, Enum):
    """What the edge itself refuses, before the scheduler has seen it. One word, one meaning."""

    BAD_REQUEST = "bad_request"
    """Malformed: sending it again will not help."""
    BAD_INPUT = "bad_input"
    """Well-formed, and not what the engine takes."""
    UNSUPPORTED = "unsupported"
    """Of a kind this node does not read, or not with what is installed."""
    TOO_LARGE = "too_large"
    """Over a limit of bytes or pixels; the message says which."""
    BUSY = "busy"
    """Too much is being handled already; trying later makes sense."""
    ID_CONFLICT = "id_conflict"
    """An id that was used before, for something else."""
    RETAINED = "retained"
    """A retained request: the broker would send it again at every start."""
    INTERNAL = "internal"
    """A mistake of Rota's own."""


class Refusal(RotaError):  # noqa: N818 - it is an answer, not a fault of ours
    """Raised when a message is not taken. `code` is for programs, the text for people.

    `code` is a `RefusalCode` or a `ReasonCode`; `retry_after_ms` is set where later may be better.
    `has_run` tells whether an engine was given the request.
    """

    def __init__(
        self,
        code: str,
        text: str,
        *,
        outcome: Outcome = Outcome.REJECTED,
        retry_after_ms: int | None = None,
        has_run: bool = False,
    ) -> None:
        super().__init__(text)
        self.code = code.value if isinstance(code, Enum) else code
        self.outcome = outcome
        self.retry_after_ms = retry_after_ms
        self.has_run = has_run


def bad_request(text: str) -> Refusal:
    """A refusal of something malformed."""
    return Refusal(RefusalCode.BAD_REQUEST, text)


def unsupported(text: str) -> Refusal:
    """A refusal of a kind that is not read here."""
    return Refusal(RefusalCode.UNSUPPORTED, text)


def too_large(text: str) -> Refusal:
    """A refusal of something over a limit."""
    return Refusal(RefusalCode.TOO_LARGE, text)
