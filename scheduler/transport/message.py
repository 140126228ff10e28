"""One MQTT message as both sides see it, free of any library."""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduler.transport.receipt import Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that came in or is to go out.

    Of MQTT 5's properties: `content_type`, `response_topic`, `correlation` (its correlation data),
    `expiry_s` (the message expiry that is left) and `user`, the user properties in their order.
    Under MQTT 3.1.1 none of them is set. `receipt` is there where the broker waits for us to say
    that the message has been dealt with.
    """

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    content_type: str | None = None
    response_topic: str | None = None
    correlation: bytes | None = None
    expiry_s: int | None = None
    user: tuple[tuple[str, str], ...] = ()
    receipt: Receipt | None = field(default=None, compare=False, repr=False)

    def acknowledge(self) -> None:
        """Give the receipt, if the broker waits for one."""
        if self.receipt is not None:
            self.receipt.give()

    @property
    def held_bytes(self) -> int:
        """What keeping it costs, roughly: the payload and the texts."""
        texts = sum(len(key) + len(value) for key, value in self.user)
        return len(self.payload) + len(self.topic) + len(self.correlation or b"") + texts
