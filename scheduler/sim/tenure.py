"""Holding a lease for a source, in virtual time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from scheduler.core.events import LeaseRenewed
from scheduler.core.outcome import Outcome
from scheduler.core.request import Request, RequestKind
from scheduler.source.tenure import RETRY_NS

if TYPE_CHECKING:
    from scheduler.sim.simulator import Client, Simulator


class Tenure:
    """Keeps one lease on `model` for a feed, as the source's real tenure does.

    It is asked for at the start, renewed with each frame, and asked for again when a frame finds
    that it was taken back: that frame is lost. Frames wait for a lease that has not come yet.
    """

    def __init__(
        self, simulator: Simulator, model: str, *, priority: int | None, ttl_ns: int | None
    ) -> None:
        self._simulator = simulator
        self._models = (model,)
        self._priority = priority
        self._ttl_ns = ttl_ns
        self._lease_id: int | None = None
        self._is_over = False
        self._is_missed = False
        self._running = 0
        self._waiting: deque[tuple[int | None, Client]] = deque()

    def start(self, _: None = None) -> None:
        """Ask for the lease."""
        request = Request(
            id=self._simulator.next_request_id(),
            models=self._models,
            kind=RequestKind.HOLD,
            priority=self._priority,
            ttl_ns=self._ttl_ns,
        )
        self._simulator.ask_to_hold(request, self)

    def ask(self, deadline_ns: int | None, client: Client) -> None:
        """See Asking."""
        if self._is_over and not self._is_missed:
            self._miss()
            client.finished(Outcome.PREEMPTED)
        elif self._lease_id is None or self._is_over:
            self._waiting.append((deadline_ns, client))
        else:
            self._ask_under(self._lease_id, deadline_ns, client)

    def granted(self, lease_id: int) -> None:
        """See Holder."""
        self._lease_id = lease_id
        self._simulator.at(self._simulator.now_ns, self._serve_waiting)

    def finished(self, outcome: Outcome) -> None:
        """See Client: the request for the lease has ended, with the lease or without it."""
        del outcome
        if self._lease_id is None:
            self._simulator.at(self._simulator.now_ns + RETRY_NS, self.start)

    def revoked(self, lease_id: int) -> None:
        """See Holder."""
        del lease_id
        self._is_over = True
        self._simulator.at(self._simulator.now_ns, self._let_go)

    def run_started(self) -> None:
        """See Holder."""
        self._running += 1

    def run_ended(self) -> None:
        """See Holder."""
        self._running -= 1
        self._let_go()

    def run_lost(self) -> None:
        """A frame was refused or taken back, maybe because the lease is gone."""
        self._simulator.at(self._simulator.now_ns, self._miss)

    def _miss(self, _: None = None) -> None:
        """It is noticed that the lease is gone: ask for another one when it has ended."""
        if not self._is_over or self._is_missed:
            return
        if self._lease_id is None:
            self._is_over = False
            self.start()
        else:
            self._is_missed = True

    def _let_go(self, _: None = None) -> None:
        if self._lease_id is None or not self._is_over or self._running:
            return
        lease_id, self._lease_id = self._lease_id, None
        self._simulator.end_hold(lease_id)
        if self._is_missed:
            self._is_over = self._is_missed = False
            self.start()

    def _serve_waiting(self, _: None) -> None:
        while self._waiting and self._lease_id is not None and not self._is_over:
            deadline_ns, client = self._waiting.popleft()
            if deadline_ns is not None and deadline_ns <= self._simulator.now_ns:
                client.finished(Outcome.DEADLINE_MISSED)
            else:
                self._ask_under(self._lease_id, deadline_ns, client)
        if self._waiting:
            self._miss()

    def _ask_under(self, lease_id: int, deadline_ns: int | None, client: Client) -> None:
        self._simulator.tell(LeaseRenewed(lease_id))
        request = Request(
            id=self._simulator.next_request_id(),
            models=self._models,
            deadline_ns=deadline_ns,
            under_lease=lease_id,
        )
        self._simulator.ask(request, _Run(self, client))


class _Run:
    """A frame's request under the lease: the tenure hears too when it came to nothing."""

    def __init__(self, tenure: Tenure, client: Client) -> None:
        self._tenure = tenure
        self._client = client

    def finished(self, outcome: Outcome) -> None:
        """See Client."""
        if outcome in (Outcome.PREEMPTED, Outcome.REJECTED):
            self._tenure.run_lost()
        self._client.finished(outcome)
