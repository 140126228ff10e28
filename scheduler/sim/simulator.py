"""Plays the world to the core: what the runtime would really do happens here on paper.

One agenda of what is to come, sorted by time and, at equal times, by who asked first; so two runs
of the same simulation are equal to the byte. A timer of the core goes off after all else of its
moment, as what happens then may be what it was set for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Protocol

from scheduler.core.decisions import (
    AnnounceMode,
    Decision,
    FinishRequest,
    GrantLease,
    LoadEngine,
    RaiseAlarm,
    RefuseMode,
    RevokeLease,
    SwitchMode,
    UnloadEngine,
)
from scheduler.core.events import (
    EngineLoaded,
    EngineUnloaded,
    Event,
    LeaseEnded,
    ModelRegistered,
    RequestArrived,
    TimerFired,
)
from scheduler.core.model import SECOND_NS
from scheduler.core.outcome import Outcome
from scheduler.core.scheduler import Scheduler
from scheduler.sim.times import form_key
from scheduler.trace.record import Record

if TYPE_CHECKING:
    from scheduler.core.model import ModelSpec
    from scheduler.core.request import Request
    from scheduler.core.settings import Settings
    from scheduler.runtime.pump import Observer
    from scheduler.sim.times import EngineTimes


class Client(Protocol):
    """Somebody who asks. It is told between two steps of the core, so it asks on by `at`."""

    def finished(self, outcome: Outcome) -> None:
        """A request of this client has ended."""


class Holder(Client, Protocol):
    """A client that asks for leases to hold. It is to end each by telling LeaseEnded."""

    def granted(self, lease_id: int) -> None:
        """The lease is there."""

    def revoked(self, lease_id: int) -> None:
        """The lease is to be ended as soon as nothing runs under it."""

    def run_started(self) -> None:
        """A run under the lease has begun."""

    def run_ended(self) -> None:
        """A run under the lease is over, and the core has been told."""


class Simulator:
    """The core, a clock that jumps to what comes next, and engines that only take time.

    `times` has an entry for each variant of each registered model, see `form_key`. Observers see
    each step's record before its decisions are acted on, as those of the runtime do. Nothing
    hastens a run: its thread could not be killed either. `remarks` are its alarms and refused
    switches, the first of each kind, in sentences.
    """

    def __init__(
        self,
        settings: Settings,
        times: Mapping[str, EngineTimes],
        observers: Iterable[Observer] = (),
    ) -> None:
        self.core = Scheduler(settings)
        self.now_ns = 0
        self.remarks: dict[str, str] = {}
        self._times = times
        self._loaded: dict[str, EngineTimes] = {}
        self._observers = tuple(observers)
        self._agenda: list[tuple[int, int, Callable[[Any], None], Any]] = []
        self._promises = 0
        self._sequence = 0
        self._request_count = 0
        self._asked: dict[int, tuple[Request, Client, Holder | None]] = {}
        self._holders: dict[int, Holder] = {}
        self._following: dict[int, tuple[int, int]] = {}
        self._called_off: set[int] = set()
        self._acts: dict[type[Decision], Callable[[Any], None]] = {
            LoadEngine: self._load,
            UnloadEngine: self._unload,
            GrantLease: self._grant,
            RevokeLease: self._revoke,
            FinishRequest: self._finish,
            RaiseAlarm: self._note_alarm,
            SwitchMode: lambda _: None,
            RefuseMode: self._note_refusal,
            AnnounceMode: lambda _: None,
        }

    @property
    def open_requests(self) -> int:
        """How many requests have not ended."""
        return len(self._asked)

    def register(self, spec: ModelSpec) -> None:
        """Add a model. Raises KeyError when there are no times for it."""
        for form in spec.forms:
            key = form_key(spec.name, form.variant)
            if key not in self._times:
                raise KeyError(f"no times for {key}; give Simulator an entry for it")
        self.tell(ModelRegistered(spec))

    def at(self, due_ns: int, action: Callable[[Any], None], argument: Any = None) -> None:
        """Let `action(argument)` happen at `due_ns`, which is not past."""
        self._promises += 1
        heappush(self._agenda, (due_ns, self._promises, action, argument))

    def next_request_id(self) -> int:
        """A number for a new request."""
        self._request_count += 1
        return self._request_count

    def ask(self, request: Request, client: Client) -> None:
        """Let a request arrive now."""
        self._asked[request.id] = (request, client, None)
        self.tell(RequestArrived(request))

    def ask_to_hold(self, request: Request, holder: Holder) -> None:
        """Let a request for a lease to hold arrive now."""
        self._asked[request.id] = (request, holder, holder)
        self.tell(RequestArrived(request))

    def end_hold(self, lease_id: int) -> None:
        """Let go of a held lease now."""
        del self._holders[lease_id]
        self.tell(LeaseEnded(lease_id))

    def tell(self, event: Event) -> None:
        """Let something happen now, and do what the core decides."""
        decisions = self.core.handle(event, self.now_ns)
        self._sequence += 1
        if self._observers:
            reserved_bytes = self.core.reserved_bytes()
            steps = tuple(decisions)
            record = Record(self._sequence, self.now_ns, event, steps, reserved_bytes)
            for observer in self._observers:
                observer.observe(record)
        for decision in decisions:
            self._acts[type(decision)](decision)

    def run(self, until_ns: int) -> None:
        """Go on until `until_ns`; what is due then or later stays on the agenda."""
        agenda, next_timer = self._agenda, self.core.next_timer
        while True:
            timer_ns = next_timer()
            if agenda and (timer_ns is None or agenda[0][0] <= timer_ns):
                if agenda[0][0] >= until_ns:
                    break
                self.now_ns, _, action, argument = heappop(agenda)
                action(argument)
            elif timer_ns is not None and timer_ns < until_ns:
                self._fire_timer(timer_ns)
            else:
                break
        self.now_ns = until_ns

    def _fire_timer(self, timer_ns: int) -> None:
        self.now_ns = timer_ns
        self.tell(TimerFired())
        next_ns = self.core.next_timer()
        if next_ns is not None and next_ns <= timer_ns:
            raise RuntimeError(f"the core was woken at {timer_ns} ns and asks for it at {next_ns}")

    # -- decisions --------------------------------------------------------------------------

    def _load(self, decision: LoadEngine) -> None:
        loaded = self._times[form_key(decision.model, decision.variant)]
        self._loaded[decision.model] = loaded
        due_ns = self.now_ns + loaded.load_ns()
        self.at(due_ns, self.tell, EngineLoaded(decision.model, decision.instance))

    def _unload(self, decision: UnloadEngine) -> None:
        due_ns = self.now_ns + self._loaded[decision.model].unload_ns()
        self.at(due_ns, self.tell, EngineUnloaded(decision.model, decision.instance))

    def _grant(self, decision: GrantLease) -> None:
        lease_id = decision.lease_id
        first, _, holder = self._asked[decision.request_ids[0]]
        if holder is not None:
            self._holders[lease_id] = holder
            holder.granted(lease_id)
            return
        run_ns = self._run_ns(decision)
        if decision.after is not None:
            self._following[decision.after] = (lease_id, run_ns)
        elif first.under_lease is None:
            self.at(self.now_ns + run_ns, self._end_run, LeaseEnded(lease_id))
        else:
            holder = self._holders[first.under_lease]
            holder.run_started()
            self.at(self.now_ns + run_ns, self._end_run_under, (lease_id, holder))

    def _end_run(self, ended: LeaseEnded) -> None:
        """The run that follows begins before the core hears of it; one called off ends at once."""
        following = self._following.pop(ended.lease_id, None)
        if following is not None:
            lease_id, run_ns = following
            if lease_id in self._called_off:
                self._called_off.remove(lease_id)
                self.at(self.now_ns, self._end_run, LeaseEnded(lease_id, Outcome.CANCELLED))
            else:
                self.at(self.now_ns + run_ns, self._end_run, LeaseEnded(lease_id))
        self.tell(ended)

    def _run_ns(self, decision: GrantLease) -> int:
        """A batch takes its time once, the runs of a train take theirs one after another."""
        times = self._loaded[decision.engines[0].model]
        items = [self._asked[request_id][0].items for request_id in decision.request_ids]
        return sum(map(times.run_ns, items)) if decision.in_turn else times.run_ns(sum(items))

    def _end_run_under(self, run: tuple[int, Holder]) -> None:
        lease_id, holder = run
        self.tell(LeaseEnded(lease_id))
        holder.run_ended()

    def _revoke(self, decision: RevokeLease) -> None:
        holder = self._holders.get(decision.lease_id)
        if holder is not None:
            holder.revoked(decision.lease_id)
        elif any(lease_id == decision.lease_id for lease_id, _ in self._following.values()):
            self._called_off.add(decision.lease_id)

    def _note_refusal(self, decision: RefuseMode) -> None:
        self._remark(f"mode {decision.mode}", f"not switched: {decision.reason}")

    def _note_alarm(self, decision: RaiseAlarm) -> None:
        code = decision.reason.code
        self._remark(f"{code.value} {decision.model}", f"{code.value}: {decision.reason}")

    def _remark(self, subject: str, text: str) -> None:
        """Keep the first of its kind: a simulation may have the same again and again."""
        self.remarks.setdefault(subject, f"at {self.now_ns / SECOND_NS:.1f} s: {text}")

    def _finish(self, decision: FinishRequest) -> None:
        _, client, _ = self._asked.pop(decision.request_id)
        client.finished(decision.outcome)
