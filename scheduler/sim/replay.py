"""The arrivals of a recorded run, asked again at the same times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from scheduler.core.events import RequestArrived
from scheduler.core.request import NO_DEADLINE_NS, Request, RequestKind

if TYPE_CHECKING:
    from scheduler.core.outcome import Outcome
    from scheduler.sim.simulator import Simulator
    from scheduler.trace.record import Record


class Replay:
    """Asks what the callers of `records` asked, each as long after the start as it was then.

    What was asked under a held lease is asked without one, and leases are not held again (counted
    in `left_out`): how long their holders would keep them is not in a trace. Nobody waits for
    answers, so a slower machine does not slow the callers down as it might really do.
    """

    def __init__(self, simulator: Simulator, records: Iterable[Record]) -> None:
        self.asked = 0
        self.left_out = 0
        self._simulator = simulator
        self._arrivals = self._read(records)

    def start(self) -> None:
        """Begin with the first arrival."""
        self._await_next()

    def finished(self, outcome: Outcome) -> None:
        """See Client."""

    def _await_next(self) -> None:
        arrival = next(self._arrivals, None)
        if arrival is not None:
            self._simulator.at(arrival[0], self._come, arrival[1])

    def _come(self, request: Request) -> None:
        self.asked += 1
        self._simulator.ask(replace(request, id=self._simulator.next_request_id()), self)
        self._await_next()

    def _read(self, records: Iterable[Record]) -> Iterator[tuple[int, Request]]:
        start_ns: int | None = None
        for record in records:
            if start_ns is None:
                start_ns = record.at_ns
            if not isinstance(record.event, RequestArrived):
                continue
            request = record.event.request
            if request.kind is RequestKind.HOLD:
                self.left_out += 1
                continue
            yield record.at_ns - start_ns, _moved(request, start_ns)


def _moved(request: Request, start_ns: int) -> Request:
    """The request as it is asked when time begins at 0 instead of `start_ns`."""
    deadline_ns = request.deadline_ns
    if deadline_ns is not None and deadline_ns < NO_DEADLINE_NS:
        deadline_ns -= start_ns
    return replace(request, deadline_ns=deadline_ns, under_lease=None)
