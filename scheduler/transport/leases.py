"""Leases held by programs elsewhere.

    leases/acquire  {"models": ["slam"], "priority": 90, "ttl_ms": 2000}
                 -> {"lease": 1876543210001, "models": ["slam"], "ttl_ms": 2000}
    leases/renew    {"lease": 1876543210001} -> {"lease": ..., "ttl_ms": 2000}
    leases/release  {"lease": 1876543210001} -> {"lease": ..., "released": true}

The token fences: it grows with every lease, over restarts of the node too, and requests that carry
it as the user property `lease` are refused as `lease_expired` once it has ended; their priority and
stream are the lease's. Who does not renew within the time to live loses the lease, whether the
connection still stands or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio

from scheduler.config.priority import read_priority
from scheduler.config.units import quoted
from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.transport.news import ASKING, News, Ticket
from scheduler.transport.refusal import Refusal, RefusalCode, bad_request

if TYPE_CHECKING:
    from scheduler.runtime.clock import Clock
    from scheduler.runtime.lease import Lease
    from scheduler.runtime.runtime import Runtime
    from scheduler.transport.orders import Carry, Order, OrderDesk

MS_NS = 1_000_000

TTL_DEFAULT_MS = 10_000
TTL_LEAST_MS = 50

LEASES_MAX = 64
"""Held or waited for at a time."""

WAIT_S = 30.0
"""How long an acquire waits that has no message expiry: nobody may be there to get it any more."""

RUNS_PER_SECOND = 4
"""A token begins with the time at which the node started, in quarters of a second: no node starts
twice in one."""

RUN_SHIFT = 19
"""Bits of a token below its start time: half a million leases for each quarter of a second that the
node has run. The whole stays below 2**53, which is what JSON numbers hold everywhere."""


class Held:
    """One lease, from its grant to its end."""

    __slots__ = ("lease", "over", "reason", "token", "ttl_ms")

    def __init__(self, lease: Lease, token: int, ttl_ms: int) -> None:
        self.lease = lease
        self.token = token
        self.ttl_ms = ttl_ms
        self.over = anyio.Event()
        self.reason: Reason | None = None

    def end(self, reason: Reason | None) -> None:
        """It has been taken back, or let go."""
        self.reason = reason
        self.over.set()


class Leases:
    """The verbs of `leases`, and the leases by their tokens; `started_at` begins these."""

    def __init__(
        self, runtime: Runtime, news: News, *, ttl_max_ns: int, started_at: int, clock: Clock
    ) -> None:
        self._runtime = runtime
        self._news = news
        self._ttl_max_ms = ttl_max_ns // MS_NS
        self._started = started_at << RUN_SHIFT
        self._now_ns = clock.now_ns
        self._held: dict[int, Held] = {}
        self._count = 0
        self._desk: OrderDesk | None = None

    def answer_through(self, desk: OrderDesk) -> None:
        """An acquire is answered while it goes on; this is where."""
        self._desk = desk

    @property
    def verbs(self) -> Mapping[str, Carry]:
        """What can be asked, by name."""
        return {"acquire": self._acquire, "renew": self._renew, "release": self._release}

    def lease_of(self, token: int) -> Lease:
        """The lease of a token. Raises Refusal for one that has ended, or never was."""
        return self._find(token).lease

    def _find(self, token: int) -> Held:
        held = self._held.get(token)
        if held is None:
            raise Refusal(
                ReasonCode.LEASE_EXPIRED,
                f"the lease {token} has ended; acquire another",
                outcome=Outcome.PREEMPTED,
            )
        return held

    async def _acquire(self, order: Order) -> None:
        """Hold the lease for as long as it lasts; answered when it is granted."""
        order.only("models", "priority", "ttl_ms")
        models, ttl_ms = _models(order.said.get("models")), self._ttl_ms(order.said.get("ttl_ms"))
        priority = _priority(order.said.get("priority"))
        if self._count >= LEASES_MAX:
            raise Refusal(
                RefusalCode.BUSY, f"{LEASES_MAX} leases are held or waited for; try later"
            )
        rest_s = order.rest_s(self._now_ns())
        deadline = WAIT_S if rest_s is None else rest_s
        self._count += 1
        try:
            await self._hold(order, models, priority, ttl_ms, deadline)
        finally:
            self._count -= 1

    async def _hold(
        self,
        order: Order,
        models: tuple[str, ...],
        priority: int | None,
        ttl_ms: int,
        deadline: float,
    ) -> None:
        ticket = Ticket()
        ASKING.set(ticket)
        lease = self._runtime.lease(
            *models, priority=priority, ttl=ttl_ms / 1000, deadline=deadline
        )
        async with lease:
            held = Held(lease, self._started + lease.lease_id, ttl_ms)
            self._held[held.token] = held
            try:
                if ticket.request_id is not None:
                    self._news.when_finished(ticket.request_id, held.end)
                told = {"lease": held.token, "models": list(models), "ttl_ms": ttl_ms}
                self._answering().answer(order, told)
                await held.over.wait()
            finally:
                del self._held[held.token]
        if held.reason is not None:
            self._tell_end(order, held, held.reason)

    def _tell_end(self, order: Order, held: Held, reason: Reason) -> None:
        told = {"lease": held.token, "code": reason.code.value, "message": str(reason)}
        self._answering().note(order, "lease_ended", told)

    async def _renew(self, order: Order) -> Mapping[str, Any]:
        order.only("lease")
        held = self._find(_token(order.said.get("lease")))
        held.lease.renew()
        return {"lease": held.token, "ttl_ms": held.ttl_ms}

    async def _release(self, order: Order) -> Mapping[str, Any]:
        order.only("lease")
        held = self._find(_token(order.said.get("lease")))
        held.end(None)
        return {"lease": held.token, "released": True}

    def _answering(self) -> OrderDesk:
        if self._desk is None:
            raise RuntimeError("there is no desk to answer through")
        return self._desk

    def _ttl_ms(self, said: Any) -> int:
        """The time to live: what is said, within the bounds that the node sets."""
        if said is None:
            return min(TTL_DEFAULT_MS, self._ttl_max_ms)
        if type(said) is not int or said <= 0:
            raise bad_request(f"ttl_ms is {quoted(said)}; send whole milliseconds of more than 0")
        return max(TTL_LEAST_MS, min(said, self._ttl_max_ms))


def _models(said: Any) -> tuple[str, ...]:
    is_list = isinstance(said, list) and all(isinstance(name, str) for name in said)
    if not is_list or not said or len(set(said)) < len(said):
        raise bad_request('acquire needs {"models": [...]}, each name once')
    return tuple(said)


def _priority(said: Any) -> int | None:
    try:
        return None if said is None else read_priority(said)
    except ValueError as error:
        raise bad_request(f"priority: {error}") from None


def _token(said: Any) -> int:
    if type(said) is not int:
        raise bad_request(f"lease is {quoted(said)}; send the token that acquire answered")
    return said
