"""When a model is asked for, when it will be next, and how much time its requests have.

Learned from arrivals alone, those that were refused included: a stream that is always too late for
an engine that is not loaded still says that the engine is wanted.
"""

from __future__ import annotations

from collections import deque
from typing import Final

REMEMBERED: Final = 16
"""Gaps kept: half a second of a fast camera, a quarter of a minute of a slow one."""
FEWEST: Final = 3
"""Gaps needed before anything is expected of a stream."""
STEADY: Final = 4
"""A stream whose gaps spread by less than a quarter of the usual one keeps time."""
MOMENT_NS: Final = 1_000_000
"""Requests less than this apart come at once, as those of a burst do."""
SILENT: Final = 4
"""After so many of its longest gaps without a request, nobody expects one."""


class Demand:
    """The arrivals of one model's requests. Times are nanoseconds."""

    __slots__ = (
        "_allowed",
        "_gaps",
        "_last_ns",
        "_longest_ns",
        "_steady",
        "_usual_allowed_ns",
        "_usual_ns",
    )

    def __init__(self) -> None:
        self._gaps: deque[int] = deque(maxlen=REMEMBERED)
        self._allowed: deque[int] = deque(maxlen=REMEMBERED)
        self._last_ns: int | None = None
        self._usual_allowed_ns: int | None = None
        self._usual_ns = 0
        self._longest_ns = 0
        self._steady = False

    def note(self, now: int, allowed_ns: int | None = None) -> None:
        """A request has come, whose answer is due in `allowed_ns` where that is known.

        Those of one moment count as one: the engine is wanted once.
        """
        if self._last_ns is not None:
            if now - self._last_ns < MOMENT_NS:
                return
            self._gaps.append(now - self._last_ns)
            self._usual_ns = 0
        self._last_ns = now
        if allowed_ns is not None:
            self._allowed.append(allowed_ns)
            self._usual_allowed_ns = None

    def forget(self) -> None:
        """Expect nothing until requests have come again."""
        self._gaps.clear()
        self._allowed.clear()
        self._usual_allowed_ns = None
        self._last_ns = None
        self._usual_ns = 0

    def next_ns(self, now: int) -> int | None:
        """When the next request is to be expected, or None when none is.

        A stream that keeps time is expected on its beat, a request that is overdue at once. Of
        another it is known how many come on average, so the next is expected one mean gap from now,
        whenever the last one was (arrivals without memory).
        """
        usual_ns = self.usual_ns()
        if self._last_ns is None or not usual_ns:
            return None
        if now >= self.silent_from_ns():
            return None
        if self._steady:
            return max(now, self._last_ns + usual_ns)
        return now + usual_ns

    def is_near(self, now: int, span_ns: int) -> bool:
        """Whether a request came within the last `span_ns`, or is expected within the next."""
        if self._last_ns is not None and now - self._last_ns < span_ns:
            return True
        next_ns = self.next_ns(now)
        return next_ns is not None and next_ns - now < span_ns

    def silent_from_ns(self) -> int:
        """From when on nobody expects another request, if none comes until then."""
        return (self._last_ns or 0) + SILENT * self._longest_ns + 1

    def usual_ns(self) -> int:
        """The usual gap between requests, 0 when too few are known."""
        if len(self._gaps) < FEWEST:
            return 0
        if not self._usual_ns:
            self._learn()
        return self._usual_ns

    def allowed_ns(self) -> int | None:
        """How long a request usually has until its deadline, None when nothing is known of that."""
        if self._usual_allowed_ns is None and self._allowed:
            self._usual_allowed_ns = sorted(self._allowed)[len(self._allowed) // 2]
        return self._usual_allowed_ns

    def is_steady(self) -> bool:
        """Whether the requests keep time."""
        return bool(self.usual_ns()) and self._steady

    def _learn(self) -> None:
        gaps = sorted(self._gaps)
        self._longest_ns = max(gaps[-1], 1)
        median_ns = gaps[len(gaps) // 2]
        # One gap at either end may be odd: a frame that was dropped, two that came together.
        self._steady = (gaps[-2] - gaps[1]) * STEADY <= median_ns
        self._usual_ns = max(median_ns if self._steady else sum(gaps) // len(gaps), 1)
