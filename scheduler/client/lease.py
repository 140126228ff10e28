"""A lease of a node's engines, in the hands of a program elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scheduler.client.failure import error_for
from scheduler.client.question import tell
from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.errors import LeaseRevoked, RequestError
from scheduler.transport.refusal import Refusal

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from scheduler.client.client import RotaClient
    from scheduler.transport.message import Message

RENEWALS = 3
"""A lease is renewed this often within its time to live: two may be lost or late."""

_log = logging.getLogger(__name__)


class RemoteLease:
    """Made by `RotaClient.lease`, used as `async with`.

    While the block lasts it is renewed by itself, three times within its `ttl`. A program that
    crashes, hangs or loses the network loses the lease when its time to live ends.
    """

    def __init__(
        self,
        client: RotaClient,
        models: tuple[str, ...],
        *,
        priority: int | str | None,
        ttl: float,
        deadline: float | None,
    ) -> None:
        if not models or len(set(models)) < len(models):
            raise ValueError("a lease needs one or more models, each named once")
        self._client = client
        self._models = models
        self._said = {"models": list(models), "ttl_ms": max(1, int(ttl * 1000))}
        if priority is not None:
            self._said["priority"] = priority
        self._deadline = deadline
        self._granted: Message | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._error: RequestError | None = None
        self.token = 0
        """Its fencing token: grows with every lease of the node."""

    def __repr__(self) -> str:
        return f"<lease {self.token or 'not taken'} on {', '.join(self._models)}>"

    async def __aenter__(self) -> Self:
        """Wait for the lease. Raises RequestError, as `Runtime.lease` does."""
        if self._granted is not None:
            raise RuntimeError("this lease was taken already; ask the client for another")
        asking = asyncio.get_running_loop().create_task(self._acquire())
        try:
            await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(self._let_go_later)
            raise
        return self

    async def _acquire(self) -> None:
        message, told = await self._client.order_lease(
            "acquire", self._said, deadline=self._deadline, keep_watch=self._ended
        )
        self._granted, self.token = message, told["lease"]
        ttl_s = told["ttl_ms"] / 1000
        self._renewing = asyncio.get_running_loop().create_task(self._keep_renewing(ttl_s))

    def _let_go_later(self, asking: asyncio.Task[None]) -> None:
        """Who wanted it has gone meanwhile."""
        if not asking.cancelled() and asking.exception() is None:
            self._client.later(self._let_go)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the engines go. The node is told, and its word on it is not waited for."""
        self._client.later(self._let_go)

    async def _let_go(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        if self._granted is not None:
            self._client.unwatch(self._granted)
        if self._error is None:
            try:
                await self._client.order_lease("release", {"lease": self.token})
            except RequestError as error:
                _log.debug("a lease was not released by us: %s", error)

    async def infer(
        self,
        payload: Any,
        *,
        model: str | None = None,
        deadline: float | None = None,
        accept: str | None = None,
    ) -> Any:
        """Run an engine of this lease; `model` says which, when there are several.

        Raises LeaseRevoked when it was taken back or has run out. Otherwise as `RotaClient.infer`.
        """
        if model is None and len(self._models) > 1:
            raise ValueError(f"which model? This lease is on {', '.join(self._models)}")
        name = model or self._models[0]
        if name not in self._models:
            raise ValueError(f"this lease is on {', '.join(self._models)}, not on {name}")
        self._check()
        return await self._client.infer(
            name, payload, deadline=deadline, accept=accept, lease=self.token
        )

    async def renew(self) -> None:
        """Let the time to live start again now. Raises LeaseRevoked when it is too late."""
        self._check()
        await self._renew(None)

    async def _renew(self, deadline: float | None) -> None:
        try:
            await self._client.order_lease("renew", {"lease": self.token}, deadline=deadline)
        except LeaseRevoked as error:
            self._error = error
            raise

    def _check(self) -> None:
        if self._granted is None:
            raise RuntimeError("a lease is used inside `async with client.lease(...) as lease:`")
        if self._error is not None:
            raise self._error

    async def _keep_renewing(self, ttl_s: float) -> None:
        """Renew until it has ended; unheard for its whole time to live, it has."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + ttl_s
        while self._error is None:
            await asyncio.sleep(ttl_s / RENEWALS)
            asked = loop.time()
            try:
                await self._renew(ttl_s / RENEWALS)
                ends = asked + ttl_s
            except RequestError as error:
                _log.debug("%r could not be renewed: %s", self, error)
                if loop.time() >= ends:
                    reason = Reason(ReasonCode.LEASE_EXPIRED, f"the node was not reached: {error}")
                    self._error = LeaseRevoked(reason)

    def _ended(self, message: Message) -> None:
        tell(self._take_end, message)

    def _take_end(self, told: Mapping[str, Any]) -> None:
        code, text = str(told.get("code")), str(told.get("message"))
        self._error = error_for(Refusal(code, text, outcome=Outcome.PREEMPTED))
