"""One configuration, tried in virtual time: who was answered, and who was not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.core.decisions import FinishRequest, GrantLease
from scheduler.core.events import EngineLoaded, ModelRegistered, RequestArrived
from scheduler.core.outcome import Outcome, ReasonCode
from scheduler.core.request import RequestKind
from scheduler.sim.simulation import simulate
from scheduler.trace.beginnings import Beginnings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler.config import Config
    from scheduler.core.decisions import Decision
    from scheduler.core.request import Request
    from scheduler.core.settings import Settings
    from scheduler.sim.simulation import Simulated
    from scheduler.trace.record import Record


@dataclass(slots=True)
class Figures:
    """One model. `replaced` are older frames that a newer one took the place of (`keep: latest`).

    `unmet` are those that ended without an answer in time, whatever the reason, but for `replaced`.
    `worst_wait_ns` is until the run began, or until the end of what never ran; `worst_answer_ns` is
    until the answer. `at_start` came before their pinned engine had been loaded for the first time:
    nothing can be done for those, so they are in no other figure.
    """

    asked: int = 0
    at_start: int = 0
    answered: int = 0
    replaced: int = 0
    unmet: int = 0
    worst_wait_ns: int = 0
    worst_answer_ns: int = 0


@dataclass(frozen=True, slots=True)
class Conditions:
    """What stays the same from trial to trial.

    `times` are records to draw load and run times from, `arrivals` those whose requests are asked
    instead of the sources'.
    """

    duration_ns: int
    seed: int = 1
    times: tuple[Record, ...] | None = None
    arrivals: tuple[Record, ...] | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """How it went: the figures of `models`, and the rest of what the simulation says."""

    models: dict[str, Figures]
    simulated: Simulated

    @property
    def unmet(self) -> int:
        """Requests that had no answer in time."""
        return sum(figures.unmet for figures in self.models.values())


def try_out(config: Config, settings: Settings, conditions: Conditions) -> Trial:
    """Simulate to the end."""
    watch = _Watch(config.models)
    simulated = _simulate(config, settings, conditions, watch)
    watch.close(conditions.duration_ns)
    return Trial(watch.models, simulated)


def is_met(config: Config, settings: Settings, conditions: Conditions) -> bool:
    """Whether everybody is answered in time; looks no further than to the first who is not."""
    try:
        _simulate(config, settings, conditions, _Watch(config.models, until_first=True))
    except _UnmetError:
        return False
    return True


def _simulate(
    config: Config, settings: Settings, conditions: Conditions, watch: _Watch
) -> Simulated:
    return simulate(
        config,
        settings,
        duration_ns=conditions.duration_ns,
        seed=conditions.seed,
        times=conditions.times,
        arrivals=conditions.arrivals,
        observers=[watch],
    )


class _UnmetError(Exception):
    """Ends a simulation whose answer is known."""


class _Watch:
    """Counts what becomes of each request."""

    def __init__(self, models: Iterable[str], *, until_first: bool = False) -> None:
        self.models = {name: Figures() for name in models}
        self._until_first = until_first
        self._starting: set[str] = set()
        self._open: dict[int, _Asked] = {}
        self._beginnings = Beginnings()

    def observe(self, record: Record) -> None:
        """See Observer."""
        match record.event:
            case RequestArrived(request) if request.kind is RequestKind.INFER:
                self._arrived(request, record.at_ns)
            case ModelRegistered(spec) if spec.pinned:
                self._starting.add(spec.name)
            case EngineLoaded(model):
                self._starting.discard(model)
            case _:
                pass
        for grant in self._beginnings.of(record):
            self._began(grant, record.at_ns)
        for decision in record.decisions:
            self._decided(decision, record.at_ns)

    def close(self, now: int) -> None:
        """What still waits at the end has waited until then."""
        for asked in self._open.values():
            asked.begin(now)

    def _arrived(self, request: Request, now: int) -> None:
        figures = self.models[request.models[0]]
        if request.models[0] in self._starting:
            figures.at_start += 1
            return
        figures.asked += 1
        self._open[request.id] = _Asked(figures, now)

    def _began(self, grant: GrantLease, now: int) -> None:
        for asked in map(self._open.get, grant.request_ids):
            if asked is not None:
                asked.begin(now)

    def _decided(self, decision: Decision, now: int) -> None:
        match decision:
            case FinishRequest(request_id, outcome, reason) if request_id in self._open:
                code = None if reason is None else reason.code
                missed = self._open.pop(request_id).end(outcome, code, now)
                if missed and self._until_first:
                    raise _UnmetError
            case _:
                pass


@dataclass(slots=True)
class _Asked:
    """A request that has not ended."""

    figures: Figures
    arrived_ns: int
    runs: bool = False

    def begin(self, now: int) -> None:
        """It runs, or waits no longer."""
        if not self.runs:
            waited_ns = now - self.arrived_ns
            self.figures.worst_wait_ns = max(self.figures.worst_wait_ns, waited_ns)
        self.runs = True

    def end(self, outcome: Outcome, code: ReasonCode | None, now: int) -> bool:
        """Count it. True when there was no answer in time."""
        figures = self.figures
        if outcome is Outcome.COMPLETED:
            figures.answered += 1
            figures.worst_answer_ns = max(figures.worst_answer_ns, now - self.arrived_ns)
            return False
        if code is ReasonCode.SUPERSEDED:
            figures.replaced += 1
            return False
        self.begin(now)
        figures.unmet += 1
        return True
