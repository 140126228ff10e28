"""The leases that the core has granted, as the runtime keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.outcome import Outcome, Reason

if TYPE_CHECKING:
    from scheduler.runtime.call import Call
    from scheduler.runtime.engine_thread import EngineThread


class Hold:
    """A lease in its caller's hands. `runs` are the leases of the calls that run under it now.

    `over` says how and why no further call is taken: it was revoked, let go, or its engine lost.
    """

    __slots__ = ("lease_id", "models", "over", "request_id", "runs")

    def __init__(self, lease_id: int, request_id: int, models: tuple[str, ...]) -> None:
        self.lease_id = lease_id
        self.request_id = request_id
        self.models = models
        self.runs: set[int] = set()
        self.over: tuple[Outcome, Reason | None] | None = None


class Run:
    """A lease that an engine's thread works on. `hold` is the lease it belongs to, if any."""

    __slots__ = ("calls", "engine", "hold", "in_turn", "is_called_off")

    def __init__(
        self, engine: EngineThread, calls: list[Call], hold: Hold | None, *, in_turn: bool
    ) -> None:
        self.engine = engine
        self.calls = calls
        self.hold = hold
        self.in_turn = in_turn
        self.is_called_off = False
