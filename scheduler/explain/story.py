"""The story of one request, from a trace: what is known from its lines, and from deciding again."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.core.events import RequestArrived
from scheduler.core.request import NO_DEADLINE_NS, RequestKind
from scheduler.errors import RotaError
from scheduler.explain.life import Life
from scheduler.explain.nearest import Nearest
from scheduler.explain.playback import IncompleteTraceError, Playback
from scheduler.explain.residence import Residence, Stay
from scheduler.explain.wait import Wait
from scheduler.explain.weighing import Listener, Weighing, told
from scheduler.trace.line import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scheduler.core.events import Event
    from scheduler.core.outcome import ReasonCode
    from scheduler.core.request import Request
    from scheduler.core.snapshot import Snapshot
    from scheduler.trace.header import Header
    from scheduler.trace.record import Record


REMEMBERED = 32
"""Looks for room that are not told again: the same few often alternate as others come and go."""


class UnknownRequestError(RotaError):
    """Raised when no request of that number arrives in a trace."""


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of one request.

    `spent_ns` is per code what it waited for, empty where that is not known: `note` says why then.
    `weighing` is the look for victims when most was missing, and `budgets` are the bytes of each
    pool at that time. `stays` are its models' engines as it arrived; `until_ns` is its end, or the
    trace's.
    """

    life: Life
    stays: tuple[Stay, ...]
    spent_ns: Mapping[ReasonCode, int]
    weighing: Weighing | None
    budgets: Mapping[str, int]
    until_ns: int
    note: str

    @property
    def deadline_ns(self) -> int | None:
        """The deadline, counted from the arrival, or None."""
        request = self.life.request
        if request.deadline_ns is not None:
            bound = request.deadline_ns < NO_DEADLINE_NS
            return request.deadline_ns - self.life.arrived_ns if bound else None
        if request.kind is not RequestKind.INFER or not self.stays:
            return None
        return self.stays[0].spec.deadline_ns


def read_story(header: Header, records: Iterable[Record], request_id: int) -> Story:
    """Follow one request through `records`, in memory that does not grow with them.

    Raises:
        UnknownRequestError: it is not there; the sentence names the nearest.
        TraceError: a line is corrupt.
    """
    teller = _Teller(header, request_id)
    for record in records:
        if teller.take(record):
            break
    return teller.story()


class _Teller:
    def __init__(self, header: Header, request_id: int) -> None:
        self._request_id = request_id
        self._by_use = header.settings.policy != "rota"
        self._budgets = {name: pool.budget_bytes for name, pool in header.settings.pools.items()}
        self._listener = Listener(request_id)
        self._residence = Residence(header.settings.mode)
        self._nearest = Nearest(request_id)
        self._wait = Wait(request_id)
        self._life: Life | None = None
        self._stays: tuple[Stay, ...] = ()
        self._worst: Weighing | None = None
        self._told: deque[tuple[object, ...]] = deque(maxlen=REMEMBERED)
        self._until_ns = header.started_ns
        self._note = ""
        self._playback: Playback | None = None
        try:
            self._playback = Playback(header.settings, self._listener)
        except TraceError as error:
            self._note = str(error)

    def take(self, record: Record) -> bool:
        """Follow one step. True when the request has ended."""
        self._until_ns = record.at_ns
        self._decide_again(record)
        if self._life is None:
            self._await(record.event, record.at_ns)
        else:
            self._life.hear(record.event, record.at_ns)
        if self._life is not None:
            self._go_on(self._life, record)
        self._residence.take(record)
        return self._life is not None and self._life.ended_ns is not None

    def story(self) -> Story:
        """What it comes to. Raises UnknownRequestError."""
        if self._life is None:
            near = ", ".join(map(str, self._nearest.ids()))
            what = f"the nearest are {near}" if near else "the trace has no requests at all"
            raise UnknownRequestError(f"no request {self._request_id} arrives in it; {what}")
        return Story(
            life=self._life,
            stays=self._stays,
            spent_ns=dict(self._wait.spent_ns),
            weighing=self._worst,
            budgets=self._budgets,
            until_ns=self._until_ns,
            note=self._note,
        )

    def _decide_again(self, record: Record) -> None:
        if self._playback is None:
            return
        self._listener.forget()
        try:
            difference = self._playback.step(record)
        except IncompleteTraceError as error:
            self._stop_deciding(error.missing)
            return
        if difference is not None:
            self._stop_deciding(f"this Rota decides otherwise at record {record.sequence}")

    def _stop_deciding(self, why: str) -> None:
        self._playback = None
        self._note = why

    def _await(self, event: Event, now: int) -> None:
        if not isinstance(event, RequestArrived):
            return
        if event.request.id == self._request_id:
            self._begin(event.request, now)
        else:
            self._nearest.add(event.request.id)

    def _begin(self, request: Request, now: int) -> None:
        self._life = Life(request, now)
        known = self._residence.stays
        self._stays = tuple(self._residence.stay(m) for m in request.models if m in known)
        where = "; ".join(stay.described(now) for stay in self._stays)
        self._life.moments.add(now, f"comes; {where}" if where else "comes")

    def _go_on(self, life: Life, record: Record) -> None:
        snapshot = None if self._playback is None else self._playback.snapshot()
        if snapshot is not None:
            self._tell_weighing(life, snapshot)
        life.see(record)
        if snapshot is None:
            return
        changed = self._wait.look(snapshot)
        if changed:
            life.moments.add(record.at_ns, changed)

    def _tell_weighing(self, life: Life, snapshot: Snapshot) -> None:
        weighing = self._listener.heard
        if weighing is None or weighing.choice in self._told:
            return
        if self._worst is None or _missing(weighing) > _missing(self._worst):
            self._worst = weighing
            self._budgets = {pool.name: pool.budget_bytes for pool in snapshot.pools}
        self._told.append(weighing.choice)
        lines = told(weighing, snapshot, by_use=self._by_use, own=life.request.models)
        life.moments.add(snapshot.now_ns, "looks for room", tuple(lines))


def _missing(weighing: Weighing) -> int:
    return sum(weighing.deficits.values())
