"""The longest time from a request to its answer on one server that runs one thing at a time.

Non-preemptive fixed-priority response-time analysis: L. George, N. Rivierre, M. Spuri, "Preemptive
and non-preemptive real-time uniprocessor scheduling", INRIA RR-2966, 1996; with release jitter and
every instance of the busy period, as R. Davis, A. Burns, R. Bril, J. Lukkien, "Controller Area
Network (CAN) schedulability analysis: refuted, revisited and revised", Real-Time Systems 35, 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

SOURCE = "George, Rivierre, Spuri 1996; Davis, Burns, Bril, Lukkien 2007"


@dataclass(frozen=True, slots=True)
class Stream:
    """Requests that come at most every `period_ns`, each up to `jitter_ns` late, for one run each.

    `run_ns` is the longest a run takes.
    """

    period_ns: int
    jitter_ns: int
    run_ns: int

    def most(self, window_ns: int) -> int:
        """The most requests that come in a window of that length, both its ends included."""
        return (window_ns + self.jitter_ns) // self.period_ns + 1


def worst_answer_ns(stream: Stream, before: Sequence[Stream], longest_other_ns: int) -> int | None:
    """The bound for `stream`, or None when the server cannot keep up, so that there is none.

    `before` are the other streams that may go first (of its priority or a higher one),
    `longest_other_ns` is the longest run of those that may not: one of them can have just begun.
    """
    together = [stream, *before]
    if sum(Fraction(one.run_ns, one.period_ns) for one in together) >= 1:
        return None
    busy_ns = _busy_ns(together, longest_other_ns)
    worst_ns = 0
    for index in range(stream.most(busy_ns - 1)):
        # All that came before this one of the same stream runs before it.
        begins_ns = _begins_ns(longest_other_ns + index * stream.run_ns, before)
        came_ns = max(0, index * stream.period_ns - stream.jitter_ns)
        worst_ns = max(worst_ns, begins_ns + stream.run_ns - came_ns)
    return worst_ns


def _busy_ns(together: Sequence[Stream], blocked_ns: int) -> int:
    """The longest time for which the server is never without one of these: a fixed point."""
    busy_ns = blocked_ns + sum(one.run_ns for one in together)
    while True:
        work_ns = sum(one.most(busy_ns - 1) * one.run_ns for one in together)
        if blocked_ns + work_ns == busy_ns:
            return busy_ns
        busy_ns = blocked_ns + work_ns


def _begins_ns(own_ns: int, before: Sequence[Stream]) -> int:
    """When it begins at the latest, `own_ns` after which at the earliest: a fixed point."""
    begins_ns = own_ns
    while True:
        later_ns = own_ns + sum(one.most(begins_ns) * one.run_ns for one in before)
        if later_ns == begins_ns:
            return begins_ns
        begins_ns = later_ns
