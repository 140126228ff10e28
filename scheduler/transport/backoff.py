"""How long to wait before the next attempt to connect."""

from __future__ import annotations

from collections.abc import Callable
from random import random

FIRST_S = 0.02
"""Quicker than any broker starts again: if this attempt succeeds, the broker was never away."""

MOST_S = 10.0

RIVAL_CLOSES = 3
"""So many connections closed by a broker that was never away: somebody else is behind it."""

RIVAL_FIRST_S = 5.0
RIVAL_MOST_S = 300.0

STEADY_S = 30.0
"""A connection that has lasted this long was not taken over by a rival that tries again."""

GROWTH = 2.0


class Backoff:
    """Doubles from 20 ms to ten seconds, each time shortened at random by up to half.

    So many nodes do not come back to a restarted broker at the same moment.

    Two clients of one id throw each other out for ever. MQTT 5 has a reason code for that, and
    mosquitto 2.0 does not send it; so it is also told from connections that are closed one after
    the other without a single attempt failing. Then the wait starts at five seconds and grows to
    five minutes.
    """

    def __init__(self, draw: Callable[[], float] = random) -> None:
        self.has_rival = False
        self._draw = draw
        self._failures = 0
        self._closes = 0
        self._takeovers = 0

    def delay_s(self, lasted_s: float | None, *, taken_over: bool = False) -> float:
        """The seconds to wait after a connection that was up for `lasted_s`; None: never up."""
        if lasted_s is None:
            self._closes = 0
        elif lasted_s >= STEADY_S:
            self._closes = self._takeovers = 0
        else:
            self._closes += 1
        self.has_rival = taken_over or self._closes >= RIVAL_CLOSES
        if self.has_rival:
            self._takeovers += 1
            most_s = _grown(RIVAL_FIRST_S, self._takeovers, RIVAL_MOST_S)
        else:
            self._failures = self._failures + 1 if lasted_s is None else 1
            most_s = _grown(FIRST_S, self._failures, MOST_S)
        return most_s * (1 - self._draw() / 2)


def _grown(first_s: float, times: int, most_s: float) -> float:
    return float(min(most_s, first_s * GROWTH ** min(times - 1, 32)))
