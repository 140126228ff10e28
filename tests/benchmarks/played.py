"""A workload under a policy, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

from figures import Figures
from workload import Workload

from scheduler.config.source import SourceConfig
from scheduler.core.decisions import LoadEngine
from scheduler.core.model import SECOND_NS
from scheduler.report.builder import ReportBuilder
from scheduler.runtime.pump import Observer
from scheduler.sim.feed import Asking, Feed, Plainly
from scheduler.sim.simulator import Simulator
from scheduler.sim.tenure import Tenure
from scheduler.trace.record import Record

SETTLE_NS = 30 * SECOND_NS
"""After the last frame: longer than any deadline, so that everything asked has ended."""


class LoadCount:
    """Counts the loads decided before `until_ns`: afterwards nobody asks for anything new."""

    def __init__(self, until_ns: int) -> None:
        self.models: list[str] = []
        self._until_ns = until_ns

    def observe(self, record: Record) -> None:
        """See Observer."""
        if record.at_ns < self._until_ns:
            self.models += [d.model for d in record.decisions if isinstance(d, LoadEngine)]


def play(workload: Workload, policy: str, observers: tuple[Observer, ...] = ()) -> Figures:
    """Run all frames of `workload`, as the sources of a robot would send them."""
    settings = replace(workload.settings, policy=policy)
    builder, count = ReportBuilder(settings, started_ns=0), LoadCount(workload.duration_ns)
    simulator = Simulator(settings, workload.times, (builder, count, *observers))
    for model in workload.config.models.values():
        simulator.register(model.to_spec(next(iter(settings.pools))))
    for name, source in workload.config.sources.items():
        _start(simulator, name, source, workload.due_ns[name])
    simulator.run(workload.duration_ns + SETTLE_NS)
    times = workload.times
    models = builder.report().models
    completed = {name: report.completed for name, report in models.items()}
    late = sum(report.deadline_missed for report in models.values())
    unserved = {name: -completed[name] for name in models}
    for frame in workload.frames:
        unserved[frame.model] += 1
    return Figures(
        load_ns=sum(times[name].load for name in count.models),
        loads=len(count.models),
        late=late,
        refused=sum(unserved.values()) - late,
        important=sum(unserved[name] for name in workload.most_important),
    )


def _start(simulator: Simulator, name: str, source: SourceConfig, due_ns: tuple[int, ...]) -> None:
    if source.lease is None:
        asking = Plainly(simulator, source.model, stream=name, priority=source.priority)
        _feed(simulator, asking, due_ns, source).start()
        return
    for spell_ns in _spells(due_ns, source.lease.ttl):
        tenure = Tenure(
            simulator, source.model, priority=source.lease.priority, ttl_ns=source.lease.ttl
        )
        feed = _feed(simulator, tenure, spell_ns, source)
        simulator.at(spell_ns[0], tenure.start)
        feed.start()


def _feed(
    simulator: Simulator, asking: Asking, due_ns: tuple[int, ...], source: SourceConfig
) -> Feed:
    return Feed(
        simulator,
        asking,
        iter(due_ns),
        deadline_ns=source.deadline,
        outstanding=source.outstanding,
    )


def _spells(due_ns: tuple[int, ...], ttl_ns: int) -> Iterator[tuple[int, ...]]:
    """The frames by lease: one that comes after the lease has run out begins another."""
    gaps = zip(due_ns, (0, *due_ns), strict=False)
    number = 0
    numbers = []
    for at_ns, before_ns in gaps:
        number += at_ns - before_ns > ttl_ns
        numbers.append(number)
    for _, spell in groupby(zip(numbers, due_ns, strict=True), key=_number):
        yield tuple(at_ns for _, at_ns in spell)


def _number(pair: tuple[Any, int]) -> Any:
    return pair[0]
