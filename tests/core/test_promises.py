"""Any story at all: what is promised holds, by books kept from events and decisions alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scheduler.core import decisions as de
from scheduler.core import events as ev
from scheduler.core.choice import NEAR_NS
from scheduler.core.mode import Mode
from scheduler.core.model import Form, ModelSpec, PoolFootprint, QueueKeep
from scheduler.core.outcome import Outcome, ReasonCode
from scheduler.core.request import Request, RequestKind
from scheduler.core.scheduler import Scheduler
from scheduler.core.settings import PoolBudget, Settings, Trust
from tests.core.conftest import bare, no_fast_paths

MS = 1_000_000
NAMES = "abcde"
POOL_SETS = (("unified",), ("host", "cuda:0"), ("cuda:0", "cuda:1"))

small = st.integers(0, 80)
durations = st.sampled_from([500 * MS, 0, 1, 10 * MS, 3_000 * MS])
footprints = st.builds(
    PoolFootprint,
    resident_bytes=st.sampled_from([100, 250, 300, 400, 600, 601, 1]),
    load_peak_bytes=st.sampled_from([0, 0, 0, 450, 900]),
    workspace_bytes=small,
    per_item_bytes=small,
)


@st.composite
def forms(draw: st.DrawFn, pools: tuple[str, ...], variant: str) -> list[Form]:
    """One variant: in its pools, or in each of its places, with or without units of their own."""
    rules = {
        "variant": variant,
        "batch_max": draw(st.sampled_from([1, 1, 4])),
        "batch_wait_ns": draw(st.sampled_from([0, 5 * MS])),
    }
    uses = draw(st.sampled_from([{}, {}, {"gpu": 1}, {"gpu": 2}, {"gpu": 1, "dla": 1}]))
    if len(pools) > 1 and draw(st.booleans()):
        part = draw(footprints)
        units = {p: {**uses, p: 1} if draw(st.booleans()) else uses for p in pools}
        return [Form(footprint={p: part}, device=p, uses=units[p], **rules) for p in pools]
    footprint = {pool: draw(footprints) for pool in pools[: draw(st.integers(1, len(pools)))]}
    return [Form(footprint=footprint, uses=uses, **rules)]


@st.composite
def specs(draw: st.DrawFn, name: str, pools: tuple[str, ...]) -> ModelSpec:
    """A model with any of the options there are."""
    variants = draw(st.sampled_from([[""], [""], ["fp16", "int8"], ["fp32", "fp16", "int8"]]))
    first, *others = [form for variant in variants for form in draw(forms(pools, variant))]
    return ModelSpec(
        name=name,
        footprint=first.footprint,
        variant=first.variant,
        device=first.device,
        alternatives=tuple(others),
        priority=draw(st.sampled_from([0, 25, 50, 75, 100])),
        deadline_ns=draw(st.sampled_from([None, None, None, 10 * MS, 500 * MS])),
        keep_alive_ns=draw(st.one_of(st.none(), durations)),
        pinned=draw(st.sampled_from([False] * 7 + [True])),
        exclusive=frozenset(draw(st.sampled_from(["", "", "", "g", "h", "gh"]))),
        uses=first.uses,
        batch_max=first.batch_max,
        batch_wait_ns=first.batch_wait_ns,
        queue_limit=draw(st.sampled_from([1, 3, 32])),
        queue_keep=draw(st.sampled_from(QueueKeep)),
        max_wait_ns=draw(durations),
        min_residency_ns=draw(st.sampled_from([0, 500 * MS])),
        load_timeout_ns=draw(st.sampled_from([None, None, 400 * MS])),
        run_timeout_ns=draw(st.sampled_from([None, None, 400 * MS])),
        backoff_ns=draw(st.sampled_from([1, 100 * MS])),
    )


@dataclass
class Book:
    """What one engine was told to do, and what it is known to hold."""

    spec: ModelSpec
    by_hand: bool
    removed: bool = False
    state: str = "unloaded"
    instance: int = 0
    form: Form = field(default_factory=lambda: Form(footprint={}))
    loaded_ns: int = 0
    measured: dict[tuple[str, str], int] = field(default_factory=dict)
    run: int | None = None
    run_items: int = 0
    next: int | None = None
    next_items: int = 0
    hold: int | None = None
    most_items: int = 99

    def resident(self, pool: str, trust: Trust) -> int:
        declared = self.form.footprint[pool].resident_bytes
        seen = self.measured.get((str(self.form), pool))
        if seen is None or trust is Trust.DECLARED:
            return declared
        return seen if trust is Trust.MEASURED else max(declared, seen)

    def bytes(self, pool: str, trust: Trust) -> int:
        part = self.form.footprint.get(pool)
        if part is None or self.state == "unloaded":
            return 0
        held = self.resident(pool, trust)
        if self.run is not None:
            held += part.workspace_bytes + part.per_item_bytes * (self.run_items - 1)
        elif self.hold is not None:
            held += part.workspace_bytes
        return held


class AnyStory(RuleBasedStateMachine):
    """Random events against a scheduler, with books of its own beside it."""

    sound = False

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.pools = data.draw(st.sampled_from(POOL_SETS))
        self.settings = Settings(
            pools={p: PoolBudget(budget_bytes=1000, reserve_bytes=50) for p in self.pools},
            resources={
                "gpu": data.draw(st.sampled_from([2, 1])),
                "dla": 1,
                **dict.fromkeys(self.pools, 1),
            },
            trust=data.draw(st.sampled_from(Trust)),
            ageing_ns=data.draw(st.sampled_from([None, 0, 700 * MS])),
            queue_bytes=data.draw(st.sampled_from([None, 30])),
            queue_pool=self.pools[0],
            policy=data.draw(st.sampled_from(["rota", "rota", "rota", "fifo", "lock"])),
        )
        self.scheduler = Scheduler(self.settings)
        self.slow = Scheduler(self.settings)
        self.now = 0
        self.history: list[tuple[ev.Event, int, list[de.Decision]]] = []
        self.books: dict[str, Book] = {}
        self.loading_bytes: dict[str, dict[str, int]] = {}
        self.budget = dict.fromkeys(self.pools, 1000)
        self.residue = dict.fromkeys(self.pools, 0)
        self.leases: dict[int, de.GrantLease] = {}
        self.revoking: set[int] = set()
        self.requests: dict[int, Request] = {}
        self.ended: set[int] = set()
        self.seen: dict[str, tuple[int, int]] = {}
        self.last_instances: dict[str, int] = {}
        self.asked: Mode | None = None
        self.mode: Mode | None = None
        self.is_switching = False
        for name in NAMES[: data.draw(st.sampled_from([3, 2, 4, 1]))]:
            self.register(name, data)

    # -- the books --------------------------------------------------------------------------

    def reserved(self, pool: str) -> int:
        overhead = self.settings.overhead_bytes(pool) + self.residue[pool]
        return overhead + sum(self.held(book, pool) for book in self.books.values())

    def held(self, book: Book, pool: str) -> int:
        if book.state == "loading":
            return self.loading_bytes[book.spec.name].get(pool, 0)
        return book.bytes(pool, self.settings.trust)

    def is_disabled(self, name: str) -> bool:
        return self.mode is not None and name in self.mode.disable

    def is_pinned(self, name: str) -> bool:
        book = self.books[name]
        by_mode = self.mode is not None and name in self.mode.pin
        return not book.removed and not self.is_disabled(name) and (book.by_hand or by_mode)

    def tell(self, event: ev.Event) -> list[de.Decision]:
        self.sound = False
        self.waiting = self.scheduler.snapshot().waiting or isinstance(event, ev.RequestArrived)
        before = {pool: self.reserved(pool) for pool in self.pools}
        said = self.scheduler.handle(event, self.now)
        self.history.append((event, self.now, said))
        with no_fast_paths():
            assert bare(self.slow.handle(event, self.now)) == bare(said)
        for decision in said:
            self.note(decision)
        self.scheduler.check_invariants()
        more = self.scheduler.handle(ev.TimerFired(), self.now)
        assert more == [], f"not settled: {said} and then {more}"
        self.history.append((ev.TimerFired(), self.now, []))
        after = self.scheduler.reserved_bytes()
        for pool in self.pools:
            assert after[pool] == self.reserved(pool), (pool, after[pool], self.reserved(pool))
            if after[pool] > before[pool]:
                assert after[pool] <= self.budget[pool]
                self.check_machine(pool, after[pool])
        next_ns = self.scheduler.next_timer()
        assert next_ns is None or next_ns > self.now
        self.sound = True
        return said

    def check_machine(self, pool: str, reserved: int) -> None:
        if pool in self.seen:
            available, booked = self.seen[pool]
            assert reserved - booked <= available - 50

    def note(self, decision: de.Decision) -> None:
        match decision:
            case de.LoadEngine(model, instance, variant, device):
                book = self.books[model]
                assert book.state == "unloaded"
                assert not self.is_disabled(model)
                (book.form,) = [
                    f for f in book.spec.forms if (f.variant, f.device) == (variant, device)
                ]
                assert instance > self.last_instances.get(model, 0)
                book.state, book.instance = "loading", instance
                self.last_instances[model] = instance
                self.loading_bytes[model] = {
                    pool: max(part.load_peak_bytes, book.resident(pool, self.settings.trust))
                    for pool, part in book.form.footprint.items()
                }
            case de.UnloadEngine(model, instance, reason):
                book = self.books[model]
                assert (book.state, book.instance) == ("ready", instance)
                assert book.run is None
                assert book.hold is None
                if self.is_pinned(model):
                    assert reason.code not in {
                        ReasonCode.MAKE_ROOM,
                        ReasonCode.KEEP_ALIVE_OVER,
                        ReasonCode.OVER_BUDGET,
                        ReasonCode.EXTERNAL_PRESSURE,
                    }
                elif reason.code is ReasonCode.CHANGE_FORM and not self.waiting:
                    assert self.now >= book.loaded_ns + NEAR_NS, "it flips"
                book.state = "unloading"
            case de.GrantLease():
                self.note_grant(decision)
            case de.RevokeLease(lease_id):
                assert lease_id in self.leases
                assert lease_id not in self.revoking
                self.revoking.add(lease_id)
            case de.FinishRequest(request_id, outcome, reason):
                assert request_id in self.requests
                assert request_id not in self.ended
                assert (reason is None) == (outcome is Outcome.COMPLETED)
                self.ended.add(request_id)
            case de.RaiseAlarm():
                assert decision.reason.detail
            case _:
                self.note_mode(decision)
        self.check_groups()
        self.check_units()

    def note_mode(self, decision: de.Decision) -> None:
        match decision:
            case de.SwitchMode(name, unloads, loads, within_ns):
                self.mode, self.is_switching = self.asked, True
                assert name == (None if self.mode is None else self.mode.name)
                assert within_ns >= 0
                assert all(self.books[model].state != "unloaded" for model in unloads)
                assert all(self.is_pinned(model) for model in loads)
            case de.AnnounceMode(missing=missing):
                assert self.is_switching
                self.is_switching = False
                for name, book in self.books.items():
                    if name not in missing:
                        assert not self.is_disabled(name) or book.state == "unloaded"
                        assert not self.is_pinned(name) or book.state == "ready"
            case de.RefuseMode():
                assert decision.reason.detail

    def note_grant(self, grant: de.GrantLease) -> None:
        assert grant.lease_id not in self.leases
        self.leases[grant.lease_id] = grant
        requests = [self.requests[request_id] for request_id in grant.request_ids]
        assert all(r.id not in self.ended for r in requests)
        for ref in grant.engines:
            book = self.books[ref.model]
            assert (book.state, book.instance) == ("ready", ref.instance)
            assert not self.is_disabled(ref.model)
            if grant.holds:
                assert book.hold is None
                assert book.run is None
                book.hold = grant.lease_id
            elif grant.after is not None:
                assert book.hold is None
                assert (book.run, book.next) == (grant.after, None)
                book.next, book.next_items = grant.lease_id, self.check_size(grant, book)
            else:
                assert book.run is None
                assert book.hold == requests[0].under_lease
                book.run, book.run_items = grant.lease_id, self.check_size(grant, book)

    def check_size(self, grant: de.GrantLease, book: Book) -> int:
        """How many items run at once."""
        items = [self.requests[request_id].items for request_id in grant.request_ids]
        if grant.in_turn:
            assert book.form.batch_max == max(items) == 1
            return 1
        assert len(items) == 1 or sum(items) <= min(book.form.batch_max, book.most_items)
        return sum(items)

    def check_groups(self) -> None:
        for group in "gh":
            there = [
                b.spec.name
                for b in self.books.values()
                if group in b.spec.exclusive and b.state != "unloaded"
            ]
            assert len(there) <= 1, (group, there)

    def check_units(self) -> None:
        for name, most in self.settings.resources.items():
            used = sum(b.form.uses.get(name, 0) for b in self.books.values() if b.run is not None)
            assert used <= most, name

    def let_go(self, lease_id: int) -> None:
        grant = self.leases.pop(lease_id, None)
        self.revoking.discard(lease_id)
        for ref in grant.engines if grant else ():
            book = self.books.get(ref.model)
            if book is not None and book.run == lease_id:
                book.run, book.run_items = book.next, book.next_items
                book.next = None
            if book is not None and book.hold == lease_id:
                book.hold = None

    def gone(self, book: Book) -> None:
        book.state = "unloaded"
        following, book.next = book.next, None
        for lease_id in (following, book.run, book.hold):
            if lease_id is not None:
                self.let_go(lease_id)

    def believe(self, book: Book, measured: Mapping[str, ev.Measurement]) -> None:
        for pool, seen in measured.items():
            if seen.reliable and seen.bytes > 0 and pool in book.form.footprint:
                key = (str(book.form), pool)
                book.measured[key] = max(book.measured.get(key, 0), seen.bytes)

    def some(self, state: str) -> bool:
        return any(book.state == state for book in self.books.values())

    def any_of(self, data: st.DataObject, state: str) -> Book | None:
        there = [book for book in self.books.values() if book.state == state]
        return data.draw(st.sampled_from(there)) if there else None

    # -- events -----------------------------------------------------------------------------

    def register(self, name: str, data: st.DataObject) -> None:
        spec = data.draw(specs(name, self.pools))
        self.books[name] = Book(spec, spec.pinned)
        self.tell(ev.ModelRegistered(spec))

    @precondition(lambda self: len(self.books) < len(NAMES))
    @rule(data=st.data())
    def register_another(self, data: st.DataObject) -> None:
        absent = [name for name in NAMES if name not in self.books]
        self.register(data.draw(st.sampled_from(absent)), data)

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        if name in self.books:
            self.books[name].removed = True
        self.tell(ev.ModelRemoved(name))

    @rule(name=st.sampled_from(NAMES), pinned=st.booleans())
    def pin(self, name: str, pinned: bool) -> None:  # noqa: FBT001 - drawn
        if name in self.books:
            self.books[name].by_hand = pinned
        self.tell(ev.PinChanged(name, pinned))

    @rule(name=st.sampled_from(NAMES), priority=st.sampled_from([None, 0, 50, 100]))
    def set_priority(self, name: str, priority: int | None) -> None:
        before = self.scheduler.snapshot().mode
        self.tell(ev.PriorityChanged(name, priority))
        assert self.scheduler.snapshot().mode == before

    @rule(data=st.data(), none=st.sampled_from([False, False, False, True]))
    def switch_mode(self, data: st.DataObject, none: bool) -> None:  # noqa: FBT001 - drawn
        some = st.lists(st.sampled_from(sorted(self.books) or NAMES), max_size=2, unique=True)
        pin, disable = data.draw(some), data.draw(some)
        priority = st.dictionaries(
            st.sampled_from(NAMES), st.sampled_from([0, 50, 100]), max_size=2
        )
        self.asked = Mode(
            name=data.draw(st.sampled_from("mn")),
            pin=tuple(pin),
            priority=data.draw(priority),
            disable=tuple(name for name in disable if name not in pin),
        )
        self.asked = None if none else self.asked
        before = self.scheduler.snapshot()
        said = self.tell(ev.ModeChanged(self.asked))
        after = self.scheduler.snapshot()
        answers = [d for d in said if isinstance(d, (de.SwitchMode, de.RefuseMode))]
        assert len(answers) == 1
        assert after.mode == (
            before.mode if isinstance(answers[0], de.RefuseMode) else answers[0].mode
        )
        if isinstance(answers[0], de.RefuseMode):
            for one, other in zip(before.engines, after.engines, strict=False):
                assert (one.pinned, one.priority) == (other.pinned, other.priority)

    @invariant()
    def pins_and_disabled_models_are_those_of_the_mode(self) -> None:
        for engine in self.scheduler.snapshot().engines:
            assert engine.pinned == self.is_pinned(engine.model)
            assert engine.disabled == self.is_disabled(engine.model)

    @rule(data=st.data(), budget=st.sampled_from([0, 400, 1000, 1000, 1000, 1500]))
    def change_budget(self, data: st.DataObject, budget: int) -> None:
        pool = data.draw(st.sampled_from(self.pools))
        self.budget[pool] = budget
        self.tell(ev.BudgetChanged(pool, budget))

    @rule(data=st.data(), available=st.sampled_from([None, None, 0, 300, 2000]))
    def sample(self, data: st.DataObject, available: int | None) -> None:
        pool = data.draw(st.sampled_from(self.pools))
        on_its_way = sum(
            self.held(book, pool) for book in self.books.values() if book.state == "loading"
        )
        if available is None:
            self.seen.pop(pool, None)
        else:
            self.seen[pool] = (available, self.reserved(pool) - on_its_way)
        self.tell(ev.MemorySampled(pool, available, None))

    @rule(data=st.data(), count=st.integers(1, 3))
    def runs_arrive(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            model = data.draw(st.sampled_from(sorted(self.books) or NAMES))
            request = Request(id=len(self.requests) + 1, models=(model,))
            self.requests[request.id] = request
            self.tell(ev.RequestArrived(request))

    @precondition(lambda self: self.open())
    @rule(count=st.integers(1, 4))
    def engines_answer(self, count: int) -> None:
        for _ in range(count):
            self.answer_one()

    @rule(
        data=st.data(),
        kind=st.sampled_from([*[RequestKind.INFER] * 2, *RequestKind, RequestKind.HOLD]),
        options=st.fixed_dictionaries(
            {
                "priority": st.sampled_from([None, None, 0, 50, 90, 100]),
                "items": st.sampled_from([1, 1, 1, 2, 5]),
                "payload_bytes": st.sampled_from([0, 10, 20]),
                "stream": st.sampled_from([None, "x"]),
            }
        ),
        deadline=st.sampled_from([None, None, 0, 10 * MS, 500 * MS]),
        ttl=st.sampled_from([None, 1, 200 * MS]),
    )
    def arrive(
        self,
        data: st.DataObject,
        kind: RequestKind,
        options: dict[str, Any],
        deadline: int | None,
        ttl: int | None,
    ) -> None:
        models = (data.draw(st.sampled_from(sorted(self.books) or NAMES)),)
        if kind is not RequestKind.INFER:
            options["items"] = 1
        if kind is RequestKind.HOLD:
            options["ttl_ns"] = ttl
            there = st.sampled_from(sorted(self.books) or NAMES)
            models = tuple(data.draw(st.lists(there, min_size=1, max_size=3, unique=True)))
        held = [lease for lease in self.leases.values() if lease.holds]
        if kind is RequestKind.INFER and held and data.draw(st.booleans()):
            lease = data.draw(st.sampled_from(held))
            options["under_lease"] = lease.lease_id
            models = (data.draw(st.sampled_from(lease.engines)).model,)
        options["deadline_ns"] = None if deadline is None else self.now + deadline
        request = Request(id=len(self.requests) + 1, models=models, kind=kind, **options)
        self.requests[request.id] = request
        self.tell(ev.RequestArrived(request))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.requests)))
        self.tell(ev.RequestCancelled(request_id))
        assert request_id in self.ended

    @rule(lease_id=st.integers(0, 6), renew=st.booleans())
    def renew_or_revoke(self, lease_id: int, renew: bool) -> None:  # noqa: FBT001 - drawn
        event = ev.LeaseRenewed(lease_id) if renew else ev.LeaseRevocationAsked(lease_id)
        self.tell(event)

    @precondition(lambda self: self.some("loading"))
    @rule(data=st.data(), seen=st.one_of(st.none(), st.integers(-50, 700)), sure=st.booleans())
    def load_ends(self, data: st.DataObject, seen: int | None, sure: bool) -> None:  # noqa: FBT001
        book = self.any_of(data, "loading")
        if book is None:
            return
        measured = {} if seen is None else {self.pools[-1]: ev.Measurement(seen, sure)}
        book.state, book.loaded_ns = "ready", self.now
        self.believe(book, measured)
        self.tell(ev.EngineLoaded(book.spec.name, book.instance, measured))

    @precondition(lambda self: self.some("loading"))
    @rule(data=st.data(), memory=st.booleans())
    def load_fails(self, data: st.DataObject, memory: bool) -> None:  # noqa: FBT001 - drawn
        book = self.any_of(data, "loading")
        if book is not None:
            self.gone(book)
            self.tell(ev.EngineLoadFailed(book.spec.name, book.instance, "no", memory))

    @precondition(lambda self: self.some("unloading"))
    @rule(data=st.data(), left=st.one_of(st.none(), st.integers(-5, 20)))
    def unload_ends(self, data: st.DataObject, left: int | None) -> None:
        book = self.any_of(data, "unloading")
        if book is None:
            return
        residue = {} if left is None else {self.pools[0]: ev.Measurement(left)}
        self.residue[self.pools[0]] += max(left or 0, 0)
        self.gone(book)
        self.tell(ev.EngineUnloaded(book.spec.name, book.instance, residue))

    @rule(data=st.data(), state=st.sampled_from(["loading", "ready", "ready", "unloading"]))
    def lose(self, data: st.DataObject, state: str) -> None:
        book = self.any_of(data, state)
        if book is not None:
            self.gone(book)
            self.tell(ev.EngineLost(book.spec.name, book.instance, "killed"))

    @precondition(lambda self: self.some("ready"))
    @rule(data=st.data(), run_ns=st.sampled_from([0, MS // 4, 2 * MS]))
    def be_known_as_quick(self, data: st.DataObject, run_ns: int) -> None:
        """Runs of no length, so that those who queue go in turn."""
        book = self.any_of(data, "ready")
        for _ in range(6 if book is not None else 0):
            self.now += run_ns
            if book.run is not None:
                self.end(self.leases[book.run], "well")
            for _ in range(2):
                request = Request(id=len(self.requests) + 1, models=(book.spec.name,))
                self.requests[request.id] = request
                self.tell(ev.RequestArrived(request))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), how=st.sampled_from(["well", "well", "badly", "one badly", "grown"]))
    def lease_ends(self, data: st.DataObject, how: str) -> None:
        begun = sorted(i for i, lease in self.leases.items() if lease.after not in self.leases)
        self.end(self.leases[data.draw(st.sampled_from(begun))], how)

    def end(self, lease: de.GrantLease, how: str) -> None:
        model = lease.engines[0].model
        event = ev.LeaseEnded(lease.lease_id)
        if how == "badly":
            event = ev.LeaseEnded(lease.lease_id, Outcome.FAILED, "it broke", out_of_memory=True)
            book = self.books[model]
            if not lease.holds and book.run_items > 1:
                # It grows back after more runs than a story has.
                book.most_items = max(1, min(book.most_items, book.run_items) // 2)
        elif how == "one badly":
            event = ev.LeaseEnded(lease.lease_id, errors=((lease.request_ids[0], "bad input"),))
        elif how == "grown":
            grown = {model: {self.pools[0]: ev.Measurement(450)}}
            event = ev.LeaseEnded(lease.lease_id, measured=grown)
            self.believe(self.books[model], grown[model])
        self.let_go(lease.lease_id)
        self.tell(event)

    @rule(model=st.sampled_from(NAMES), back=st.integers(1, 3), what=st.integers(0, 4))
    def old_news(self, model: str, back: int, what: int) -> None:
        """Late and duplicate events of instances and leases that are over."""
        instance = self.last_instances.get(model, 0) - back
        stale: list[ev.Event] = [
            ev.EngineLoaded(model, instance),
            ev.EngineLoadFailed(model, instance, "late"),
            ev.EngineUnloaded(model, instance, {self.pools[0]: ev.Measurement(500)}),
            ev.EngineLost(model, instance, "late"),
            ev.LeaseEnded(1000 + back),
        ]
        assert self.tell(stale[what]) == []

    @rule(model=st.sampled_from(NAMES), what=st.integers(0, 3))
    def repeated_news(self, model: str, what: int) -> None:
        """News of this instance that its state cannot bring: it has come before."""
        book = self.books.get(model)
        if book is None or book.state not in {"unloaded", "ready"}:
            return
        twice: list[ev.Event] = [
            ev.EngineLoaded(model, book.instance),
            ev.EngineLoadFailed(model, book.instance, "again"),
            ev.EngineUnloaded(model, book.instance, {self.pools[0]: ev.Measurement(500)}),
        ]
        if book.state == "unloaded":
            twice.append(ev.EngineLost(model, book.instance, "again"))
        assert self.tell(twice[what % len(twice)]) == []

    @rule(ns=st.sampled_from([1, MS, 5 * MS, 100 * MS, 2_000 * MS, 12_000 * MS]))
    def wait(self, ns: int) -> None:
        self.pass_time(self.now + ns)

    def pass_time(self, until: int) -> None:
        for _ in range(1000):
            next_ns = self.scheduler.next_timer()
            self.slow_pass_time(until if next_ns is None else min(next_ns, until))
            if next_ns is None or next_ns > until:
                break
            self.now = next_ns
            self.tell(ev.TimerFired())
        else:
            raise AssertionError("it spins")
        self.now = until
        assert self.tell(ev.TimerFired()) == [], "no timer was asked for"

    def slow_pass_time(self, until: int) -> None:
        """Looking more often than the fast paths ask for finds nothing more to decide."""
        while (next_ns := self.slow.next_timer()) is not None and next_ns < until:
            with no_fast_paths():
                assert self.slow.handle(ev.TimerFired(), next_ns) == []

    @rule(data=st.data(), gap=st.sampled_from([2 * MS, 33 * MS, 300 * MS]), count=st.integers(4, 9))
    def stream(self, data: st.DataObject, gap: int, count: int) -> None:
        """Requests that keep time, so that the next one is expected; some engines answer."""
        model = data.draw(st.sampled_from(sorted(self.books) or NAMES))
        answers = data.draw(st.integers(0, 2))
        for _ in range(count):
            self.pass_time(self.now + gap)
            request = Request(id=len(self.requests) + 1, models=(model,))
            self.requests[request.id] = request
            self.tell(ev.RequestArrived(request))
            for _ in range(answers):
                self.answer_one()

    @rule(rarely=st.integers(0, 19), grace=st.sampled_from([None, 0, 300 * MS]))
    def drain(self, rarely: int, grace: int | None) -> None:
        if rarely == 19:
            self.tell(ev.DrainRequested(None if grace is None else self.now + grace))

    # -- what holds -------------------------------------------------------------------------

    @invariant()
    def no_deadline_has_passed_unanswered(self) -> None:
        for wait in self.scheduler.snapshot().waiting:
            assert wait.deadline_ns is None or wait.deadline_ns > self.now

    @invariant()
    def a_forgotten_model_has_left_the_books(self) -> None:
        there = {engine.model for engine in self.scheduler.snapshot().engines}
        for name in set(self.books) - there:
            assert self.books[name].state == "unloaded"
            del self.books[name]

    def teardown(self) -> None:
        if not self.sound:
            return  # It has failed already, and what follows would hide where.
        for pool in self.pools:
            self.seen.pop(pool, None)
            self.tell(ev.MemorySampled(pool))
        for _ in range(3000):
            if not self.answer_one():
                next_ns = self.scheduler.next_timer()
                waiting = self.scheduler.snapshot().waiting
                if next_ns is None or (not waiting and next_ns > self.now + 10_000 * MS):
                    break
                self.now = next_ns
                self.tell(ev.TimerFired())
            if not self.scheduler.snapshot().waiting and not self.open():
                break
        assert set(self.requests) == self.ended, self.scheduler.snapshot()
        self.replay()

    def open(self) -> bool:
        return bool(self.leases) or self.some("loading") or self.some("unloading")

    def answer_one(self) -> bool:
        self.a_forgotten_model_has_left_the_books()
        for book in self.books.values():
            if book.state == "loading":
                book.state, book.loaded_ns = "ready", self.now
                self.tell(ev.EngineLoaded(book.spec.name, book.instance))
                return True
            if book.state == "unloading":
                self.gone(book)
                self.tell(ev.EngineUnloaded(book.spec.name, book.instance))
                return True
        for lease in list(self.leases.values()):
            self.end(lease, "well")
            return True
        return False

    def replay(self) -> None:
        """The same events at the same times give the same decisions."""
        again = Scheduler(self.settings)
        for event, now, said in self.history:
            assert again.handle(event, now) == said


TestAnyStory = AnyStory.TestCase
TestAnyStory.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
