"""How long engines took in a recorded run, to draw from in a simulation."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from scheduler.core.decisions import FinishRequest, GrantLease, LoadEngine, UnloadEngine
from scheduler.core.events import (
    EngineLoaded,
    EngineUnloaded,
    LeaseEnded,
    RequestArrived,
)
from scheduler.core.outcome import Outcome
from scheduler.sim.times import form_key
from scheduler.trace.beginnings import Beginnings

if TYPE_CHECKING:
    from scheduler.core.decisions import Decision
    from scheduler.core.events import Event
    from scheduler.sim.times import EngineTimes
from scheduler.trace.record import Record

KEPT = 4096
"""So many durations of one kind and model are kept, each with the same chance."""


class Sample:
    """A sample of a stream in bounded memory (reservoir sampling, Vitter 1985, algorithm R)."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._seen = 0
        self._kept = array("q")

    def __bool__(self) -> bool:
        return bool(self._kept)

    def add(self, value: int) -> None:
        """Take one more."""
        self._seen += 1
        if len(self._kept) < KEPT:
            self._kept.append(value)
        elif (place := self._chance.randrange(self._seen)) < KEPT:
            self._kept[place] = value

    def draw(self) -> int:
        """One of them, each with the same chance."""
        return self._chance.choice(self._kept)


class ObservedTimes:
    """What one model was seen to take; `otherwise` says it for what was never seen."""

    def __init__(self, chance: random.Random, otherwise: EngineTimes) -> None:
        self.loads = Sample(chance)
        self.unloads = Sample(chance)
        self.runs: dict[int, Sample] = {}
        self._chance = chance
        self._otherwise = otherwise

    def add_run(self, items: int, duration_ns: int) -> None:
        """Take one more run of a batch of `items`."""
        if items not in self.runs:
            self.runs[items] = Sample(self._chance)
        self.runs[items].add(duration_ns)

    def load_ns(self) -> int:
        """See EngineTimes."""
        return self.loads.draw() if self.loads else self._otherwise.load_ns()

    def run_ns(self, items: int) -> int:
        """See EngineTimes. A size never seen takes what the next larger one took.

        Beyond the largest seen, time grows in proportion: batching is not believed to help there.
        """
        if not self.runs:
            return self._otherwise.run_ns(items)
        size = min((seen for seen in self.runs if seen >= items), default=max(self.runs))
        drawn_ns = self.runs[size].draw()
        return drawn_ns if size >= items else drawn_ns * items // size

    def unload_ns(self) -> int:
        """See EngineTimes."""
        return self.unloads.draw() if self.unloads else self._otherwise.unload_ns()


def observe_times(
    records: Iterable[Record], otherwise: Mapping[str, EngineTimes], seed: int
) -> dict[str, ObservedTimes]:
    """How long the forms of `otherwise` took in a recorded run; only completed acts count."""
    times = {
        name: ObservedTimes(random.Random(f"{seed}/times/{name}"), fallback)  # noqa: S311
        for name, fallback in otherwise.items()
    }
    watch, beginnings = _Watch(times), Beginnings()
    for record in records:
        watch.hear(record.event, record.at_ns)
        for grant in beginnings.of(record):
            watch.begin(grant, record.at_ns)
        for decision in record.decisions:
            watch.see(decision, record.at_ns)
    return times


class _Watch:
    """Pairs each decision with the event in which it ends."""

    def __init__(self, times: Mapping[str, ObservedTimes]) -> None:
        self._times = times
        self._loads: dict[tuple[str, int], int] = {}
        self._unloads: dict[tuple[str, int], int] = {}
        self._runs: dict[int, tuple[str, int, int, int]] = {}
        self._items: dict[int, int] = {}
        self._forms: dict[str, str] = {}

    def hear(self, event: Event, now: int) -> None:
        match event:
            case RequestArrived(request):
                self._items[request.id] = request.items
            case EngineLoaded(model, instance) if (model, instance) in self._loads:
                loaded_ns = now - self._loads.pop((model, instance))
                self._times[self._forms[model]].loads.add(loaded_ns)
            case EngineUnloaded(model, instance) if (model, instance) in self._unloads:
                unloaded_ns = now - self._unloads.pop((model, instance))
                self._times[self._forms[model]].unloads.add(unloaded_ns)
            case LeaseEnded(lease_id, outcome, errors=errors) if lease_id in self._runs:
                model, items, runs, granted_ns = self._runs.pop(lease_id)
                if outcome is Outcome.COMPLETED and not errors:
                    for _ in range(runs):
                        self._times[model].add_run(items // runs, (now - granted_ns) // runs)
            case _:
                pass

    def see(self, decision: Decision, now: int) -> None:
        match decision:
            case LoadEngine(model, instance, variant):
                self._forms[model] = form_key(model, variant)
                if self._forms[model] in self._times:
                    self._loads[model, instance] = now
            case UnloadEngine(model, instance) if self._is_known(model):
                self._unloads[model, instance] = now
            case FinishRequest(request_id):
                self._items.pop(request_id, None)
            case _:
                pass

    def begin(self, grant: GrantLease, now: int) -> None:
        model = grant.engines[0].model
        if not grant.holds and self._is_known(model):
            items = sum(self._items.get(request_id, 1) for request_id in grant.request_ids)
            runs = len(grant.request_ids) if grant.in_turn else 1
            self._runs[grant.lease_id] = (self._forms[model], items, runs, now)

    def _is_known(self, model: str) -> bool:
        """Whether the form of a model that is in memory is one of those asked for.

        One that was loaded before the records begin is taken for the only one there is.
        """
        return self._forms.setdefault(model, model) in self._times
