"""One source in virtual time, by the rules of the real feeder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from scheduler.config.source import DEFAULT_OUTSTANDING
from scheduler.core.request import NO_DEADLINE_NS, Request

if TYPE_CHECKING:
    from scheduler.core.outcome import Outcome
    from scheduler.sim.simulator import Client, Simulator

READ_NS = 1_000_000
"""What it takes to read a frame of a recording that goes as fast as it is served: our own choice,
so that frames which are refused at once still come one after another."""


class Asking(Protocol):
    """How a feed's frames get to their model."""

    def ask(self, deadline_ns: int | None, client: Client) -> None:
        """Ask for one frame. `deadline_ns` is absolute, None leaves it to the model."""


class Plainly:
    """Each frame is a request of its own."""

    def __init__(
        self, simulator: Simulator, model: str, *, stream: str, priority: int | None
    ) -> None:
        self._simulator = simulator
        self._models = (model,)
        self._stream = stream
        self._priority = priority

    def ask(self, deadline_ns: int | None, client: Client) -> None:
        """See Asking."""
        request = Request(
            id=self._simulator.next_request_id(),
            models=self._models,
            priority=self._priority,
            deadline_ns=deadline_ns,
            stream=self._stream,
        )
        self._simulator.ask(request, client)


class Feed:
    """Sends frames when they are due and never waits for the answers.

    `due_times` are ns from the start, not decreasing. At most `outstanding` frames wait for their
    answers; beyond that the newest waits here, and the one it replaces is dropped. With `paced`
    false `due_times` only count the frames, and nothing is dropped. The deadline counts from when
    the frame was due.
    """

    def __init__(
        self,
        simulator: Simulator,
        asking: Asking,
        due_times: Iterator[int],
        *,
        paced: bool = True,
        deadline_ns: int | None = None,
        outstanding: int = DEFAULT_OUTSTANDING,
    ) -> None:
        self.sent = 0
        self.dropped = 0
        self._simulator = simulator
        self._asking = asking
        self._due_times = due_times
        self._paced = paced
        self._deadline_ns = deadline_ns
        self._limit = outstanding
        self._outstanding = 0
        self._held_ns: int | None = None
        self._is_reading = False

    def start(self) -> None:
        """Begin with the first frame."""
        if self._paced:
            self._await_frame()
        else:
            self._read()

    def finished(self, outcome: Outcome) -> None:
        """See Client."""
        del outcome
        self._outstanding -= 1
        if not self._paced:
            self._read()
        elif self._held_ns is not None:
            self._simulator.at(self._simulator.now_ns, self._send_held)

    def _await_frame(self) -> None:
        due_ns = next(self._due_times, None)
        if due_ns is not None:
            self._simulator.at(due_ns, self._come, due_ns)

    def _come(self, due_ns: int) -> None:
        self._send_held(None)
        if self._outstanding < self._limit:
            self._send(due_ns)
        else:
            self.dropped += self._held_ns is not None
            self._held_ns = due_ns
        self._await_frame()

    def _send_held(self, _: None) -> None:
        if self._held_ns is not None and self._outstanding < self._limit:
            held_ns, self._held_ns = self._held_ns, None
            self._send(held_ns)

    def _read(self) -> None:
        """Read on while there is room for one more."""
        if self._is_reading or self._outstanding >= self._limit:
            return
        if next(self._due_times, None) is not None:
            self._is_reading = True
            self._simulator.at(self._simulator.now_ns + READ_NS, self._have_read)

    def _have_read(self, _: None) -> None:
        self._is_reading = False
        self._send(self._simulator.now_ns)
        self._read()

    def _send(self, due_ns: int) -> None:
        deadline_ns = self._deadline_of(due_ns)
        if deadline_ns is not None and deadline_ns <= self._simulator.now_ns:
            self.dropped += 1
            return
        self.sent += 1
        self._outstanding += 1
        self._asking.ask(deadline_ns, self)

    def _deadline_of(self, due_ns: int) -> int | None:
        if self._deadline_ns is None or self._deadline_ns >= NO_DEADLINE_NS:
            return self._deadline_ns
        return due_ns + self._deadline_ns
