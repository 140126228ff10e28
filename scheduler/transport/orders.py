"""Control and lease messages: one at a time per sender is enough, losing one is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from scheduler.config.mistake import nearest
from scheduler.transport.answer import Answer, encode_refusal, encode_reply
from scheduler.transport.desk import Desk
from scheduler.transport.failure import expired, refusal_of
from scheduler.transport.refusal import Refusal, RefusalCode, bad_request, too_large
from scheduler.transport.remembered import Remembered
from scheduler.transport.strict_json import decode_json
from scheduler.transport.terms import SECOND_NS

if TYPE_CHECKING:
    from scheduler.runtime.clock import Clock
    from scheduler.transport.hands import Hands
    from scheduler.transport.message import Message
    from scheduler.transport.replies import Replies, Reply
    from scheduler.transport.topics import Address, Topics

ORDER_MAX_BYTES = 64 * 1024

ORDERS_MAX = 64
"""Orders carried out at a time; a load may take its time."""


class Order:
    """One order: its verb, what it says, and where its answer goes."""

    __slots__ = ("arrived_ns", "expiry_s", "key", "reply", "said", "verb")

    def __init__(
        self, verb: str, said: Mapping[str, Any], reply: Reply, arrived_ns: int, message: Message
    ) -> None:
        self.verb = verb
        self.said = said
        self.reply = reply
        self.arrived_ns = arrived_ns
        self.expiry_s = message.expiry_s
        key = message.correlation if message.correlation is not None else None
        self.key = None if key is None or not message.qos else (verb, key, message.response_topic)

    def text(self, key: str) -> str:
        """A text that must be there. Raises Refusal."""
        value = self.said.get(key)
        if not isinstance(value, str) or not value:
            raise bad_request(f'{self.verb} needs {{"{key}": ...}}, a text')
        return value

    def only(self, *known: str) -> None:
        """Raises Refusal when the order says anything else than `known`."""
        for key in self.said:
            if key not in known:
                raise bad_request(
                    f"{key[:64]!r} is no key of {self.verb}; {nearest(key, [*known])}"
                )

    def rest_s(self, now_ns: int) -> float | None:
        """Seconds that are left of its message expiry, or None where it has none."""
        if self.expiry_s is None:
            return None
        return (self.arrived_ns + self.expiry_s * SECOND_NS - now_ns) / 1e9


Told = Mapping[str, Any] | Answer
Carry = Callable[[Order], Awaitable["Told | None"]]
"""Carries out an order and returns what to answer; None where it has answered itself."""


class OrderDesk(Desk):
    """Takes orders in, and has each carried out by the verb of its kind.

    Orders come over a connection of their own: however many requests wait, none waits behind them.
    """

    def __init__(
        self,
        verbs: Mapping[str, Mapping[str, Carry]],
        *,
        topics: Topics,
        replies: Replies,
        clock: Clock,
        hands: Hands,
    ) -> None:
        super().__init__(topics, replies, takes="order")
        self._verbs = verbs
        self._now_ns = clock.now_ns
        self._remembered = Remembered()
        self._under_way = 0
        self._hands = hands

    def _admit(self, message: Message, address: Address, reply: Reply) -> None:
        verbs = self._verbs[address.kind]
        if address.name not in verbs:
            raise bad_request(
                f"{address.name[:64]!r} is no order; {nearest(address.name, [*verbs])}"
            )
        order = Order(address.name, _said(message), reply, self._now_ns(), message)
        if self._was_seen(order, message):
            return
        if self._under_way >= ORDERS_MAX or not self._hands.is_open:
            raise Refusal(RefusalCode.BUSY, f"{self._under_way} orders are under way; try later")
        self._under_way += 1
        self._hands.start(self._carry_out, order, verbs[address.name])

    def _was_seen(self, order: Order, message: Message) -> bool:
        if order.key is None:
            return False
        digest, now_ns = hash(message.payload), order.arrived_ns
        seen = self._remembered.find(order.key, digest, order.reply, now_ns)
        if seen is None:
            self._remembered.add(order.key, digest, order.reply, now_ns)
        elif seen.answer is not None:
            self.replies.send(order.reply, seen.answer)
        return seen is not None

    async def _carry_out(self, order: Order, carry: Carry) -> None:
        try:
            rest_s = order.rest_s(self._now_ns())
            if rest_s is not None and rest_s <= 0:
                raise expired("the order had expired when it came")  # noqa: TRY301 - one way out
            self.answer(order, await carry(order))
        except Exception as error:  # noqa: BLE001 - whatever it is, who asked gets an answer
            self.answer(order, refusal_of(error))
        finally:
            self._under_way -= 1

    def answer(self, order: Order, told: Told | Refusal | None) -> None:
        """Answer an order; None where it was answered before."""
        if told is None:
            return
        if isinstance(told, Answer):
            answer = told
        elif isinstance(told, Refusal):
            answer = encode_refusal(told, answer_id=order.reply.id)
        else:
            answer = encode_reply(told, answer_id=order.reply.id)
        if order.key is not None:
            self._remembered.answered(order.key, answer)
            if isinstance(told, Refusal):
                self._remembered.forget(order.key)
        self.replies.send(order.reply, answer)

    def note(self, order: Order, kind: str, told: Mapping[str, Any]) -> None:
        """Tell whoever gave an order something more."""
        self.replies.note(order.reply, kind, told)


def _said(message: Message) -> Mapping[str, Any]:
    """What an order says: a JSON object, nothing, or a bare model name."""
    payload = message.payload.strip()
    if len(payload) > ORDER_MAX_BYTES:
        raise too_large(f"an order has at most {ORDER_MAX_BYTES} bytes")
    if not payload:
        return {}
    if not payload.startswith((b"{", b"[", b'"')):
        try:
            return {"model": payload.decode("utf-8")}
        except UnicodeDecodeError:
            raise bad_request("the order is neither JSON nor a model's name") from None
    said = decode_json(payload)
    if not isinstance(said, dict):
        raise bad_request('an order is a JSON object, as {"model": "faces"}')
    return said
