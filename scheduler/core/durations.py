"""How long something took the last few times."""

from __future__ import annotations

from collections import deque
from typing import Final

from scheduler.core.model import SECOND_NS

REMEMBERED: Final = 16
FEW: Final = 4
FORGOTTEN_AFTER_NS: Final = 60 * SECOND_NS
"""A request is refused on the strength of samples no older than this: afterwards one may try."""


class Durations:
    """The last few durations of one kind, in nanoseconds."""

    __slots__ = ("_last_ns", "_nearly_slowest_ns", "_samples", "_usual_ns")

    def __init__(self) -> None:
        self._samples: deque[int] = deque(maxlen=REMEMBERED)
        self._last_ns = 0
        self._usual_ns = 0
        self._nearly_slowest_ns = 0

    def add(self, duration_ns: int, now: int) -> None:
        """Note one more."""
        self._samples.append(duration_ns)
        self._last_ns = now
        self._usual_ns = 0
        self._nearly_slowest_ns = 0

    def fastest_ns(self, now: int, at_least: int = 1) -> int:
        """The shortest remembered: what can be promised to take at least that long.

        0 when fewer than `at_least` samples are known or the newest is too old to refuse work on.
        """
        return min(self._samples) if self._is_fresh(now, at_least) else 0

    def slow_ns(self, now: int) -> int:
        """`nearly_slowest_ns`, 0 too when the newest is too old to refuse work on."""
        return self.nearly_slowest_ns() if self._is_fresh(now, FEW) else 0

    def recent_ns(self, now: int, at_least: int = 1) -> int:
        """The median of what is remembered, 0 where `fastest_ns` is."""
        return self.usual_ns() if self._is_fresh(now, at_least) else 0

    def _is_fresh(self, now: int, at_least: int) -> bool:
        return len(self._samples) >= at_least and now - self._last_ns <= FORGOTTEN_AFTER_NS

    def __len__(self) -> int:
        return len(self._samples)

    def slowest_ns(self) -> int | None:
        """The longest remembered, None when nothing is: one in 17 is expected to take longer."""
        return max(self._samples, default=None)

    def nearly_slowest_ns(self) -> int:
        """The longest but one, which a single hiccup does not move; 0 when fewer than 4 are known.

        Of 16 it is the 0.88-quantile (Weibull's plotting position: 15 of 17).
        """
        if not self._nearly_slowest_ns and len(self._samples) >= FEW:
            self._nearly_slowest_ns = max(sorted(self._samples)[-2], 1)
        return self._nearly_slowest_ns

    def usual_ns(self) -> int:
        """The median of what is remembered, 0 when nothing is."""
        if not self._usual_ns and self._samples:
            self._usual_ns = sorted(self._samples)[len(self._samples) // 2]
        return self._usual_ns
