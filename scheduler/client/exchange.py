"""Questions and answers over one connection, which many tasks share.

    ask ──► Question ──► Connection ── PUBLISH ──► broker ──► node
     ▲                        │
     └── its future ◄── take ─┘  by correlation data, all on one response topic

A question stays until its answer is here or nobody waits any more. When the connection, or the
node, has been away, what is open is sent again under the same id, which the node answers once. The
node is told of a request that nobody waits for any more, before its deadline, or without one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio

from scheduler.client.question import OnNotice, Question
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.errors import DeadlineMissed, RequestError, ShuttingDown
from scheduler.transport.answer import to_bytes
from scheduler.transport.connection import Connection
from scheduler.transport.link import Link
from scheduler.transport.message import Message
from scheduler.transport.outbox import REFUSED
from scheduler.transport.payload import JSON
from scheduler.transport.presence import read_status
from scheduler.transport.refusal import Refusal, RefusalCode, too_large
from scheduler.transport.replies import ENVELOPE_BYTES
from scheduler.transport.topics import Topics

if TYPE_CHECKING:
    from scheduler.runtime.clock import Clock

GRACE_S = 0.05
"""How long after a deadline the node's own word on it is waited for: it says more than ours."""

SENDS_MAX = 32
"""A question that was sent this often, each time over another connection, may be what breaks it."""


class Exchange:
    """Open it, `ask` from any number of tasks, close it.

    `fails` turns a refusal into an error; `on_late` is given answers that nobody waits for.
    """

    def __init__(
        self,
        link: Link,
        topics: Topics,
        *,
        fails: Callable[[Refusal], RequestError],
        on_late: Callable[[Message], None],
        clock: Clock,
    ) -> None:
        self.response_topic = f"{topics.root}/results/clients/{link.client_id}"
        self.status: dict[str, Any] = {}
        """What the node last said of itself; empty before that."""
        self.late = 0
        """Answers that nobody waited for any more."""
        self._topics = topics
        self._fails = fails
        self._on_late = on_late
        self._met = asyncio.Event()
        self._now_ns = clock.now_ns
        self._open: dict[bytes, Question] = {}
        self._sends: dict[bytes, int] = {}
        self._watchers: dict[bytes, Callable[[Message], None]] = {}
        session = os.urandom(6).hex()
        self._ids = (f"{session}-{number}" for number in count(1))
        self._tries_once = False
        self._opened: asyncio.Future[bool] | None = None
        self._scope = anyio.CancelScope()
        self._running: asyncio.Task[None] | None = None
        self._connection = Connection(
            link,
            filters=(self.response_topic, topics.status),
            on_message=self._take,
            clock=clock,
            on_up=self._came_up,
            on_failure=self._failed,
        )

    # -- the connection ---------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """Whether there is a connection to the broker now."""
        return self._connection.is_up

    async def open(self, limit_s: float) -> None:
        """Connect, trying again for `limit_s`; with 0 it tries once. Raises ConnectionError."""
        loop = asyncio.get_running_loop()
        self._tries_once = not limit_s
        self._opened = loop.create_future()
        self._running = loop.create_task(self._stay())
        is_open = False
        try:
            with anyio.move_on_after(limit_s or None):
                is_open = await self._opened
        finally:
            if not is_open:
                with anyio.CancelScope(shield=True):
                    await self.close()
        if not is_open:
            fault = self._connection.fault or "the broker does not answer"
            raise ConnectionError(f"{fault}; is it there, and is the address right?")

    async def meet(self, limit_s: float) -> None:
        """Wait, the first time, until the node has said what it is, or for `limit_s`."""
        with anyio.move_on_after(limit_s):
            await self._met.wait()
        self._met.set()

    async def close(self) -> None:
        """Take leave of the broker; whoever still waits is told."""
        gone = Reason(ReasonCode.SHUTTING_DOWN, "this client was closed")
        for question in list(self._open.values()):
            question.fail(ShuttingDown(gone))
        self._scope.cancel()
        if self._running is not None:
            await self._running

    async def _stay(self) -> None:
        with self._scope:
            await self._connection.run()

    def _came_up(self) -> None:
        self._settle(is_open=True)
        self._send_again()

    def _failed(self) -> None:
        if self._tries_once:
            self._settle(is_open=False)

    def _settle(self, *, is_open: bool) -> None:
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(is_open)

    def _send_again(self) -> None:
        """Send what is open: what was lost with a connection, a broker or a node is not told."""
        for key, question in list(self._open.items()):
            self._sends[key] += 1
            if self._sends[key] > SENDS_MAX:
                text = f"sent {SENDS_MAX} times without an answer; it may break the connection"
                question.fail(self._fails(too_large(text)))
            else:
                self._send(question)

    def _send(self, question: Question) -> None:
        def told(code: int) -> None:
            if code < REFUSED:
                return
            text = (
                f"the broker refuses what goes to {question.topic} ({code:#x}): it is too large, "
                "or this user may not send there"
            )
            question.fail(self._fails(Refusal(RefusalCode.BAD_REQUEST, text)))

        message = question.message(self.response_topic, self._now_ns())
        self._connection.send(message, keeps=False, on_told=told)

    # -- what comes in ----------------------------------------------------------------------

    def _take(self, message: Message) -> None:
        if message.topic == self._topics.status:
            self._take_status(message)
            return
        key = message.correlation or b""
        question, watcher = self._open.get(key), self._watchers.get(key)
        if question is not None:
            question.take(message)
        elif watcher is not None:
            watcher(message)
        else:
            self.late += 1
            self._on_late(message)

    def _take_status(self, message: Message) -> None:
        told = read_status(message.payload)
        if told is None:
            return
        before, self.status = self.status, told
        self._met.set()
        is_back = told.get("state") == "online" and any(
            before.get(key) != told.get(key) for key in ("state", "session", "incarnation")
        )
        if is_back:
            self._send_again()

    # -- what goes out ----------------------------------------------------------------------

    def question(
        self,
        topic: str,
        encoded: tuple[bytes, str],
        *,
        ends_ns: int | None,
        user: tuple[tuple[str, str], ...] = (),
        qos: int = 1,
        on_notice: OnNotice = None,
    ) -> Question:
        """A question to be asked. Raises RequestError for one that is too large on its way.

        The broker drops without a word what is far above the node's own limit.
        """
        payload, content_type = encoded
        limit, taker = self._connection.packet_max_bytes - ENVELOPE_BYTES, "the broker"
        node_limit = self.status.get("max_request_bytes")
        if isinstance(node_limit, int) and node_limit < limit:
            limit, taker = node_limit, self._topics.root
        if len(payload) > limit:
            text = f"the request has {len(payload)} bytes, {taker} takes {limit}"
            raise self._fails(too_large(text))
        return Question(
            id=next(self._ids),
            topic=topic,
            payload=payload,
            content_type=content_type,
            user=user,
            qos=qos,
            ends_ns=ends_ns,
            answer=asyncio.get_running_loop().create_future(),
            on_notice=on_notice,
        )

    async def ask(
        self,
        question: Question,
        *,
        patience_s: float,
        keep_watch: Callable[[Message], None] | None = None,
    ) -> Message:
        """Ask, and return the answer.

        Raises RequestError: DeadlineMissed without an answer until the question's deadline, or for
        `patience_s` where it has none. `keep_watch` gets what comes to this question after its
        answer, until `unwatch`.
        """
        key, ends_ns = question.id.encode("ascii"), question.ends_ns
        wait_s = patience_s if ends_ns is None else (ends_ns - self._now_ns()) / 1e9 + GRACE_S
        give_up = asyncio.get_running_loop().call_later(wait_s, self._give_up, question, wait_s)
        self._open[key] = question
        self._sends[key] = 1
        try:
            self._send(question)
            answer = await question.answer
        except asyncio.CancelledError:
            if question.answer.cancelled():  # otherwise the answer was here first
                self._call_off(question)
            raise
        else:
            if keep_watch is not None:
                self._watchers[key] = keep_watch
            return answer
        finally:
            give_up.cancel()
            del self._open[key], self._sends[key]

    def unwatch(self, message: Message) -> None:
        """Nothing more is to come to the question that `message` answered."""
        self._watchers.pop(message.correlation or b"", None)

    def _call_off(self, question: Question) -> None:
        """Have the node do no more for a request; its word on that is not waited for."""
        address = self._topics.read(question.topic)
        if address is None or address.kind != "infer":
            return
        order = Message(
            topic=self._topics.control("cancel"),
            payload=to_bytes({"request_id": question.id}),
            qos=question.qos,
            content_type=JSON,
            response_topic=self.response_topic,
        )
        self._connection.send(order)

    def _give_up(self, question: Question, wait_s: float) -> None:
        reason = Reason(ReasonCode.DEADLINE_PASSED, f"no answer in {wait_s:.3g} s; {self._why()}")
        question.fail(DeadlineMissed(reason))
        if question.ends_ns is None:
            self._call_off(question)

    def _why(self) -> str:
        """What keeps answers away, as far as can be told from here."""
        if not self.is_up:
            return self._connection.fault or "there is no connection to the broker"
        state = self.status.get("state")
        if state is None:
            return f"no node has ever shown itself on {self._topics.status}"
        why = "; ".join(map(str, self.status.get("why", [])))
        return f"{self._topics.root} is {state}" + (f": {why}" if why else "")
