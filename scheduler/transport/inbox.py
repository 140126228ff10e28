"""Requests in hand: those that are handled, and those that wait for a hand to be free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from scheduler.runtime.call import FormUsed
from scheduler.transport.message import Message
from scheduler.transport.refusal import Refusal, RefusalCode
from scheduler.transport.replies import Reply
from scheduler.transport.terms import Terms

RETRY_AFTER_MS = 100


@dataclass(slots=True, kw_only=True, eq=False)
class Work:
    """One request that was taken in. `held_bytes` is what it takes until it is answered."""

    model: str
    message: Message
    content_type: str
    terms: Terms
    reply: Reply
    arrived_ns: int
    held_bytes: int
    key: object = field(default=None)
    form: FormUsed = field(default_factory=FormUsed)
    scope: anyio.CancelScope | None = None
    """What is done for it, while it is in hand."""
    is_called_off: bool = False

    def call_off(self) -> None:
        """Nobody wants it any more; it has its answer."""
        self.is_called_off = True
        if self.scope is not None:
            self.scope.cancel()

    def rest_ns(self, now_ns: int) -> int | None:
        """What is left until its deadline; None where it has none of its own."""
        deadline_ns = self.terms.deadline_ns
        return None if deadline_ns is None else self.arrived_ns + deadline_ns - now_ns

    def is_stale(self, now_ns: int) -> bool:
        """Whether its answer is of no use any more."""
        rest_ns = self.rest_ns(now_ns)
        return rest_ns is not None and rest_ns <= 0


class Inbox:
    """Bounded by the number handled at a time, the number that waits, and the bytes of both.

    `start` begins to handle a request, `drop` is told of one whose time ran out while it waited.
    When there is no room, what has gone stale is dropped first, oldest first; then the newcomer is
    refused as busy.
    """

    def __init__(
        self,
        *,
        in_flight: int,
        limit: int,
        limit_bytes: int,
        start: Callable[[Work], None],
        drop: Callable[[Work], None],
    ) -> None:
        self.stale = 0
        self.busy = 0
        self._in_flight = in_flight
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._start = start
        self._drop = drop
        self._waiting: deque[Work] = deque()
        self._handled = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def room(self) -> int:
        """How many more requests would be handled at once."""
        return max(0, self._in_flight - self._handled - len(self))

    @property
    def held_bytes(self) -> int:
        """What all requests in hand take."""
        return self._bytes

    def put(self, work: Work, now_ns: int) -> None:
        """Handle a request now or when there is a hand for it. Raises Refusal when it is full."""
        self.make_room(work.held_bytes, now_ns)
        self._bytes += work.held_bytes
        if self._handled < self._in_flight:
            self._handled += 1
            self._start(work)
        else:
            self._waiting.append(work)

    def make_room(self, held_bytes: int, now_ns: int) -> None:
        """Have room for a request that takes so much. Raises Refusal when it is full."""
        if held_bytes > self._limit_bytes:
            raise Refusal(
                RefusalCode.TOO_LARGE,
                f"the request takes {held_bytes} bytes; the node holds {self._limit_bytes}",
            )
        if not self._has_room(held_bytes):
            self.drop_stale(now_ns)
        if not self._has_room(held_bytes):
            self.busy += 1
            raise Refusal(
                RefusalCode.BUSY,
                f"{self._handled} requests are being handled and {len(self)} wait; try later",
                retry_after_ms=RETRY_AFTER_MS,
            )

    def done(self, work: Work, now_ns: int) -> None:
        """A request has been answered: the next that is still of use is handled."""
        self._bytes -= work.held_bytes
        self._handled -= 1
        while self._waiting and self._handled < self._in_flight:
            waiting = self._waiting.popleft()
            if waiting.is_stale(now_ns):
                self._let_go(waiting)
            else:
                self._handled += 1
                self._start(waiting)

    def give_away(self, takes: Callable[[Work], bool]) -> None:
        """Let go of what waits and somebody else takes, in its order."""
        kept = deque(work for work in self._waiting if not takes(work))
        self._bytes -= sum(w.held_bytes for w in self._waiting) - sum(w.held_bytes for w in kept)
        self._waiting = kept

    def take_out(self, work: Work) -> bool:
        """Let go of a request if it waits; the caller answers it. Whether it has waited."""
        if work not in self._waiting:
            return False
        self._waiting.remove(work)
        self._bytes -= work.held_bytes
        return True

    def empty(self) -> list[Work]:
        """Take out all that waits; the caller answers it."""
        waiting, self._waiting = list(self._waiting), deque()
        self._bytes -= sum(work.held_bytes for work in waiting)
        return waiting

    def _has_room(self, held_bytes: int) -> bool:
        fits = self._bytes + held_bytes <= self._limit_bytes
        return fits and (self._handled < self._in_flight or len(self) < self._limit)

    def drop_stale(self, now_ns: int) -> None:
        """Let go of what waits and is of no use any more."""
        stale = [work for work in self._waiting if work.is_stale(now_ns)]
        if stale:
            self._waiting = deque(w for w in self._waiting if not w.is_stale(now_ns))
            for work in stale:
                self._let_go(work)

    def _let_go(self, work: Work) -> None:
        self.stale += 1
        self._bytes -= work.held_bytes
        self._drop(work)
