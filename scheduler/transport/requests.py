"""Requests for inference: from a message to the scheduler, and the answer back."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from anyio import to_thread

from scheduler.core.outcome import Outcome, ReasonCode
from scheduler.runtime.payload import payload_bytes
from scheduler.transport.answer import Answer, encode_refusal, encode_result
from scheduler.transport.desk import Desk
from scheduler.transport.failure import FOR_GOOD, expired, refusal_of
from scheduler.transport.inbox import Inbox, Work
from scheduler.transport.journey import ELSEWHERE, with_rest
from scheduler.transport.news import ASKING, Ticket
from scheduler.transport.payload import (
    FRAME,
    SMALL_BYTES,
    Body,
    content_type_of,
    decode,
    is_quick,
    needed_bytes,
)
from scheduler.transport.refusal import Refusal, bad_request, too_large
from scheduler.transport.remembered import Remembered
from scheduler.transport.terms import Terms, read_terms

if TYPE_CHECKING:
    from scheduler.config.mqtt import Mqtt
    from scheduler.runtime.clock import Clock
    from scheduler.runtime.lease import Lease
    from scheduler.runtime.runtime import Runtime
    from scheduler.transport.frames import Frames
    from scheduler.transport.hands import Hands
    from scheduler.transport.message import Message
    from scheduler.transport.replies import Replies, Reply
    from scheduler.transport.topics import Address, Tree

CODING_THREADS = 2
"""Payloads decoded and results encoded at a time: more would take memory and processor from
engines."""

PARTS_MAX = 1000
"""A result of more parts than this is not encoded in the event loop."""

CALLED_OFF = (ReasonCode.CALLER_CANCELLED, "whoever asked has called it off")

STOPPING = (ReasonCode.SHUTTING_DOWN, "the node stops")


class HandOver(Protocol):
    """Offers a request to others, who take it even without room where `is_refused` here."""

    def __call__(self, message: Message, *, is_refused: bool) -> bool:
        """Whether somebody takes it."""


class RequestDesk(Desk):
    """Takes requests in, and answers each once.

    `take` is called for every message, in the call that read it. Whatever can be said without
    decoding is said there, so that nothing malformed, stale or doubled takes part in the queue.
    `lease_of` finds the lease of a fencing token, or raises Refusal. `frames` reads and lays what
    does not travel by message. `hand_over` is offered what
    this node cannot do and another may; it returns whether it has taken it on.
    """

    def __init__(
        self,
        runtime: Runtime,
        config: Mqtt,
        *,
        topics: Tree,
        replies: Replies,
        clock: Clock,
        hands: Hands,
        lease_of: Callable[[int], Lease],
        frames: Frames,
        hand_over: HandOver | None = None,
    ) -> None:
        super().__init__(topics, replies, takes="request")
        self.positions: dict[Ticket, Reply] = {}
        """Requests that wait and want to be told where they stand."""
        self.inbox = Inbox(
            in_flight=config.inbox.in_flight,
            limit=config.inbox.limit,
            limit_bytes=config.inbox.bytes,
            start=self._start,
            drop=self._drop,
        )
        self.remembered = Remembered()
        self._open: dict[Hashable, Work] = {}
        """What is not answered yet, by its key."""
        self._runtime = runtime
        self._max_bytes = config.max_request
        self._now_ns = clock.now_ns
        self._lease_of = lease_of
        self._frames = frames
        self._hand_over = hand_over
        self._coding = anyio.CapacityLimiter(CODING_THREADS)
        self._hands = hands

    def share_out(self) -> None:
        """Hand over what waits for a hand, as far as others take it."""
        if len(self.inbox) and self._hand_over is not None:
            self.inbox.give_away(self._pass_on)

    def _hands_over(self, message: Message, *, is_refused: bool) -> bool:
        return self._hand_over is not None and self._hand_over(message, is_refused=is_refused)

    def _pass_on(self, work: Work, *, is_refused: bool = False) -> bool:
        """Hand a request over that was taken in, with what is left of its time."""
        replies = [work.reply]
        if work.key is not None:
            replies = self.remembered.waiting(work.key) or replies
        if work.terms.lease is not None or len(replies) > 1:
            return False  # a lease is this node's; two who ask cannot both be named to another
        now_ns = self._now_ns()
        rest = with_rest(work.message, work.rest_ns(now_ns), now_ns - work.arrived_ns)
        rest = replace(rest, receipt=replies[0].receipt)
        if not self._hands_over(rest, is_refused=is_refused):
            return False
        self._close(work)
        if work.key is not None:
            self.remembered.forget(work.key)
        return True

    def cancel(self, request_id: str, response_topic: str | None) -> bool:
        """Answer an open request as `cancelled` and do no more for it; whether there is one.

        Orders pass requests on their way here: one that is not known finds that answer when it
        comes.
        """
        key = (request_id, response_topic)
        refusal = Refusal(*CALLED_OFF, outcome=Outcome.CANCELLED)
        work = self._open.get(key)
        if work is None:
            answer = encode_refusal(refusal, answer_id=request_id)
            self.remembered.call_off(key, answer, self._now_ns())
            return False
        self.inbox.take_out(work)
        self._answer(work, refusal)
        work.call_off()
        return True

    def _close(self, work: Work) -> None:
        if self._open.get(work.key) is work:
            del self._open[work.key]

    def close(self) -> None:
        """Answer what waits for a hand; what is in hand answers as it is cancelled."""
        for work in self.inbox.empty():
            self._answer(work, Refusal(*STOPPING))

    def _refuse(self, message: Message, reply: Reply, refused: Refusal) -> None:
        if refused.code not in ELSEWHERE or not self._hands_over(message, is_refused=True):
            super()._refuse(message, reply, refused)

    def _admit(self, message: Message, address: Address, reply: Reply) -> None:
        if len(message.payload) > self._max_bytes:
            raise too_large(
                f"the request has {len(message.payload)} bytes; at most {self._max_bytes} are taken"
            )
        terms = read_terms(message.user, message.expiry_s)
        kind = content_type_of(message.content_type, message.payload)
        now_ns = self._now_ns()
        key = _key(message, address, terms)
        digest = 0 if key is None else hash((address.name, kind, message.payload))
        if key is not None:
            seen = self.remembered.find(key, digest, reply, now_ns)
            if seen is not None:
                if seen.answer is not None:
                    self.replies.send(reply, seen.answer)
                return
        work = Work(
            model=address.name,
            message=message,
            content_type=kind,
            terms=terms,
            reply=reply,
            arrived_ns=now_ns,
            held_bytes=0,
            key=key,
        )
        if work.is_stale(now_ns):
            raise expired("the deadline had passed when the request came")
        if not self._hands.is_open:
            raise Refusal(*STOPPING)
        if kind == FRAME:
            self._fetch(work, now_ns)
        work.held_bytes = needed_bytes(work.content_type, work.message.payload)
        self.inbox.put(work, now_ns)
        if key is not None:
            self.remembered.add(key, digest, reply, now_ns)
            self._open[key] = work

    def _fetch(self, work: Work, now_ns: int) -> None:
        """Copy out at once what lies in shared memory: whoever laid it there may use it again."""
        work.message = self._frames.fetch(
            work.message, lambda size_bytes: self.inbox.make_room(size_bytes, now_ns)
        )
        work.content_type = str(work.message.content_type)

    def _start(self, work: Work) -> None:
        self._hands.start(self._handle, work)

    def _drop(self, work: Work) -> None:
        self._answer(work, expired())

    async def _handle(self, work: Work) -> None:
        answer: Answer | Refusal = refusal_of(Refusal(ReasonCode.SHUTTING_DOWN, "the node stops"))
        try:
            with anyio.CancelScope() as work.scope:
                if not work.is_called_off:
                    answer = await self._serve(work)
        except Exception as error:  # noqa: BLE001 - whatever it is, who asked gets an answer
            answer = refusal_of(error)
        finally:
            if not work.is_called_off:
                self._answer(work, answer)
            self.inbox.done(work, self._now_ns())

    async def _serve(self, work: Work) -> Answer:
        body = await self._decode(work)
        result = await self._infer(work, body)
        return await self._encode(work, body.id or work.reply.id, result)

    async def _decode(self, work: Work) -> Body:
        kind, payload = work.content_type, work.message.payload
        if is_quick(kind, payload):
            return decode(kind, payload, work.terms)
        return await to_thread.run_sync(decode, kind, payload, work.terms, limiter=self._coding)

    async def _infer(self, work: Work, body: Body) -> Any:
        work.terms = terms = body.terms
        rest_ns = work.rest_ns(self._now_ns())
        if rest_ns is not None and rest_ns <= 0:
            raise expired()
        deadline = None if rest_ns is None else rest_ns / 1e9
        if terms.lease is not None:
            return await self._infer_under_lease(work, terms.lease, body.payload, deadline)
        ticket = Ticket()
        if terms.tells_position:
            ASKING.set(ticket)
            self.positions[ticket] = work.reply
        try:
            return await self._runtime.infer(
                work.model,
                body.payload,
                deadline=deadline,
                priority=terms.priority,
                stream=terms.stream,
                form=work.form,
            )
        finally:
            self.positions.pop(ticket, None)

    async def _infer_under_lease(
        self, work: Work, token: int, payload: Any, deadline: float | None
    ) -> Any:
        lease = self._lease_of(token)
        try:
            return await lease.infer(payload, model=work.model, deadline=deadline, form=work.form)
        except ValueError as error:
            raise bad_request(str(error)) from None

    async def _encode(self, work: Work, answer_id: str, result: Any) -> Answer:
        def encode() -> Answer:
            form, accept = work.form, work.terms.accept
            return encode_result(
                result, model=work.model, form=form, answer_id=answer_id, accept=accept
            )

        answer = encode() if _is_small(result) else await to_thread.run_sync(encode)
        return await self._frames.lay(answer) if work.terms.accept == FRAME else answer

    def _answer(self, work: Work, told: Answer | Refusal) -> None:
        """Send the answer to all who wait for it, and keep it for who asks again."""
        is_for_others = isinstance(told, Refusal) and told.code in ELSEWHERE
        if is_for_others and self._pass_on(work, is_refused=True):
            return
        self._close(work)
        replies = [work.reply]
        if isinstance(told, Refusal):
            answer = encode_refusal(told, answer_id=work.reply.id)
            self.replies.refused += 1
        else:
            answer = told
        if work.key is not None:
            replies = self.remembered.answered(work.key, answer) or replies
            if isinstance(told, Refusal) and not _is_final(told):
                self.remembered.forget(work.key)
        for reply in replies:
            self.replies.send(reply, answer)


def _key(message: Message, address: Address, terms: Terms) -> Hashable:
    """Under what a second delivery would be recognised; None where nothing tells.

    A broker delivers QoS 0 once, so there correlation data say nothing: some clients use the same
    for all their requests.
    """
    name = terms.request_id or address.id
    if name is not None:
        return (name, message.response_topic)
    if message.correlation is not None and message.qos > 0:
        return (message.correlation, message.response_topic)
    return None


def _is_final(refusal: Refusal) -> bool:
    """Whether the same request gets the same answer when it is sent again: what ran runs once."""
    if refusal.has_run:
        return True
    return refusal.outcome in {Outcome.FAILED, Outcome.CANCELLED} or refusal.code in FOR_GOOD


def _is_small(result: Any) -> bool:
    parts = len(result) if isinstance(result, (list, tuple, dict, str, bytes)) else 1
    return parts <= PARTS_MAX and payload_bytes(result) <= SMALL_BYTES
