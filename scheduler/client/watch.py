"""`Watch`: what nodes say of themselves, followed from elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from scheduler.config.mqtt import Mqtt
from scheduler.runtime.clock import MonotonicClock
from scheduler.transport.connection import Connection
from scheduler.transport.link import Link
from scheduler.transport.presence import STATUS_MAX_BYTES
from scheduler.transport.topics import Topics

if TYPE_CHECKING:
    from ssl import SSLContext
    from types import TracebackType

    from typing_extensions import Self

    from scheduler.transport.message import Message

NODES_MAX = 64
MODELS_MAX = 256
EVENTS_KEPT = 8
COUNT_MAX = 1_000_000
"""Deadlines missed in one event that are believed."""

QUIET_S = 0.3
"""What a broker retains comes at once and in one go: after so long without more it was all."""

ANY = "+"


@dataclass(slots=True)
class WatchedNode:
    """One node: its status, pools and models as they were last told, each as its JSON says.

    `events` are the last ones, with when they came; `missed` are the deadlines missed by model,
    both since the watch began.
    """

    status: dict[str, Any] = field(default_factory=dict)
    pools: dict[str, Any] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: deque[tuple[int, dict[str, Any]]] = field(
        default_factory=lambda: deque(maxlen=EVENTS_KEPT)
    )
    missed: Counter[str] = field(default_factory=Counter)

    @property
    def is_there(self) -> bool:
        """Whether it says that it serves, well or not so well."""
        return self.status.get("state") in ("online", "degraded")

    def take(self, levels: list[str], payload: bytes, now_ns: int) -> None:
        """Take in what came on a topic of this node, without its root. Anything may stand there."""
        told = read_told(payload)
        match levels:
            case ["status"]:
                self.status = told
            case ["memory"]:
                pools = told.get("pools")
                self.pools = pools if isinstance(pools, dict) else {}
            case ["models", model, "state"] if not told:
                self.models.pop(model, None)
            case ["models", model, "state"]:
                if model in self.models or len(self.models) < MODELS_MAX:
                    self.models[model] = told
            case ["events"] if told:
                self._note(told, now_ns)
            case _:
                pass

    def _note(self, event: dict[str, Any], now_ns: int) -> None:
        self.events.append((now_ns, event))
        model, count = event.get("model"), event.get("count")
        if event.get("event") == "missed" and isinstance(model, str) and isinstance(count, int):
            self.missed[model] += min(max(count, 0), COUNT_MAX)


class Watch:
    """One connection to a broker, over which the nodes below `prefix`, or one of them, are seen.

        async with Watch("mqtt://host:1883") as watch:
            await watch.settle(2.0)
            print(watch.nodes)

    It comes back by itself. It needs asyncio.
    """

    def __init__(
        self,
        url: str = "mqtt://localhost:1883",
        *,
        node: str | None = None,
        prefix: str = "rota",
        username: str | None = None,
        password: str | None = None,
        tls: SSLContext | None = None,
    ) -> None:
        """Raises ValueError for a url or prefix that cannot be one."""
        config = Mqtt.model_validate({"url": url, "prefix": prefix})
        if config.url.uses_tls and tls is None:
            raise ValueError(f"{url} needs tls, as ssl.create_default_context()")
        self.nodes: dict[str, WatchedNode] = {}
        self.clock = MonotonicClock()
        self._prefix = config.prefix
        self._changed = anyio.Event()
        self._opened: asyncio.Future[bool] | None = None
        self._running: asyncio.Task[None] | None = None
        topics = Topics(config.prefix, node or ANY)
        self._connection = Connection(
            Link(
                host=config.url.host,
                port=config.url.port,
                client_id=f"rota-watch-{os.urandom(6).hex()}",
                username=username,
                password=password,
                tls=tls,
            ),
            filters=(topics.status, topics.memory, topics.state(ANY), topics.events),
            on_message=self._take,
            clock=self.clock,
            on_up=lambda: self._settle_open(is_open=True),
            on_failure=lambda: self._settle_open(is_open=False),
        )

    async def __aenter__(self) -> Self:
        """Connect; tries once. Raises ConnectionError."""
        loop = asyncio.get_running_loop()
        self._opened = loop.create_future()
        self._running = loop.create_task(self._connection.run())
        if not await self._opened:
            fault = self._connection.fault
            await self._leave()
            raise ConnectionError(f"{fault}; is it there, and is the address right?")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take leave of the broker."""
        await self._leave()

    @property
    def fault(self) -> str | None:
        """Why there is no connection now, None while there is one."""
        return self._connection.fault

    async def change(self, limit_s: float) -> bool:
        """Wait until something more was told, for `limit_s` at most. Returns whether it was."""
        with anyio.move_on_after(limit_s):
            await self._changed.wait()
        was_told = self._changed.is_set()
        self._changed = anyio.Event()
        return was_told

    async def settle(self, limit_s: float) -> None:
        """Wait until all that is retained is here: until nothing more comes, or `limit_s`."""
        with anyio.move_on_after(limit_s):
            while await self.change(QUIET_S) or not self.nodes:
                pass

    async def _leave(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    def _settle_open(self, *, is_open: bool) -> None:
        self._changed.set()
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(is_open)

    def _take(self, message: Message) -> None:
        message.acknowledge()
        name, *levels = message.topic[len(self._prefix) + 1 :].split("/")
        if name not in self.nodes:
            if not message.payload or len(self.nodes) >= NODES_MAX:
                return
            self.nodes[name] = WatchedNode()
        self.nodes[name].take(levels, message.payload, self.clock.now_ns())
        self._changed.set()


def read_told(payload: bytes) -> dict[str, Any]:
    """What a node told, empty for what was taken away and what is no such message."""
    if not payload or len(payload) > STATUS_MAX_BYTES:
        return {}
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
