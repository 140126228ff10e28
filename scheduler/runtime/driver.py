"""Acts on what the core decides, and tells it how that went.

    caller ───────── ask ──┐                          ┌──► Fleet: load, run, cancel, unload
    Fleet ─────────────────┼──► Pump.tell ──► core ───┼──► Hold: a lease in its caller's hands
    Timekeeper ────────────┘                          └──► Call: the answer

All of it happens on the event loop's thread, and nothing of it awaits.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import anyio

from scheduler.core import decisions as do
from scheduler.core.events import (
    DrainRequested,
    LeaseEnded,
    LeaseRevocationAsked,
    ModelRegistered,
    ModelRemoved,
    RequestArrived,
    RequestCancelled,
    TimerFired,
)
from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.core.scheduler import Scheduler
from scheduler.runtime.call import Call
from scheduler.runtime.failure import Failure, describe, is_out_of_memory
from scheduler.runtime.fleet import Fleet
from scheduler.runtime.grant import Hold, Run
from scheduler.runtime.pump import Cause, Observer, Pump
from scheduler.runtime.switching import Switching
from scheduler.runtime.timekeeper import Timekeeper

if TYPE_CHECKING:
    from scheduler.core.request import Request
    from scheduler.core.settings import Settings
    from scheduler.runtime.clock import Clock
    from scheduler.runtime.engine_thread import EngineThread, Measured
    from scheduler.runtime.loop import Loop
    from scheduler.runtime.measuring import Meter
    from scheduler.runtime.registration import Registration
    from scheduler.runtime.suspend import SuspendWatch

_log = logging.getLogger(__name__)

RELEASED = Reason(ReasonCode.LEASE_RELEASED, "its lease was let go")
BROKEN = Reason(ReasonCode.SHUTTING_DOWN, "the scheduler had an internal error")
GONE = Reason(ReasonCode.SHUTTING_DOWN, "the runtime has gone")


class Driver:
    """The calls, runs and holds of one runtime, keyed as the core names them."""

    def __init__(
        self,
        settings: Settings,
        *,
        loop: Loop,
        clock: Clock,
        observers: Iterable[Observer],
        meter: Meter,
        suspend: SuspendWatch,
    ) -> None:
        self.core = Scheduler(settings)
        self.models: dict[str, Registration] = {}
        self._clock = clock
        self._suspend = suspend
        self._calls: dict[int, Call] = {}
        self._runs: dict[int, Run] = {}
        self._holds: dict[int, Hold] = {}
        self._empty: anyio.Event | None = None
        self._give_up_ns: int | None = None
        self._broke_ns: int | None = None
        pump = Pump(self.core, self, now_ns=clock.now_ns, observers=observers)
        self.tell = pump.tell
        self._pump = pump
        self.switching = Switching(pump.tell)
        self._fleet = Fleet(
            self.models, self, pump.tell, loop=loop, meter=meter, now_ns=clock.now_ns
        )
        self._timekeeper = Timekeeper(clock, self.core.next_timer, self._time_passed)
        self._acts = {
            do.LoadEngine: self._fleet.load,
            do.UnloadEngine: self._fleet.unload,
            do.GrantLease: self._grant,
            do.RevokeLease: self._revoke,
            do.RaiseAlarm: self._alarm,
            do.SwitchMode: self.switching.began,
            do.RefuseMode: self.switching.refused,
            do.AnnounceMode: self.switching.reached,
        }
        loop.spawn(self._timekeeper.run)

    # -- what callers ask -------------------------------------------------------------------

    def ask(self, request: Request, payload: Any = None) -> Call:
        """Send a request; on return it may have ended already.

        Raises RuntimeError after a mistake of the scheduler's own: nothing is decided any more.
        """
        if self._pump.broken:
            raise RuntimeError("the scheduler had an internal error") from self._pump.broken
        call = self._calls[request.id] = Call(request, payload)
        self.tell(RequestArrived(request))
        return call

    def hold(self, call: Call) -> Hold:
        """The lease that a call for one has been granted."""
        assert call.lease_id is not None  # noqa: S101
        return self._holds[call.lease_id]

    def release(self, hold: Hold) -> None:
        """Its caller lets a lease go. It ends when the runs under it have ended."""
        if hold.over is None:
            hold.over = (Outcome.PREEMPTED, RELEASED)
            self._cancel_waiting_under(hold)
        self._end_when_idle(hold)

    def _cancel_waiting_under(self, hold: Hold) -> None:
        for call in list(self._calls.values()):
            if call.request.under_lease == hold.lease_id and call.lease_id is None:
                self.tell(RequestCancelled(call.request.id))

    def register(self, registration: Registration) -> None:
        """Add a model; its name is new and its pools exist."""
        self.models[registration.spec.name] = registration
        self.tell(ModelRegistered(registration.spec))

    def remove(self, model: str) -> anyio.Event:
        """Take a model away. The event is set when its engine has left the memory."""
        registration = self.models[model]
        if registration.gone is None:
            registration.gone = anyio.Event()
            self.tell(ModelRemoved(model))
            self._forget(model)
        return registration.gone

    def _forget(self, model: str) -> None:
        registration = self.models.get(model)
        if registration is None or registration.gone is None or model in self._fleet:
            return
        del self.models[model]
        registration.gone.set()

    # -- what the core decides --------------------------------------------------------------

    def act(self, decision: do.Decision, cause: Cause) -> None:
        """Act on one decision."""
        if isinstance(decision, do.FinishRequest):
            self._finish(decision, cause)
        else:
            self._acts[type(decision)](decision)  # type: ignore[operator] # keyed by its own type

    def _finish(self, decision: do.FinishRequest, cause: Cause) -> None:
        call = self._calls.pop(decision.request_id)
        if cause is not None and decision.outcome is Outcome.FAILED and call.cause is None:
            call.cause = cause
        call.finish(decision.outcome, decision.reason)
        if call.lease_id in self._holds:
            self._finish_hold(self._holds[call.lease_id], decision)

    def _finish_hold(self, hold: Hold, decision: do.FinishRequest) -> None:
        """The core ended it (the engine was lost, its caller cancelled): it has to end here too."""
        if hold.over is None:
            hold.over = (decision.outcome, decision.reason)
        self._end_when_idle(hold)

    def _grant(self, decision: do.GrantLease) -> None:
        calls = [self._calls[request_id] for request_id in decision.request_ids]
        if decision.holds:
            lease_id, request = decision.lease_id, calls[0].request
            calls[0].lease_id = lease_id
            self._holds[lease_id] = Hold(lease_id, request.id, request.models)
            calls[0].wake()
        else:
            self._run(decision, calls)

    def _run(self, decision: do.GrantLease, calls: list[Call]) -> None:
        lease_id, in_turn = decision.lease_id, decision.in_turn
        under = calls[0].request.under_lease
        hold = None if under is None else self._holds[under]
        if hold is not None:
            hold.runs.add(lease_id)
        engine = self._fleet[decision.engines[0].model]
        shared = len(calls) > 1 and not in_turn
        payloads = [call.start(lease_id, engine.form, shared=shared) for call in calls]
        self._runs[lease_id] = Run(engine, calls, hold, in_turn=in_turn)
        engine.run(lease_id, payloads, in_turn=in_turn)

    def _revoke(self, decision: do.RevokeLease) -> None:
        lease_id = decision.lease_id
        run, hold = self._runs.get(lease_id), self._holds.get(lease_id)
        if run is not None:
            run.is_called_off = True
            run.engine.cancel(lease_id)
        elif hold is not None:
            if hold.over is None:
                hold.over = (Outcome.PREEMPTED, decision.reason)
            self._end_when_idle(hold)

    def _end_when_idle(self, hold: Hold) -> None:
        """Hand a lease back that is over, when no run under it is left."""
        if not hold.runs and self._holds.pop(hold.lease_id, None) is not None:
            self.tell(LeaseEnded(hold.lease_id))

    def _alarm(self, decision: do.RaiseAlarm) -> None:
        _log.warning("%s: %s", decision.reason.code.value, decision.reason)

    def settled(self) -> None:
        """See whether the timekeeper sleeps too long, and whether a drain has come to its end."""
        self._timekeeper.look()
        if self._empty is not None:
            late = self._give_up_ns is not None and self._clock.now_ns() >= self._give_up_ns
            if late or self.is_empty or self._pump.broken:
                self._empty.set()

    def broke(self, error: Exception) -> None:
        """Give every caller an answer, since nothing else will."""
        self._broke_ns = self._clock.now_ns()
        self._timekeeper.stop()
        self._abandon(BROKEN, error)
        self.settled()

    def _abandon(self, reason: Reason, cause: Cause = None) -> None:
        for hold in self._holds.values():
            hold.over = hold.over or (Outcome.FAILED, reason)
        self.switching.close()
        while self._calls:
            _, call = self._calls.popitem()
            call.cause = call.cause or cause
            call.finish(Outcome.FAILED, reason)

    # -- what engines say -------------------------------------------------------------------

    def run_returned(
        self, lease_id: int, answer: list[Any] | Failure, measured: Measured, worked_ns: int
    ) -> None:
        """The work of a lease has stopped."""
        run = self._runs.pop(lease_id)
        by_model = {run.engine.model: measured} if measured else {}
        if isinstance(answer, Failure):
            self.tell(
                LeaseEnded(
                    lease_id,
                    Outcome.CANCELLED if run.is_called_off else Outcome.FAILED,
                    error=answer.text,
                    out_of_memory=answer.out_of_memory,
                    measured=by_model,
                ),
                answer.exception,
            )
        else:
            outcome = Outcome.CANCELLED if run.is_called_off else Outcome.COMPLETED
            errors = _deliver(run.calls, answer)
            short = bool(errors) and run.in_turn and any(map(is_out_of_memory, answer))
            self.tell(LeaseEnded(lease_id, outcome, "", errors, short, by_model, worked_ns))
        self._leave_hold(run.hold, lease_id)

    def engine_gone(self, engine: EngineThread) -> None:
        """An engine's thread has ended, and its runs with it when it died."""
        for lease_id in [key for key, run in self._runs.items() if run.engine is engine]:
            self._leave_hold(self._runs.pop(lease_id).hold, lease_id)
        self._forget(engine.model)

    def _leave_hold(self, hold: Hold | None, lease_id: int) -> None:
        if hold is not None:
            hold.runs.discard(lease_id)
            if hold.over is not None:
                self._end_when_idle(hold)

    # -- time and the end -------------------------------------------------------------------

    def _time_passed(self) -> None:
        slept_ns = self._suspend.slept_ns()
        if slept_ns:
            self._woke_up(slept_ns)
        self.tell(TimerFired())

    def _woke_up(self, slept_ns: int) -> None:
        """Held leases whose time ran out while the machine slept are taken back."""
        _log.warning("the machine was suspended for %.1f s", slept_ns / 1e9)
        now_ns = self._clock.now_ns()
        for lease in self.core.snapshot().leases:
            if lease.expires_ns is not None and lease.expires_ns - slept_ns <= now_ns:
                self.tell(LeaseRevocationAsked(lease.lease_id))

    @property
    def is_empty(self) -> bool:
        """Nothing is in memory and nobody waits."""
        return not self._calls and not self._fleet

    def oldest_runnable_ns(self) -> int:
        """For how long something that could go on has not: an overdue timer, an unheard engine."""
        now_ns = self._clock.now_ns()
        broken_ns = 0 if self._broke_ns is None else now_ns - self._broke_ns
        unheard_ns = self._fleet.oldest_answer_ns(now_ns)
        return max(self._timekeeper.overdue_ns(), unheard_ns, broken_ns)

    def drain(self, limit_ns: int | None) -> anyio.Event:
        """Ask for an end. The event is set when nothing is left, or the limit has passed."""
        now_ns = self._clock.now_ns()
        self._give_up_ns = None if limit_ns is None else now_ns + limit_ns
        self._empty = self._empty or anyio.Event()
        self.tell(DrainRequested(self._give_up_ns))
        self.settled()
        return self._empty

    def close(self) -> None:
        """Stop at once; whoever still waits is told so, and hung threads are left to themselves."""
        self._timekeeper.stop()
        self._pump.is_closed = True
        self._abandon(GONE)
        for lease_id, run in self._runs.items():
            run.engine.cancel(lease_id)
        self._runs.clear()
        self._fleet.close()


def _deliver(calls: list[Call], results: list[Any]) -> tuple[tuple[int, str], ...]:
    """Put each result where its caller finds it. Returns the text of those that failed."""
    errors = []
    for call, result in zip(calls, results, strict=True):
        if isinstance(result, BaseException):
            call.cause = result
            errors.append((call.request.id, describe(result)))
        else:
            call.result = result
    return tuple(errors)
