"""One standing connection to the broker: it comes back by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import aiomqtt
import anyio

from scheduler.runtime.clock import Clock
from scheduler.transport.backoff import Backoff
from scheduler.transport.link import Link, close, connect
from scheduler.transport.message import Message
from scheduler.transport.outbox import REFUSED, Letter, OnTold, Outbox

if TYPE_CHECKING:
    from scheduler.transport.wire import Wire

TAKEN_OVER = 0x8E
"""MQTT 5's reason code of a session that another connection took over."""

SUCCESS = 0

FAREWELL_S = 1.0

_log = logging.getLogger(__name__)


class Connection:
    """Connects, subscribes, and then calls `on_up`; after a loss it does all of it again.

    The session is resumed, so what the broker took for us in between comes then. `on_message` gets
    every message in the call that reads it: it must be quick, and never raise. `will` is asked for
    anew for each connection. `on_failure` is called when none could be made, or one has ended, with
    `fault` saying why.
    """

    def __init__(
        self,
        link: Link,
        *,
        filters: tuple[str, ...],
        on_message: Callable[[Message], None],
        clock: Clock,
        on_up: Callable[[], None] | None = None,
        on_failure: Callable[[], None] | None = None,
        will: Callable[[], Message] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.outbox = Outbox()
        self.losses = 0
        self._link = link
        self._filters = filters
        self._held: tuple[str, ...] = ()
        self._on_message = on_message
        self._on_up = on_up
        self._on_failure = on_failure
        self._will = will
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._wire: Wire | None = None
        self._has_been_up = False
        self._up_ns: int | None = None
        self.fault: str | None = None
        """Why there is no connection, as it was logged; None while there is one."""
        self._packet_max_bytes = link.packet_max_bytes
        self._unreadable = 0

    @property
    def is_up(self) -> bool:
        """Connected, and subscribed to everything."""
        return self._wire is not None

    @property
    def packet_max_bytes(self) -> int:
        """The largest packet that the broker last said it takes."""
        return self._packet_max_bytes

    @property
    def unreadable(self) -> int:
        """How many malformed messages came."""
        return self._unreadable + (0 if self._wire is None else self._wire.unreadable)

    def send(self, message: Message, *, keeps: bool = True, on_told: OnTold = None) -> None:
        """Send, or with `keeps` keep for later what cannot go now. Never raises, never waits.

        Without `keeps` it is not sent again either when the connection breaks before its
        acknowledgement: whoever sends it knows better what to say by then.
        """
        letter = self.outbox.letter(message, self._clock.now_ns(), on_told, keeps=keeps)
        if not self._post(letter) and keeps:
            self.outbox.keep(letter)

    def _post(self, letter: Letter) -> bool:
        if self._wire is None:
            return False
        try:
            number = self._wire.post(letter.message)
        except aiomqtt.MqttError:
            return False
        except ValueError as error:
            _log.warning("an answer to %.100r cannot be sent: %s", letter.message.topic, error)
            return True
        if number is not None:
            self.outbox.sent(number, letter)
        elif letter.on_told is not None:
            letter.on_told(SUCCESS)
        return True

    def _published(self, number: int, code: int) -> None:
        letter = self.outbox.acknowledged(number)
        if letter is None:
            return
        if letter.on_told is not None:
            letter.on_told(code)
        elif code >= REFUSED:
            _log.warning("the broker refuses what goes to %s: %#x", letter.message.topic, code)

    async def run(self) -> None:
        """Stay connected until cancelled; then what was sent last goes out, and we disconnect."""
        while True:
            self._up_ns = None
            error = await self._connect_once()
            lasted_s = None if self._up_ns is None else (self._clock.now_ns() - self._up_ns) / 1e9
            delay_s = self._backoff.delay_s(lasted_s, taken_over=_reason_code(error) == TAKEN_OVER)
            self._tell(error)
            if self._on_failure is not None:
                self._on_failure()
            await anyio.sleep(delay_s)

    async def _connect_once(self) -> Exception:
        """Serve one connection; returns why it could not be made, or ended."""
        wire = self._make_wire()
        try:
            await connect(wire)
        except (aiomqtt.MqttError, OSError) as error:
            return error
        try:
            await self._subscribe(wire)
            while self._held != self._filters:  # other filters were asked for meanwhile
                await self._subscribe(wire)
            self._went_up(wire)
            await wire.lost()
        except aiomqtt.MqttError as error:
            return error
        finally:
            self._went_down()
            with anyio.CancelScope(shield=True), anyio.move_on_after(FAREWELL_S):
                await close(wire)
        raise AssertionError("`lost` only ends by raising")

    async def _subscribe(self, wire: Wire) -> None:
        """Subscribe to all that is wanted, and to nothing else that the session may still hold."""
        wanted, held = self._filters, self._held
        self._held = (*held, *(topic for topic in wanted if topic not in held))
        await wire.listen(wanted)
        await wire.unlisten(tuple(topic for topic in held if topic not in wanted))
        self._held = wanted

    async def refilter(self, filters: tuple[str, ...]) -> None:
        """Listen to `filters` and to nothing else, from now on, over reconnects as well.

        Without a connection it is done when there is one; a broker that does not answer is asked
        again with the next call.
        """
        self._filters = filters
        if self._wire is None or self._held == filters:
            return
        try:
            await self._subscribe(self._wire)
        except aiomqtt.MqttError as error:
            _log.warning("the subscriptions at %s did not change: %s", self._link, error)

    def _make_wire(self) -> Wire:
        return self._link.wire(
            on_message=self._on_message,
            on_published=self._published,
            will=None if self._will is None else self._will(),
            resumes=self._has_been_up,
        )

    def _went_up(self, wire: Wire) -> None:
        self._wire = wire
        self._packet_max_bytes = wire.packet_max_bytes
        now_ns = self._up_ns = self._clock.now_ns()
        if self.fault is not None or not self._has_been_up:
            _log.info("connected to the broker %s", self._link)
        self.fault = None
        self._has_been_up = True
        for letter in self.outbox.take(now_ns):
            if not self._post(letter):
                self.outbox.keep(letter)
                break
        if self._on_up is not None:
            self._on_up()

    def _went_down(self) -> None:
        if self._wire is not None:
            self._unreadable += self._wire.unreadable
            self._wire = None
            self.losses += 1
        for letter in self.outbox.connection_lost():
            _log.warning(
                "what goes to %.100r broke the connection; it is given up", letter.message.topic
            )
            if letter.on_told is not None:
                letter.on_told(REFUSED)

    def _tell(self, error: Exception) -> None:
        """Log what is wrong, once for as long as it stays the same."""
        has_rival = self._backoff.has_rival
        if has_rival:
            fault = (
                f"the broker at {self._link.host}:{self._link.port} closes one connection after "
                f"the other: another client seems to use the client id {self._link.client_id}; "
                "give each node its own mqtt.client_id, or leave the key out"
            )
        else:
            cause = error.__cause__ or error
            fault = f"no connection to the broker {self._link}: {cause}"
        if fault != self.fault:
            self.fault = fault
            _log.log(logging.ERROR if has_rival else logging.WARNING, "%s; trying again", fault)


def _reason_code(error: BaseException | None) -> int | None:
    """The reason code that the broker gave, in the error or in what caused it."""
    while error is not None:
        code = getattr(error, "rc", None)
        value = getattr(code, "value", code)
        if isinstance(value, int):
            return value
        error = error.__cause__
    return None
