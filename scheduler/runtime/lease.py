"""A lease in a program's hands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from scheduler.runtime.call import FormUsed
    from scheduler.runtime.caller import Caller
    from scheduler.runtime.grant import Hold


class Lease:
    """The right to use one or more engines, all of them or none, for several calls.

    Made by `Runtime.lease`, used as `async with`: entering waits until the engines are loaded and
    nobody else uses them, leaving lets them go. Leaving never awaits, so it works in a cancelled
    scope; work that still runs in an engine's thread then ends by itself, and the engine stays
    taken until it has.
    """

    def __init__(
        self,
        caller: Callable[[], Caller],
        models: tuple[str, ...],
        *,
        priority: int | str | None,
        ttl: float | None,
        deadline: float | None,
    ) -> None:
        if not models or len(set(models)) < len(models):
            raise ValueError("a lease needs one or more models, each named once")
        self._models = models
        self._find_caller = caller
        self._priority = priority
        self._ttl = ttl
        self._deadline = deadline
        self._caller: Caller | None = None
        self._hold: Hold | None = None

    def __repr__(self) -> str:
        names = ", ".join(self._models)
        return (
            f"<lease on {names}>" if self._hold is None else f"<lease {self.lease_id} on {names}>"
        )

    async def __aenter__(self) -> Self:
        """Wait for the lease.

        Raises RequestError (`NeverFits`, `DeadlineMissed`, `InferenceFailed` when an engine cannot
        be loaded, and so on), and ValueError for a priority, ttl or deadline that is none.
        """
        if self._hold is not None:
            raise RuntimeError("this lease was taken already; ask the runtime for another")
        self._caller = self._find_caller()
        self._hold = await self._caller.hold(
            self._models, priority=self._priority, ttl=self._ttl, deadline=self._deadline
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the engines go."""
        caller, hold = self._taken()
        caller.driver.release(hold)

    @property
    def lease_id(self) -> int:
        """The lease's number in traces and snapshots. Raises RuntimeError before entering."""
        return self._taken()[1].lease_id

    async def infer(
        self,
        payload: Any,
        *,
        model: str | None = None,
        deadline: float | None = None,
        items: int = 1,
        form: FormUsed | None = None,
    ) -> Any:
        """Run an engine of this lease; `model` says which, when there are several.

        `form` is told which form of it answered.

        Raises LeaseRevoked when the lease was taken back; a run that had begun by then is finished
        and its result returned. Otherwise as `Runtime.infer`.
        """
        caller, hold = self._taken()
        if model is None and len(self._models) > 1:
            raise ValueError(f"which model? This lease is on {', '.join(self._models)}")
        name = model or self._models[0]
        if name not in self._models:
            raise ValueError(f"this lease is on {', '.join(self._models)}, not on {name}")
        return await caller.infer(name, payload, form, deadline=deadline, items=items, hold=hold)

    def renew(self) -> None:
        """Let the time to live start again. Raises LeaseRevoked when it is too late for that."""
        caller, hold = self._taken()
        caller.renew(hold)

    def _taken(self) -> tuple[Caller, Hold]:
        if self._caller is None or self._hold is None:
            raise RuntimeError("a lease is used inside `async with runtime.lease(...) as lease:`")
        return self._caller, self._hold
