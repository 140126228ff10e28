"""The sources of a configuration, as feeds in virtual time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from scheduler.config.source import Arrivals, OriginKind, SourceConfig
from scheduler.report.report import SourceReport
from scheduler.sim.feed import Asking, Feed, Plainly
from scheduler.sim.medium import BLOCK_HZ, medium
from scheduler.sim.tenure import Tenure
from scheduler.source.arrivals import Schedule, schedule_of
from scheduler.source.source import SourceError

if TYPE_CHECKING:
    from scheduler.sim.simulator import Simulator

UTTERANCE_HZ = 0.1
"""Somebody says something every ten seconds on average: a guess, as nothing is heard."""


class Starting(Protocol):
    """What begins with the simulation."""

    def start(self) -> None:
        """Begin."""


class Workload:
    """The feeds of all sources. `notes` says what was assumed of each, a line for each."""

    def __init__(
        self, simulator: Simulator, sources: Mapping[str, SourceConfig], *, seed: int
    ) -> None:
        self.notes: list[str] = []
        self.feeds: dict[str, Feed] = {}
        self._starting: list[Starting] = []
        for name, source in sources.items():
            self._add(simulator, name, source, seed)

    def start(self) -> None:
        """Let all of them begin."""
        for one in self._starting:
            one.start()

    def report(self) -> dict[str, SourceReport]:
        """What became of each source's frames."""
        return {
            name: SourceReport(sent=feed.sent, dropped=feed.dropped)
            for name, feed in self.feeds.items()
        }

    def _add(self, simulator: Simulator, name: str, source: SourceConfig, seed: int) -> None:
        chance = random.Random(f"{seed}/{name}")  # noqa: S311 - arrivals, not secrets
        own_seed = chance.getrandbits(63) ^ source.seed
        feed = self.feeds[name] = Feed(
            simulator,
            self._asking(simulator, name, source),
            self._due_times(name, source, own_seed),
            paced=source.rate is not None or source.realtime,
            deadline_ns=source.deadline_ns(),
            outstanding=source.outstanding,
        )
        self._starting.append(feed)

    def _asking(self, simulator: Simulator, name: str, source: SourceConfig) -> Asking:
        if source.lease is None:
            return Plainly(simulator, source.model, stream=name, priority=source.priority)
        priority = source.priority if source.lease.priority is None else source.lease.priority
        tenure = Tenure(simulator, source.model, priority=priority, ttl_ns=source.lease.ttl)
        self._starting.append(tenure)
        return tenure

    def _due_times(self, name: str, source: SourceConfig, seed: int) -> Iterator[int]:
        kind = source.from_.kind
        schedule = schedule_of(source, seed)
        if kind is OriginKind.SYNTHETIC and schedule is not None:
            return schedule.due_times()
        if kind is OriginKind.MICROPHONE:
            return Schedule(BLOCK_HZ).due_times()
        if kind is OriginKind.UTTERANCES:
            self._note(name, f"nothing is heard: assuming speech at random, {UTTERANCE_HZ:g} Hz")
            return Schedule(UTTERANCE_HZ, Arrivals.POISSON, seed=seed).due_times()
        return self._recorded(name, source, schedule)

    def _recorded(
        self, name: str, source: SourceConfig, schedule: Schedule | None
    ) -> Iterator[int]:
        try:
            recording = medium(source.from_)
            if recording.assumed:
                self._note(name, recording.assumed)
            if schedule is None and not source.realtime:
                return recording.count(loop=source.loop)
            return recording.due_times(schedule, loop=source.loop)
        except SourceError as error:
            raise SourceError(f"sources.{name}: {error}") from error

    def _note(self, name: str, text: str) -> None:
        self.notes.append(f"sources.{name}: {text}")
