"""Holding a lease on a model for as long as a source produces."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import anyio

from scheduler.core.model import SECOND_NS
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.errors import DeadlineMissed, LeaseRevoked, RequestError, ShuttingDown, UnknownModel
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

RETRY_NS = SECOND_NS
"""After a refusal (queue full, engine backing off) the lease is asked for again this much later."""


class Held(Protocol):
    """What `Runtime.lease` gives: an engine that is ours for a while."""

    async def infer(self, payload: Any, *, deadline: float | None) -> Any:
        """Answer within `deadline` seconds, or raise: LeaseRevoked when it was taken back."""

    def renew(self) -> None:
        """Let the lease's time to live start again."""


class TakeLease(Protocol):
    """`Runtime.lease`. Entering waits for the lease; raises a RequestError when there is none."""

    def __call__(
        self, model: str, /, *, priority: int | None, ttl: float | None
    ) -> AbstractAsyncContextManager[Held]:
        """A lease on `model`, for `ttl` seconds from when it is granted or renewed."""


class Tenure:
    """Keeps one lease on `model`: renewed with each frame, taken again after it was revoked.

    Run `hold` beside a feeder, and give the feeder `infer`.
    """

    def __init__(
        self, take: TakeLease, model: str, *, priority: int | None, ttl_ns: int | None, clock: Clock
    ) -> None:
        self._take = take
        self._model = model
        self._priority = priority
        self._ttl_s = None if ttl_ns is None else ttl_ns / SECOND_NS
        self._clock = clock
        self._engine: Held | None = None
        self._refusal: RequestError | None = None
        self._given = anyio.Event()
        self._revoked = anyio.Event()

    async def hold(self) -> None:
        """Hold until cancelled; returns only when the model is unknown or the runtime stops."""
        while self._refusal is None:
            await self._hold_until_lost()

    async def _hold_until_lost(self) -> None:
        try:
            await self._hold_once()
        except LeaseRevoked as revoked:
            _log.info("lease on %s was taken back: %s", self._model, revoked)
        except (UnknownModel, ShuttingDown) as refusal:
            self._refusal = refusal
            self._given.set()
        except RequestError as refusal:
            _log.warning("no lease on %s: %s; asking again", self._model, refusal)
            await self._clock.sleep_until(self._clock.now_ns() + RETRY_NS)

    async def infer(
        self,
        _model: str,
        payload: Any,
        *,
        deadline: float | None,
        priority: int | None,  # noqa: ARG002 - that of the lease counts
        stream: str | None,  # noqa: ARG002 - a lease has one caller
    ) -> Any:
        """Ask the leased engine, waiting for the lease if need be. `deadline` is in seconds.

        Raises:
            DeadlineMissed: the answer did not come in time, or the lease did not.
            LeaseRevoked: the lease was taken back meanwhile.
        """
        asked_ns = self._clock.now_ns()
        engine = await self._leased()
        left = deadline
        if deadline is not None:
            left = deadline - (self._clock.now_ns() - asked_ns) / SECOND_NS
            if left <= 0:
                why = f"{self._model}: the lease came after the frame's deadline"
                raise DeadlineMissed(Reason(ReasonCode.DEADLINE_PASSED, why))
        try:
            engine.renew()
            return await engine.infer(payload, deadline=left)
        except LeaseRevoked:
            if self._engine is engine:
                self._let_go()
                self._revoked.set()
            raise

    async def _leased(self) -> Held:
        while self._engine is None:
            if self._refusal is not None:
                raise self._refusal
            await self._given.wait()
        return self._engine

    async def _hold_once(self) -> None:
        try:
            async with self._take(self._model, priority=self._priority, ttl=self._ttl_s) as engine:
                self._engine, self._revoked = engine, anyio.Event()
                self._given.set()
                await self._revoked.wait()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self._engine = None
        if self._given.is_set():
            self._given = anyio.Event()
