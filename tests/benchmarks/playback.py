"""The optimum's plan, played in time: which requests does it serve before their deadlines?

The plan says who is in memory, in the order of arrival. In time, a request whose engine is to be
loaded waits until it has arrived and all that has to leave for it has ended; whoever finds its
engine waits for that engine alone. Engines work at the same time where `uses` lets them, the more
important request first, and a batch takes along what has gathered. What cannot end in time is given
up when its turn comes. So the plan is played at its best, though it was made without deadlines.
"""

from __future__ import annotations

from heapq import heappop, heappush

from figures import Figures
from letting_go import LettingGo
from optimum import Optimum
from workload import Workload

from scheduler.core.model import ModelSpec


def figures_of(workload: Workload, optimum: Optimum) -> Figures:
    """What the optimum comes to on its workload."""
    playback = Playback(workload, optimum)
    late = playback.run()
    important = workload.most_important
    return Figures(
        load_ns=optimum.cost_ns,
        loads=playback.loads,
        late=len(late),
        refused=0,
        important=sum(workload.frames[place].model in important for place in late),
    )


class Playback:
    """Plays once, by `run`. A request is named by its place in the order of arrival."""

    def __init__(self, workload: Workload, optimum: Optimum) -> None:
        self._frames = workload.frames
        self._instance = workload.instance()
        self._specs = {name: model.to_spec() for name, model in workload.config.models.items()}
        self._times = workload.times
        self._units = dict(workload.config.resources)
        self._agenda: list[tuple[int, int, bool]] = []
        self._ready: list[tuple[int, int]] = []
        self._waits_for = [0] * len(self._frames)
        self._earliest_ns = [frame.due_ns for frame in self._frames]
        self._followers: list[list[tuple[int, int]]] = [[] for _ in self._frames]
        self._next: dict[int, int] = {}
        self._batches: dict[int, list[int]] = {}
        self._begun: set[int] = set()
        self._late: list[int] = []
        self._is_loaded: list[bool] = []
        self._depend(optimum)

    @property
    def loads(self) -> int:
        """How many the plan makes, those of pinned engines included."""
        return sum(self._is_loaded) + sum(spec.pinned for spec in self._specs.values())

    def run(self) -> list[int]:
        """Play all requests. Returns those that were not served in time."""
        for place, waits in enumerate(self._waits_for):
            if not waits:
                self._make_ready(place)
        while self._agenda:
            now, place, has_run = heappop(self._agenda)
            if has_run:
                self._stop(place, now)
            elif place not in self._begun:
                heappush(self._ready, (-self._spec(place).priority, place))
            if not self._agenda or self._agenda[0][0] > now:
                self._dispatch(now)
        return self._late

    def _spec(self, place: int) -> ModelSpec:
        return self._specs[self._frames[place].model]

    # -- who waits for whom -----------------------------------------------------------------

    def _depend(self, optimum: Optimum) -> None:
        """A request waits for the one before it on its engine; a load for those that must go."""
        letting_go = LettingGo(self._instance, optimum.kept)
        last: dict[str, int] = {}
        for place, frame in enumerate(self._frames):
            before = last.get(frame.model)
            pinned = self._spec(place).pinned
            is_loaded = not pinned and (before is None or not optimum.kept[before])
            self._is_loaded.append(is_loaded)
            if before is not None:
                self._next[before] = place
                self._wait(place, before, frame.model if is_loaded else None)
            gone = letting_go.serve(place, is_loaded=is_loaded)
            for other, its_last in gone.items() if is_loaded else ():
                self._wait(place, its_last, other)
            last[frame.model] = place

    def _wait(self, place: int, before: int, unloaded: str | None) -> None:
        delay_ns = self._times[unloaded].unload_ns() if unloaded else 0
        self._followers[before].append((place, delay_ns))
        self._waits_for[place] += 1

    def _make_ready(self, place: int) -> None:
        load_ns = self._times[self._frames[place].model].load_ns() if self._is_loaded[place] else 0
        heappush(self._agenda, (self._earliest_ns[place] + load_ns, place, False))

    def _end(self, place: int, now: int) -> None:
        for follower, delay_ns in self._followers[place]:
            self._waits_for[follower] -= 1
            self._earliest_ns[follower] = max(self._earliest_ns[follower], now + delay_ns)
            if not self._waits_for[follower] and follower not in self._begun:
                self._make_ready(follower)

    # -- running ----------------------------------------------------------------------------

    def _dispatch(self, now: int) -> None:
        blocked = []
        while self._ready:
            entry = heappop(self._ready)
            place = entry[1]
            spec = self._spec(place)
            if now + self._times[spec.name].run_ns(1) > self._frames[place].deadline_ns:
                self._begun.add(place)
                self._late.append(place)
                self._end(place, now)
            elif all(self._units[unit] >= count for unit, count in spec.uses.items()):
                self._start(place, now)
            else:
                blocked.append(entry)
        for entry in blocked:
            heappush(self._ready, entry)

    def _start(self, place: int, now: int) -> None:
        spec = self._spec(place)
        batch = self._batch(place, now)
        self._begun.update(batch)
        self._batches[place] = batch
        for unit, count in spec.uses.items():
            self._units[unit] -= count
        heappush(self._agenda, (now + self._times[spec.name].run_ns(len(batch)), place, True))

    def _batch(self, place: int, now: int) -> list[int]:
        """The request and those after it on its engine that are there and keep all in time."""
        spec, times = self._spec(place), self._times[self._frames[place].model]
        batch, until_ns = [place], self._frames[place].deadline_ns
        while len(batch) < spec.batch_max:
            after = self._next.get(batch[-1])
            if after is None or self._frames[after].due_ns > now or self._is_loaded[after]:
                break
            until_ns = min(until_ns, self._frames[after].deadline_ns)
            if now + times.run_ns(len(batch) + 1) > until_ns:
                break
            batch.append(after)
        return batch

    def _stop(self, place: int, now: int) -> None:
        for unit, count in self._spec(place).uses.items():
            self._units[unit] += count
        for member in self._batches.pop(place):
            self._end(member, now)
