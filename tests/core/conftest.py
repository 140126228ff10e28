"""A world for the core: virtual time, and engines that answer when a test says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from heapq import heappop, heappush
from typing import Any

import pytest
from msgspec.structs import replace

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
    EngineLoadFailed,
    EngineLost,
    EngineUnloaded,
    Event,
    LeaseEnded,
    Measurement,
    ModeChanged,
    ModelRegistered,
    RequestArrived,
    RequestCancelled,
    TimerFired,
)
from scheduler.core.mode import Mode
from scheduler.core.model import Form, ModelSpec, PoolFootprint, in_form
from scheduler.core.outcome import Outcome
from scheduler.core.request import Request, RequestKind
from scheduler.core.room import Room
from scheduler.core.scheduler import Scheduler
from scheduler.core.settings import PoolBudget, Settings
from scheduler.core.settle import Settling
from scheduler.core.state import State

MS = 1_000_000
POOL = "unified"
RUNNING = ("uses", "batch_max", "batch_wait_ns")


def text(decision: Decision) -> str:
    """A decision in a few words, so that a list of them reads like a list of orders."""
    match decision:
        case LoadEngine():
            return f"load {decision.model}{in_form(decision.variant, decision.device)}"
        case UnloadEngine():
            return f"unload {decision.model}: {decision.reason.code.value}"
        case GrantLease():
            names = "+".join(engine.model for engine in decision.engines)
            ids = ",".join(str(request_id) for request_id in decision.request_ids)
            how = " in turn" if decision.in_turn else ""
            how += f" after {decision.after}" if decision.after else ""
            return f"{'hold' if decision.holds else 'run'} {names} for {ids}{how}"
        case RevokeLease():
            return f"revoke {decision.lease_id}: {decision.reason.code.value}"
        case FinishRequest():
            why = f": {decision.reason.code.value}" if decision.reason else ""
            return f"finish {decision.request_id} {decision.outcome.value}{why}"
        case _:
            return news_text(decision)


def news_text(decision: Decision) -> str:
    """A decision that is for a person alone."""
    match decision:
        case RaiseAlarm():
            return f"alarm {decision.model}: {decision.reason.code.value}"
        case SwitchMode():
            plan = [*(f"-{name}" for name in decision.unloads), *decision.loads]
            return " ".join([f"switch to {decision.mode}:", *plan])
        case RefuseMode():
            return f"refuse mode {decision.mode}: {decision.reason.code.value}"
        case AnnounceMode():
            without = f" without {', '.join(decision.missing)}" if decision.missing else ""
            return f"mode {decision.mode}{without}"
    raise AssertionError(decision)


def form(variant: str, resident: int, pool: str = POOL, device: str = "", **more: Any) -> Form:
    """A form in one pool; `uses`, `batch_max` and `batch_wait_ns` are its own."""
    running = {key: more.pop(key) for key in RUNNING if key in more}
    sizes = {f"{key}_bytes": value for key, value in more.items()}
    part = PoolFootprint(resident_bytes=resident, **sizes)
    return Form(footprint={pool: part}, variant=variant, device=device, **running)


@contextmanager
def no_fast_paths() -> Iterator[None]:
    """The core with every short cut shut, so that all go the same long way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scheduler.core.arrival.starts_at_once", lambda *_: False)
        patch.setattr(State, "is_quiet", lambda _: False)
        patch.setattr(Settling, "_is_plain", lambda *_: False)
        patch.setattr(Room, "_looked_at", lambda _room, _who, ready: ready)
        yield


def bare(decisions: list[Decision]) -> list[Decision]:
    """Without the sentences: a short cut may say in other words what is waited for."""
    return [
        replace(made, reason=replace(made.reason, detail=""))
        if getattr(made, "reason", 0)
        else made
        for made in decisions
    ]


class World:
    """Feeds the core events and checks it after each; times are given in milliseconds.

    Beside it goes the same core without its fast paths: it must decide the same.
    `pace` (load, run, unload in ms) makes the engines answer by themselves while time advances.
    """

    def __init__(self, budget: int = 1000, **settings: Any) -> None:
        pools = settings.pop("pools", {POOL: PoolBudget(budget_bytes=budget)})
        self.settings = Settings(pools=pools, **settings)
        self.scheduler = Scheduler(self.settings)
        self.slow = Scheduler(self.settings)
        self.now = 0
        self.decisions: list[Decision] = []
        self.times: list[int] = []
        self.loading: dict[str, int] = {}
        self.unloading: dict[str, int] = {}
        self.instances: dict[str, int] = {}
        self.leases: dict[int, GrantLease] = {}
        self.outcomes: dict[int, FinishRequest] = {}
        self.finished_ms: dict[int, float] = {}
        self.granted_ms: dict[int, float] = {}
        self.requests = 0
        self.wakeups = 0
        self.pace: tuple[float, float, float] | None = None
        self._agenda: list[tuple[int, int, Callable[[], object]]] = []
        self._sequence = 0

    # -- events -----------------------------------------------------------------------------

    def tell(self, event: Event) -> list[str]:
        """Hand over one event; whatever it is, an extra timer after it must change nothing."""
        asked_for_ns = self.scheduler.next_timer()
        decisions = self.scheduler.handle(event, self.now)
        self.scheduler.check_invariants()
        self._compare(event, decisions, self.now if asked_for_ns is None else asked_for_ns)
        for decision in decisions:
            self._note(decision)
        assert self.scheduler.handle(TimerFired(), self.now) == []
        next_ns = self.scheduler.next_timer()
        assert next_ns is None or next_ns > self.now
        return [text(decision) for decision in decisions]

    def _compare(self, event: Event, decisions: list[Decision], asked_for_ns: int) -> None:
        """Before the fast one asked for it, the slow one wakes up too: there is nothing to find."""
        until_ns = min(self.now, asked_for_ns)
        with no_fast_paths():
            while (due := self.slow.next_timer()) is not None and due < until_ns:
                assert self.slow.handle(TimerFired(), due) == [], "a fast path does not wake up"
            assert bare(self.slow.handle(event, self.now)) == bare(decisions)

    def model(self, name: str, resident: int = 100, **rules: Any) -> list[str]:
        """Register a model; `peak`, `workspace` and `per_item` belong to its one pool.

        `forms` are given instead of `resident` where there are several, see `form`. What is said of
        `uses` and batches here holds for all of them.
        """
        part = PoolFootprint(
            resident_bytes=resident,
            load_peak_bytes=rules.pop("peak", 0),
            workspace_bytes=rules.pop("workspace", 0),
            per_item_bytes=rules.pop("per_item", 0),
        )
        footprint: Mapping[str, PoolFootprint] = rules.pop("footprint", {POOL: part})
        running = {key: rules.pop(key) for key in RUNNING if key in rules}
        forms = [replace(one, **running) for one in rules.pop("forms", [Form(footprint=footprint)])]
        first, *others = forms
        rules.setdefault("keep_alive_ns", None)
        if "exclusive" in rules:
            rules["exclusive"] = frozenset(rules["exclusive"])
        spec = ModelSpec(
            name=name,
            footprint=first.footprint,
            variant=first.variant,
            device=first.device,
            alternatives=tuple(others),
            **{key: getattr(first, key) for key in RUNNING},
            **rules,
        )
        return self.tell(ModelRegistered(spec))

    def ask(self, *models: str, **request: Any) -> list[str]:
        """Let a request arrive; its id is `requests` afterwards. `deadline` is in ms from now."""
        self.requests += 1
        if "deadline" in request:
            request["deadline_ns"] = self.now + int(request.pop("deadline") * MS)
        if "ttl" in request:
            request["ttl_ns"] = int(request.pop("ttl") * MS)
        return self.tell(RequestArrived(Request(id=self.requests, models=models, **request)))

    def hold(self, *models: str, **request: Any) -> list[str]:
        """Ask for a lease."""
        return self.ask(*models, kind=RequestKind.HOLD, **request)

    def load(self, model: str) -> list[str]:
        return self.ask(model, kind=RequestKind.LOAD)

    def unload(self, model: str) -> list[str]:
        return self.ask(model, kind=RequestKind.UNLOAD)

    def cancel(self, request_id: int) -> list[str]:
        return self.tell(RequestCancelled(request_id))

    def loaded(self, model: str, measured: Mapping[str, Measurement] | None = None) -> list[str]:
        return self.tell(EngineLoaded(model, self.loading.pop(model), measured or {}))

    def load_failed(self, model: str, error: str = "no file") -> list[str]:
        return self.tell(EngineLoadFailed(model, self.loading.pop(model), error))

    def unloaded(self, model: str, residue: Mapping[str, Measurement] | None = None) -> list[str]:
        return self.tell(EngineUnloaded(model, self.unloading.pop(model), residue or {}))

    def lost(self, model: str) -> list[str]:
        for awaited in (self.loading, self.unloading):
            awaited.pop(model, None)
        return self.tell(EngineLost(model, self.instances[model], "killed"))

    def ended(self, lease_id: int | None = None, **how: Any) -> list[str]:
        """The work of a lease has stopped: of the given one, or of the only one that has begun."""
        if lease_id is None:
            (lease_id,) = [i for i, lease in self.leases.items() if lease.after not in self.leases]
        self.leases.pop(lease_id, None)
        for lease in self.leases.values():
            if lease.after == lease_id:
                self._work(lease)
        return self.tell(LeaseEnded(lease_id, **how))

    def switch(self, name: str | None, **overrides: Any) -> list[str]:
        """Ask for a mode; `pin`, `priority` and `disable` are its overrides."""
        return self.tell(ModeChanged(None if name is None else Mode(name=name, **overrides)))

    def bring(self, *models: str) -> None:
        """Have engines in memory, idle and unasked for."""
        for model in models:
            assert self.load(model)[0].startswith(f"load {model}")
            self.loaded(model)

    # -- time -------------------------------------------------------------------------------

    def at(self, ms: float) -> list[str]:
        """Let time pass until `ms`, with a TimerFired whenever one is asked for, and there."""
        said: list[str] = []
        target, most = int(ms * MS), self.wakeups + 10_000
        while (due := self._next(target)) is not None:
            self.now = max(self.now, due)
            if self._agenda and self._agenda[0][0] <= self.now:
                heappop(self._agenda)[2]()
            else:
                self.wakeups += 1
                assert self.wakeups < most, "its timer spins"
                said += self.tell(TimerFired())
        self.now = target
        assert self.tell(TimerFired()) == [], "time changed something, and no timer was asked for"
        return said

    def later(self, ms: float, act: Callable[[], object]) -> None:
        """Do something when time gets there."""
        self._sequence += 1
        heappush(self._agenda, (int(ms * MS), self._sequence, act))

    def quiesce(self, *, holds: bool = True) -> None:
        """Answer all that is open, and let time pass, until nothing is left to happen."""
        for _ in range(10_000):
            if not self._answer_one(holds=holds):
                next_ns = self.scheduler.next_timer()
                if next_ns is None:
                    return
                self.now = next_ns
                self.wakeups += 1
                self.tell(TimerFired())
        raise AssertionError("it never comes to rest")

    def _answer_one(self, *, holds: bool) -> bool:
        for model in self.loading:
            self.loaded(model)
            return True
        for model in self.unloading:
            self.unloaded(model)
            return True
        for lease in self.leases.values():
            if holds or not lease.holds:
                self.ended(lease.lease_id)
                return True
        return False

    def _next(self, target: int) -> int | None:
        due = [t for t in (self.scheduler.next_timer(),) if t is not None]
        due += [self._agenda[0][0]] if self._agenda else []
        return min((t for t in due if t <= target), default=None)

    def _note(self, decision: Decision) -> None:
        self.decisions.append(decision)
        self.times.append(self.now)
        load, _, unload = self.pace or (None, None, None)
        match decision:
            case LoadEngine(model, instance):
                assert model not in self.loading
                assert instance > self.instances.get(model, 0)
                self.loading[model] = self.instances[model] = instance
                self._after(load, lambda: model in self.loading and self.loaded(model))
            case UnloadEngine(model, instance):
                assert self.instances[model] == instance
                self.unloading[model] = instance
                self._after(unload, lambda: model in self.unloading and self.unloaded(model))
            case GrantLease():
                self.leases[decision.lease_id] = decision
                for request_id in decision.request_ids:
                    self.granted_ms[request_id] = self.now / MS
                if not decision.holds and decision.after is None:
                    self._work(decision)
            case FinishRequest():
                assert decision.request_id not in self.outcomes
                assert (decision.reason is None) == (decision.outcome is Outcome.COMPLETED)
                self.outcomes[decision.request_id] = decision
                self.finished_ms[decision.request_id] = self.now / MS

    def _work(self, lease: GrantLease) -> None:
        _, run, _ = self.pace or (None, None, None)
        self._after(run, lambda: self.ended(lease.lease_id))

    def _after(self, ms: float | None, act: Callable[[], object]) -> None:
        if ms is not None:
            self.later(self.now / MS + ms, act)

    # -- what can be seen -------------------------------------------------------------------

    @property
    def reserved(self) -> int:
        """The ledger of the one pool most tests have."""
        return self.scheduler.reserved_bytes()[POOL]

    def outcome(self, request_id: int) -> str:
        """How a request ended, `-` while it has not."""
        done = self.outcomes.get(request_id)
        if done is None:
            return "-"
        return text(done).split(" ", 2)[2]

    def states(self) -> dict[str, str]:
        return {e.model: e.state.value for e in self.scheduler.snapshot().engines}

    def waits_for(self, request_id: int) -> str:
        """The code of what a request waits for."""
        for wait in self.scheduler.snapshot().waiting:
            if wait.request_id == request_id:
                return wait.waits_for.code.value if wait.waits_for else "?"
        return "-"

    def count(self, order: str) -> int:
        """How often a decision of these words was made."""
        return sum(text(decision).startswith(order) for decision in self.decisions)

    def check_rest(self, fresh: str) -> None:
        """The four things that hold after every story; `fresh` must still be served."""
        snapshot = self.scheduler.snapshot()
        loaded = sum(e.reserved_bytes.get(POOL, 0) for e in snapshot.engines)
        pool = next(p for p in snapshot.pools if p.name == POOL)
        assert pool.reserved_bytes == pool.overhead_bytes + pool.residue_bytes + loaded
        assert snapshot.leases == ()
        assert snapshot.waiting == ()
        self.pace = None
        self.ask(fresh)
        mine = self.requests
        while mine not in self.outcomes:
            assert self._answer_one(holds=True), f"{fresh} is not served any more"
        assert self.outcomes[mine].outcome is Outcome.COMPLETED


@pytest.fixture
def world() -> World:
    """One pool of 1000 bytes, nothing registered."""
    return World()


@pytest.fixture
def make_world() -> type[World]:
    """To set up a world of other pools, resources or settings."""
    return World
