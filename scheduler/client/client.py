"""`RotaClient`: a node's models, asked from a program elsewhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import anyio

from scheduler.client.encoding import encode
from scheduler.client.exchange import Exchange
from scheduler.client.failure import error_for
from scheduler.client.frames import ClientFrames
from scheduler.client.lease import RemoteLease
from scheduler.client.question import OnNotice, terms_of
from scheduler.config.mqtt import Mqtt
from scheduler.config.units import DURATION_MAX_NS
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.errors import DeadlineMissed, ModeRefused, Rejected, ShuttingDown
from scheduler.runtime.clock import MonotonicClock
from scheduler.runtime.seconds import span_ns
from scheduler.transport.answer import decode_answer, to_bytes
from scheduler.transport.link import Link
from scheduler.transport.payload import JSON, NPY
from scheduler.transport.refusal import Refusal
from scheduler.transport.topics import Topics

if TYPE_CHECKING:
    from ssl import SSLContext
    from types import TracebackType

    from typing_extensions import Self

    from scheduler.transport.message import Message

CONNECT_S = 10.0
PATIENCE_S = 60.0
"""How long an answer is waited for when no deadline was given."""

FAREWELL_S = 1.0
"""How long what is still to be said, as the release of a lease, may take when the client closes."""


class RotaClient:
    """One connection to a broker, through which many tasks may ask one node at a time.

        async with RotaClient("mqtt://host:1883", node="rover-1") as rota:
            faces = await rota.infer("faces", Path("face.jpg"), deadline=0.2)

    It comes back by itself when the connection, the broker or the node was away, and asks again
    what is open under the same id, which the node answers once. At most `in_flight` requests are
    under way, further ones wait for their turn. A task that is cancelled has the node cancel
    its request. Every method raises the classes that `Runtime` does; `DeadlineMissed` also when
    there is no answer for `patience` seconds where no deadline was given. To be entered it tries
    for `connect` seconds to reach the broker, with 0 once. It needs asyncio.

    With `frames`, what is large passes through shared memory where the node allows that and runs on
    the same machine as the same user; `frames_fault` says what keeps it from doing so.
    """

    def __init__(
        self,
        url: str = "mqtt://localhost:1883",
        *,
        node: str,
        prefix: str = "rota",
        client_id: str | None = None,
        username: str | None = None,
        password: str | None = None,
        tls: SSLContext | None = None,
        qos: int = 1,
        in_flight: int = 64,
        connect: float = CONNECT_S,
        patience: float = PATIENCE_S,
        frames: bool = False,
    ) -> None:
        """Raises ValueError for a url, prefix or client id that cannot be one."""
        config = Mqtt.model_validate({"url": url, "prefix": prefix, "client_id": client_id})
        if config.url.uses_tls and tls is None:
            raise ValueError(f"{url} needs tls, as ssl.create_default_context()")
        if qos not in (0, 1):
            raise ValueError(f"qos is {qos}; it is 0 (may be lost) or 1 (is delivered)")
        self._topics = Topics(config.prefix, node)
        self._link = Link(
            host=config.url.host,
            port=config.url.port,
            client_id=client_id or f"rota-client-{os.urandom(6).hex()}",
            tls=tls,
            username=username,
            password=password,
        )
        self._qos = qos
        self._slots = anyio.Semaphore(in_flight, fast_acquire=True)
        self._connect_s = connect
        self._patience_s = patience
        self._clock = MonotonicClock()
        self._exchange: Exchange | None = None
        self._uses_frames = frames
        self._frames = ClientFrames()
        self._asides: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<client of {self._topics.root} at {self._link.host}:{self._link.port}>"

    async def __aenter__(self) -> Self:
        """Connect. Raises ConnectionError when there is no broker, RuntimeError under trio."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("RotaClient runs under asyncio, as its MQTT library does") from None
        exchange = Exchange(
            self._link,
            self._topics,
            fails=error_for,
            on_late=self._frames.leave,
            clock=self._clock,
        )
        await exchange.open(self._connect_s)
        self._exchange = exchange
        if self._uses_frames:
            self._frames.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Say what is still to be said, and take leave of the broker."""
        with anyio.CancelScope(shield=True):
            if self._asides:
                _, late = await asyncio.wait(self._asides, timeout=FAREWELL_S)
                for task in late:
                    task.cancel()
            await self._running().close()
            self._frames.close()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to the broker now."""
        return self._exchange is not None and self._exchange.is_up

    @property
    def node_status(self) -> Mapping[str, Any]:
        """What the node last said of itself: `state` is online, degraded or offline."""
        return self._running().status

    @property
    def frames_fault(self) -> str | None:
        """Why what is large goes by message; None while it passes through shared memory."""
        return self._frames.fault(self._running().status)

    # -- requests ---------------------------------------------------------------------------

    async def infer(
        self,
        model: str,
        payload: Any,
        *,
        deadline: float | None = None,
        priority: int | str | None = None,
        stream: str | None = None,
        accept: str | None = NPY,
        notify: OnNotice = None,
        lease: int | None = None,
    ) -> Any:
        """Run a model of the node once and return its result.

        Args:
            model: the model's name.
            payload: an array, a `Path` to an npy, jpg, png, wav or json file, such a file's bytes,
                a Pillow image, a mapping of names to arrays, `EXAMPLE`, or what JSON can say.
            deadline: seconds from now after which the answer is of no use; None for the model's.
            priority: 0 to 100, higher goes first, or a word such as "high"; None for the model's.
            stream: the source, of which `queue.keep: latest` keeps the newest request alone.
            accept: the content type wanted of a result that is one array.
            notify: called with `{"position": 3, "message": "3rd in line, ...", ...}` while waiting.
            lease: the fencing token of a lease; `lease(...)` gives it by itself.

        Raises:
            RequestError: as `Runtime.infer`; `reason.code` says why, also in the words of the
                node's edge (bad_request, unsupported, too_large).
            ValueError, TypeError, OSError: what was given cannot be asked or sent.
        """
        exchange = self._running()
        ends_ns = self._ends_ns(deadline)
        wanted = await self._frames.wanted(accept, exchange)
        user = terms_of(priority, stream, wanted, lease, tells=notify is not None)
        encoded, topic = await encode(payload), self._topics.infer(model)
        await self._take_turn(ends_ns)
        try:
            with self._frames.laid(encoded, exchange.status) as sent:
                question = exchange.question(
                    topic, sent, ends_ns=ends_ns, user=user, qos=self._qos, on_notice=notify
                )
                return self._read(await exchange.ask(question, patience_s=self._patience_s))
        finally:
            self._slots.release()

    def _ends_ns(self, deadline: float | None) -> int | None:
        if deadline is None:
            return None
        span = span_ns(deadline, "deadline")
        return self._clock.now_ns() + (DURATION_MAX_NS if span is None else span)

    async def _take_turn(self, ends_ns: int | None) -> None:
        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            rest_s = None if ends_ns is None else max(0.0, (ends_ns - self._clock.now_ns()) / 1e9)
            with anyio.move_on_after(rest_s):
                await self._slots.acquire()
                return
            text = "it waited for its turn in this client; see in_flight"
            raise DeadlineMissed(Reason(ReasonCode.DEADLINE_PASSED, text)) from None

    # -- leases -----------------------------------------------------------------------------

    def lease(
        self,
        *models: str,
        priority: int | str | None = None,
        ttl: float = 10.0,
        deadline: float | None = None,
    ) -> RemoteLease:
        """A lease on one or more models, to be used with `async with`.

        `ttl` is after how many seconds of silence it is taken back, within the node's own bound,
        `deadline` within how many seconds it must be granted. Raises ValueError unless each model
        is named once.
        """
        return RemoteLease(self, models, priority=priority, ttl=ttl, deadline=deadline)

    async def order_lease(
        self,
        verb: str,
        said: Mapping[str, Any],
        *,
        deadline: float | None = None,
        keep_watch: Callable[[Message], None] | None = None,
    ) -> tuple[Message, Mapping[str, Any]]:
        """Ask for something about leases; what `RemoteLease` does."""
        message = await self._order(self._topics.lease(verb), said, deadline, keep_watch)
        return message, self._read(message)

    def unwatch(self, granted: Message) -> None:
        """Nothing more is to come of a lease."""
        self._running().unwatch(granted)

    def later(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have `function` run beside; the client does not close before it has ended."""
        task = asyncio.get_running_loop().create_task(function())
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    # -- control ----------------------------------------------------------------------------

    async def load(self, model: str, *, deadline: float | None = None) -> None:
        """Have a model's engine in memory."""
        await self.control("load", {"model": model}, deadline=deadline)

    async def unload(self, model: str, *, deadline: float | None = None) -> None:
        """Have a model's engine out of memory."""
        await self.control("unload", {"model": model}, deadline=deadline)

    async def pin(self, model: str) -> None:
        """Load a model and never evict it."""
        await self.control("pin", {"model": model})

    async def unpin(self, model: str) -> None:
        """Take a pin away."""
        await self.control("unpin", {"model": model})

    async def set_priority(self, model: str, priority: int | str | None) -> int:
        """Give a model another priority, None for its own; returns the one in force."""
        said = {"model": model, "priority": "default" if priority is None else priority}
        return int((await self.control("priority", said))["priority"])

    async def switch(self, mode: str | None) -> Mapping[str, Any]:
        """Put a mode in force, None for none; returns what that came to, once it is reached.

        Raises ModeRefused for one that is not known or cannot be.
        """
        try:
            told: Mapping[str, Any] = await self.control("mode", {"mode": mode})
        except Rejected as error:
            raise error if isinstance(error, ShuttingDown) else ModeRefused(error.reason) from None
        return told

    async def drain(self, limit: float | None = None) -> bool:
        """Have the node end its running work and take no more; True when it has within `limit`."""
        said = {} if limit is None else {"limit_s": limit}
        told = await self.control("drain", said)
        return bool(told["drained"])

    async def dump(self) -> bytes:
        """The node's last steps, as a trace that `rota replay` and `rota explain` read."""
        message = await self._order(self._topics.control("dump"), {}, None)
        if message.content_type == JSON:
            self._read(message)
        return message.payload

    async def status(self) -> Mapping[str, Any]:
        """The node's whole state: pools, engines, leases, and what waits for what."""
        told: Mapping[str, Any] = await self.control("status", {})
        return told

    async def models(self) -> dict[str, Mapping[str, Any]]:
        """The state of each model by its name."""
        return {engine["model"]: engine for engine in (await self.status())["engines"]}

    async def control(
        self, verb: str, said: Mapping[str, Any], *, deadline: float | None = None
    ) -> Any:
        """Give the node an order and return its answer."""
        return self._read(await self._order(self._topics.control(verb), said, deadline))

    def _order(
        self,
        topic: str,
        said: Mapping[str, Any],
        deadline: float | None,
        keep_watch: Callable[[Message], None] | None = None,
    ) -> Awaitable[Message]:
        exchange = self._running()
        said_bytes = (to_bytes(said), JSON)
        question = exchange.question(topic, said_bytes, ends_ns=self._ends_ns(deadline))
        return exchange.ask(question, patience_s=self._patience_s, keep_watch=keep_watch)

    def _read(self, message: Message) -> Any:
        try:
            return decode_answer(self._frames.taken(message))
        except Refusal as refusal:
            error = error_for(refusal)
            raise error from error.__cause__

    def _running(self) -> Exchange:
        if self._exchange is None:
            raise RuntimeError("a client is used inside `async with RotaClient(...) as rota:`")
        return self._exchange
