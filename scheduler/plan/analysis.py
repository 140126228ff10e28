"""For which models an analytical bound holds, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.config.source import Arrivals
from scheduler.core.model import PRIORITY_CRITICAL, SECOND_NS
from scheduler.plan.bound import Stream, worst_answer_ns
from scheduler.sim.times import times_by_form, written_times

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.config import Config, Model
    from scheduler.config.source import SourceConfig
    from scheduler.core.settings import Settings

ASSUMPTIONS = (
    "frames come as `sources` says and nobody else asks, no run takes longer than its options say, "
    "loads do not slow runs, and the pinned engines have been loaded"
)
"""What every bound rests on, beside what is checked."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The longest time to an answer, or why there is none (`answer_ns` is None then).

    `on` is the resource that the model has for itself while it runs, "" when it needs none.
    """

    answer_ns: int | None
    why_not: str = ""
    on: str = ""


class Analysis:
    """One configuration, looked at model by model."""

    def __init__(self, config: Config, settings: Settings) -> None:
        self._models: Mapping[str, Model] = config.models
        self._sources = tuple(config.sources.values())
        self._settings = settings
        self._pool = next(iter(settings.pools))

    def bound(self, name: str) -> Bound:
        """The bound of one model, if all that it needs can be shown."""
        model = self._models[name]
        shared = next(iter(self._uses(model)), "")
        asking = [source for source in self._sources if source.model == name]
        why_not = self._whole(model) or self._server(model)
        if why_not or not asking:
            return Bound(None, why_not or "no source asks it", shared)
        lowest = min(self._priority(source) for source in asking)
        mates = [source for source in self._sources if self._shares(source, model)]
        before = [source for source in mates if self._priority(source) >= lowest]
        after = [source for source in mates if self._priority(source) < lowest]
        why_not = self._regular(before) or self._ageing(lowest, after)
        if why_not:
            return Bound(None, why_not, shared)
        return self._computed(asking, before, after, shared)

    def _computed(
        self,
        asking: list[SourceConfig],
        before: list[SourceConfig],
        after: list[SourceConfig],
        shared: str,
    ) -> Bound:
        longest_ns = max((self._run_ns(source) for source in after), default=0)
        streams = [(s, self._stream(s, s.rate)) for s in before if s.rate is not None]
        answers = []
        for source, stream in streams:
            others = [other for _, other in streams if other is not stream]
            answer_ns = worst_answer_ns(stream, others, longest_ns)
            if answer_ns is None:
                return Bound(None, "more is asked than can be run", shared)
            if answer_ns > (source.outstanding - 1) * stream.period_ns - stream.jitter_ns:
                return Bound(None, f"frames for {source.model} can gather at their source", shared)
            if source in asking:
                answers.append(answer_ns)
        return Bound(max(answers), on=shared)

    def _whole(self, model: Model) -> str:
        """Why this model could have to wait for memory."""
        if self._settings.policy != "rota":
            return f"the policy {self._settings.policy} knows no priorities"
        if not model.pinned:
            return "it is not pinned"
        if len(model.forms(self._pool)) > 1:
            return "it can change its form"
        need: dict[str, int] = {}
        for other in self._models.values():
            for pool, amount in _most_bytes(other, self._pool).items():
                need[pool] = need.get(pool, 0) + amount
        for pool, amount in need.items():
            budget = self._settings.pools[pool].budget_bytes - self._settings.overhead_bytes(pool)
            if amount > budget:
                return f"others can have the memory of {pool} that its run needs"
        return ""

    def _server(self, model: Model) -> str:
        """Why runs of this model and of others are not simply one after the other."""
        if len(self._uses(model)) > 1:
            return "it uses more than one resource"
        for name in self._uses(model):
            users = [other for other in self._models.values() if name in self._uses(other)]
            most = self._settings.resources.get(name, 0)
            if any(form.uses.get(name, most) < most for o in users for form in o.forms(self._pool)):
                return f"several can run on {name} at a time"
            if any(None in times_by_form(other).values() for other in users):
                return f"the run times of those who use {name} are not written down"
        return "" if written_times(model) else "its run times are not written down"

    def _shares(self, source: SourceConfig, model: Model) -> bool:
        """Whether the runs for this source keep those of `model` waiting."""
        other = self._models[source.model]
        return source.model == model.name or bool(set(self._uses(other)) & set(self._uses(model)))

    def _uses(self, model: Model) -> list[str]:
        """The resources that a model uses, in whichever form."""
        return list(dict.fromkeys(name for form in model.forms(self._pool) for name in form.uses))

    def _regular(self, before: list[SourceConfig]) -> str:
        """Why requests that may go first are not bounded in number."""
        for source in before:
            model = self._models[source.model]
            if source.rate is None or source.arrivals is not Arrivals.PERIODIC:
                return f"requests of {source.model} do not come at a steady rate"
            if not model.pinned or source.lease is not None:
                return f"requests of {source.model} can gather while they wait for it"
            if len(model.forms(self._pool)) > 1:
                return f"{source.model} can change its form"
            if model.batch.wait:
                return f"{source.model} waits for its batches"
        return ""

    def _ageing(self, priority: int, after: list[SourceConfig]) -> str:
        """Why less important requests could go first for their age."""
        ageing_ns = self._settings.ageing_ns
        if ageing_ns is None or priority >= PRIORITY_CRITICAL:
            return ""
        for source in after:
            deadline_ns = deadline_of(source, self._models[source.model])
            if deadline_ns is None or deadline_ns > ageing_ns:
                return f"requests of {source.model} can grow old and go first"
        return ""

    def _priority(self, source: SourceConfig) -> int:
        own = source.lease.priority if source.lease is not None else None
        mine = self._models[source.model].priority if source.priority is None else source.priority
        return mine if own is None else own

    def _stream(self, source: SourceConfig, rate_hz: float) -> Stream:
        # A frame may be moved by the jitter either way, and times are rounded to nanoseconds.
        return Stream(
            period_ns=int(SECOND_NS / rate_hz),
            jitter_ns=2 * source.jitter + 1,
            run_ns=self._run_ns(source),
        )

    def _run_ns(self, source: SourceConfig) -> int:
        model = self._models[source.model]
        most = max(form.batch_max for form in model.forms(self._pool))
        times = [one for one in times_by_form(model).values() if one is not None]
        return max((one.run_ns(most) for one in times), default=0)


def deadline_of(source: SourceConfig, model: Model) -> int | None:
    """The deadline of this source's requests, in nanoseconds from each; None: none."""
    if source.deadline is None and "deadline" not in source.model_fields_set:
        return model.deadline
    return source.deadline


def _most_bytes(model: Model, pool: str) -> dict[str, int]:
    """What a model takes of each pool at most, in whichever form."""
    most: dict[str, int] = {}
    for form in model.forms(pool):
        for name, part in form.footprint.items():
            running = part.resident_bytes + part.running_bytes(form.batch_max)
            most[name] = max(most.get(name, 0), part.loading_bytes, running)
    return most
