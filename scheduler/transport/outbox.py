"""What is to go out and cannot yet, or has gone and is not acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Optional

from scheduler.core.model import SECOND_NS
from scheduler.transport.message import Message

KEEP_NS = 60 * SECOND_NS
"""How long an answer is kept for a broker that is away; whoever asked has given up by then."""

TRIES = 3
"""A message that was under way this often when the connection broke may be what broke it."""

LIMIT = 4096

LIMIT_BYTES = 64 * 1024 * 1024

REFUSED = 0x80
"""Reason codes from here on are failures."""

OnTold = Optional[Callable[[int], None]]
"""Called with the broker's reason code for the message; 128 and above is a refusal. At QoS 0,
with 0 when it has been sent."""


@dataclass(slots=True, eq=False)
class Letter:
    """A message to be delivered until `until_ns`; `losses` counts how often it was lost.

    Without `keeps` it goes out once or not at all.
    """

    message: Message
    until_ns: int
    on_told: OnTold = None
    keeps: bool = True
    losses: int = 0


class Outbox:
    """Letters in their order, bounded by count, bytes and age; the oldest goes first.

    `waiting` are not sent, `sent` are not acknowledged, by packet number. `lost` counts what was
    given up.
    """

    def __init__(
        self, *, keep_ns: int = KEEP_NS, limit: int = LIMIT, limit_bytes: int = LIMIT_BYTES
    ) -> None:
        self.lost = 0
        self._keep_ns = keep_ns
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._waiting: deque[Letter] = deque()
        self._sent: dict[int, Letter] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sent)

    def letter(
        self,
        message: Message,
        now_ns: int,
        on_told: OnTold = None,
        *,
        keeps: bool = True,
    ) -> Letter:
        """A letter that is kept for as long as answers are, or not without `keeps`."""
        return Letter(message, now_ns + self._keep_ns, on_told, keeps)

    def keep(self, letter: Letter) -> None:
        """Keep a letter until there is a connection."""
        self._waiting.append(letter)
        self._bytes += letter.message.held_bytes
        self._make_room()

    def sent(self, number: int, letter: Letter) -> None:
        """A letter has gone out as packet `number`."""
        self._sent[number] = letter
        self._bytes += letter.message.held_bytes
        self._make_room()

    def acknowledged(self, number: int) -> Letter | None:
        """The broker has answered packet `number`; returns its letter."""
        letter = self._sent.pop(number, None)
        if letter is not None:
            self._bytes -= letter.message.held_bytes
        return letter

    def connection_lost(self) -> list[Letter]:
        """What was not acknowledged waits again, before what came later.

        Returns what is given up because it was lost too often.
        """
        given_up = []
        for letter in reversed(self._sent.values()):
            letter.losses += 1
            if not letter.keeps:
                self._bytes -= letter.message.held_bytes
            elif letter.losses < TRIES:
                self._waiting.appendleft(letter)
            else:
                self._bytes -= letter.message.held_bytes
                self.lost += 1
                given_up.append(letter)
        self._sent.clear()
        return given_up

    def take(self, now_ns: int) -> Iterator[Letter]:
        """Take out, in order, all that waits and is not too old."""
        while self._waiting:
            letter = self._waiting.popleft()
            self._bytes -= letter.message.held_bytes
            if letter.until_ns > now_ns:
                yield letter
            else:
                self.lost += 1

    def _make_room(self) -> None:
        while len(self) > self._limit or self._bytes > self._limit_bytes:
            if self._waiting:
                letter = self._waiting.popleft()
            else:
                letter = self._sent.pop(next(iter(self._sent)))
            self._bytes -= letter.message.held_bytes
            self.lost += 1
