"""Durations as programs give them: seconds, from now."""

from __future__ import annotations

from numbers import Real

from scheduler.core.request import NO_DEADLINE_NS

_NEVER_S = 1e9
"""Some thirty years: whoever asks for more means never."""


def span_ns(seconds: float | None, what: str) -> int | None:
    """Seconds as nanoseconds; None for None, and for what never ends (`math.inf`).

    Raises ValueError, naming `what`, for NaN, a negative number, a bool and what is no number.
    """
    if seconds is None:
        return None
    given: object = seconds
    if isinstance(given, bool) or not isinstance(given, Real):
        raise ValueError(f"{what} is {given!r}; give a number of seconds")  # noqa: TRY004 - a wrong value
    if not seconds >= 0:  # NaN compares false with everything
        raise ValueError(f"{what} is {seconds}; give a number of seconds of at least 0")
    return None if seconds > _NEVER_S else int(seconds * 1e9)


def deadline_at_ns(deadline: float | None, now_ns: int) -> int | None:
    """A deadline in seconds from now as a moment; None leaves it to the model.

    `math.inf` is no deadline, whatever the model's. Raises ValueError as `span_ns`.
    """
    if deadline is None:
        return None
    after_ns = span_ns(deadline, "deadline")
    return NO_DEADLINE_NS if after_ns is None else now_ns + after_ns
