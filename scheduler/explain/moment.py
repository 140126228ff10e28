"""What happened when, for as long as a story stays readable."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

FIRST = 60
LAST = 20


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened at `at_ns`, with lines that say more of it."""

    at_ns: int
    text: str
    details: tuple[str, ...] = ()


class Moments:
    """The first and the last moments of a story; `left_out` counts those between."""

    def __init__(self) -> None:
        self.left_out = 0
        self.first: list[Moment] = []
        self.last: deque[Moment] = deque(maxlen=LAST)

    def add(self, at_ns: int, text: str, details: tuple[str, ...] = ()) -> None:
        """Take one more."""
        moment = Moment(at_ns, text, details)
        if len(self.first) < FIRST:
            self.first.append(moment)
            return
        self.left_out += len(self.last) == LAST
        self.last.append(moment)
