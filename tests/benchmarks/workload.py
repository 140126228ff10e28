"""One workload: a configuration, and every frame that its sources are to send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from optimum import EngineFacts, Instance
from pauses import ALWAYS, PAUSES

from scheduler.config import Config, Model, load_config
from scheduler.config.source import Arrivals, SourceConfig
from scheduler.core.model import SECOND_NS
from scheduler.core.settings import Settings
from scheduler.sim.times import FixedTimes, written_times
from scheduler.source.arrivals import BURST_FRAMES, Schedule

FOLDER = Path(__file__).parent / "workloads"
DURATION_S = {"mixed_priorities": 300, "jetson": 600}
"""Long enough for some hundred requests; the others run for a minute."""
USUAL_S = 60


@dataclass(frozen=True, slots=True)
class Frame:
    """What a source asks when it is due; an answer after `deadline_ns` is of no use."""

    due_ns: int
    deadline_ns: int
    source: str
    model: str


@dataclass(frozen=True, slots=True)
class Workload:
    """A configuration of synthetic engines in one pool, and its frames in the order of arrival."""

    name: str
    about: str
    config: Config
    duration_ns: int
    due_ns: Mapping[str, tuple[int, ...]]
    frames: tuple[Frame, ...]

    @property
    def is_periodic(self) -> bool:
        """Whether every source sends one frame each period, all the time."""
        paused = PAUSES.get(self.name, {}).values()
        regular = all(s.arrivals is Arrivals.PERIODIC for s in self.config.sources.values())
        return regular and all(not pauses.off_s for pauses in paused)

    @property
    def settings(self) -> Settings:
        """What the core is told."""
        return self.config.settings({})

    @property
    def times(self) -> dict[str, FixedTimes]:
        """What each engine takes."""
        return {name: _times(model) for name, model in self.config.models.items()}

    @property
    def most_important(self) -> frozenset[str]:
        """The models of the highest priority."""
        models = self.config.models
        highest = max(model.priority for model in models.values())
        return frozenset(name for name, model in models.items() if model.priority == highest)

    def instance(self) -> Instance:
        """What the optimum is asked: all frames of the whole duration."""
        ((pool, budget),) = self.settings.pools.items()
        return Instance(
            {name: _facts(model, pool) for name, model in self.config.models.items()},
            budget.budget_bytes - self.settings.overhead_bytes(pool),
            tuple(frame.model for frame in self.frames),
            self._held(),
        )

    def of_most_important(self) -> Workload:
        """The same without the sources of all other models: what these get when they are alone."""
        important = self.most_important
        sources = {n: s for n, s in self.config.sources.items() if s.model in important}
        return replace(
            self,
            config=self.config.model_copy(update={"sources": sources}),
            due_ns={name: self.due_ns[name] for name in sources},
            frames=tuple(frame for frame in self.frames if frame.model in important),
        )

    def _held(self) -> frozenset[int]:
        """The frames after which the lease of their source lasts until its next one."""
        held = set()
        last: dict[str, int] = {}
        for place, frame in enumerate(self.frames):
            lease = self.config.sources[frame.source].lease
            if lease is None:
                continue
            before = last.get(frame.source)
            if before is not None and frame.due_ns - self.frames[before].due_ns <= lease.ttl:
                held.add(before)
            last[frame.source] = place
        return frozenset(held)


def load_workloads() -> list[Workload]:
    """All of them, by name."""
    return [read_workload(path) for path in sorted(FOLDER.glob("*.yaml"))]


def read_workload(path: Path) -> Workload:
    """One of them. The sentence on top of its file says what it is about."""
    config = load_config(path)
    duration_ns = DURATION_S.get(path.stem, USUAL_S) * SECOND_NS
    due_ns = {
        name: _due_ns(path.stem, name, source, duration_ns)
        for name, source in config.sources.items()
    }
    about = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
    frames = _in_order_of_arrival(config, due_ns)
    return Workload(path.stem, about, config, duration_ns, due_ns, frames)


def _due_ns(workload: str, name: str, source: SourceConfig, until_ns: int) -> tuple[int, ...]:
    if source.rate is None:
        raise ValueError(f"{workload}: sources.{name} has no rate; give it one")
    schedule = Schedule(
        source.rate,
        source.arrivals,
        jitter_ns=source.jitter,
        seed=source.seed,
        burst_frames=source.size or BURST_FRAMES,
    )
    pauses = PAUSES.get(workload, {}).get(name, ALWAYS)
    return tuple(takewhile(lambda at_ns: at_ns < until_ns, pauses.due_times(schedule)))


def _in_order_of_arrival(
    config: Config, due_ns: Mapping[str, tuple[int, ...]]
) -> tuple[Frame, ...]:
    """Frames due at once come in the order in which the simulator lets them.

    That is: whose source waited the longest for it, then as the sources are written.
    """
    keyed = []
    for index, (name, times) in enumerate(due_ns.items()):
        source = config.sources[name]
        deadline_ns = source.deadline or config.models[source.model].deadline
        if deadline_ns is None:
            raise ValueError(f"sources.{name}: its frames have no deadline; give one to its model")
        before = -1
        for at_ns in times:
            frame = Frame(at_ns, at_ns + deadline_ns, name, source.model)
            keyed.append(((at_ns, before, index), frame))
            before = at_ns
    return tuple(frame for _, frame in sorted(keyed, key=lambda pair: pair[0]))


def _times(model: Model) -> FixedTimes:
    times = written_times(model)
    if times is None:
        raise ValueError(f"models.{model.name}: only synthetic engines have times; use one")
    return times


def _facts(model: Model, pool: str) -> EngineFacts:
    footprint = model.pool_footprints(pool)[pool]
    return EngineFacts(
        resident_bytes=footprint.resident_bytes,
        load_ns=_times(model).load,
        workspace_bytes=footprint.running_bytes(1),
        load_peak_bytes=footprint.load_peak_bytes,
        exclusive=model.exclusive,
        pinned=model.pinned,
    )
