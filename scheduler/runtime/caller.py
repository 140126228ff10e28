"""Turns a call of the Python interface into a request, and waits for its end."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from anyio.lowlevel import checkpoint

from scheduler.config.priority import read_priority
from scheduler.core.events import LeaseRenewed, RequestCancelled
from scheduler.core.request import Request, RequestKind
from scheduler.runtime.call import error_of
from scheduler.runtime.payload import payload_bytes
from scheduler.runtime.seconds import deadline_at_ns, span_ns

if TYPE_CHECKING:
    from scheduler.runtime.call import Call, FormUsed
    from scheduler.runtime.clock import Clock
    from scheduler.runtime.driver import Driver
    from scheduler.runtime.grant import Hold
    from scheduler.runtime.loop import Loop


class Caller:
    """Asks the driver on behalf of tasks. Whoever is cancelled while waiting cancels its request.

    That happens without awaiting, for code that awaits does not run in a cancelled scope.
    """

    def __init__(self, driver: Driver, loop: Loop, clock: Clock) -> None:
        self.driver = driver
        self._loop = loop
        self._now_ns = clock.now_ns
        self._ids = count(1)

    async def infer(
        self,
        model: str,
        payload: Any,
        form: FormUsed | None = None,
        *,
        deadline: float | None,
        items: int,
        priority: int | str | None = None,
        stream: str | None = None,
        hold: Hold | None = None,
    ) -> Any:
        """Run a model once, under `hold` where one is given. Raises what `Runtime.infer` raises."""
        if type(items) is not int or items < 1:
            raise ValueError(f"items is {items!r}; give a whole number of at least 1")
        request = Request(
            id=next(self._ids),
            models=(model,),
            priority=None if priority is None else read_priority(priority),
            deadline_ns=deadline_at_ns(deadline, self._now_ns()),
            items=items,
            payload_bytes=payload_bytes(payload),
            stream=stream,
            under_lease=None if hold is None else hold.lease_id,
        )
        if hold is not None and hold.over is not None:
            await checkpoint()
            raise error_of(*hold.over)
        call = self.driver.ask(request, payload)
        try:
            await call.served(self._loop)
        except BaseException:
            self._withdraw(call)
            raise
        if form is not None:
            form.variant, form.device = call.form
        return call.answer()

    async def change(self, kind: RequestKind, model: str) -> None:
        """Have a model's engine in memory (LOAD) or out of it (UNLOAD)."""
        call = self.driver.ask(Request(id=next(self._ids), models=(model,), kind=kind))
        await self._wait(call)
        call.answer()

    async def hold(
        self,
        models: tuple[str, ...],
        *,
        priority: int | str | None,
        ttl: float | None,
        deadline: float | None,
    ) -> Hold:
        """Wait for a lease on all of `models`. Its end is `driver.release`."""
        ttl_ns = span_ns(ttl, "ttl")
        if ttl_ns == 0:
            raise ValueError(f"ttl is {ttl}; give a number of seconds more than 0, or None")
        request = Request(
            id=next(self._ids),
            models=models,
            kind=RequestKind.HOLD,
            priority=None if priority is None else read_priority(priority),
            deadline_ns=deadline_at_ns(deadline, self._now_ns()),
            ttl_ns=ttl_ns,
        )
        call = self.driver.ask(request)
        await self._wait(call)
        if call.outcome is not None:  # refused, or revoked before this task could go on
            call.answer()
        return self.driver.hold(call)

    def renew(self, hold: Hold) -> None:
        """Let the time to live of a lease start again."""
        self.driver.tell(LeaseRenewed(hold.lease_id))
        if hold.over is not None:
            raise error_of(*hold.over)

    async def _wait(self, call: Call) -> None:
        try:
            await call.served(self._loop)
        except BaseException:
            self._withdraw(call)
            raise

    def _withdraw(self, call: Call) -> None:
        self.driver.tell(RequestCancelled(call.request.id))
