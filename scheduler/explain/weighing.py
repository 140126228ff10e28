"""Who was weighed for one request, and which rule spared whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scheduler.core.amounts import sizes
from scheduler.core.engine import EngineState
from scheduler.core.model import SECOND_NS
from scheduler.core.policy import loss
from scheduler.core.witness import Rule
from scheduler.explain.span import spoken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler.core.amounts import Amounts
    from scheduler.core.claim import Claimant
    from scheduler.core.engine import Engine
    from scheduler.core.policy import Candidate
    from scheduler.core.snapshot import EngineSnapshot, Snapshot

SPARED: Mapping[Rule, str] = {
    Rule.PINNED: "pinned",
    Rule.NEEDED: "needed by an earlier request",
    Rule.CONDEMNED: "does not come back",
    Rule.LEAVING: "goes already, for the mode",
    Rule.JUST_LOADED: "just loaded (min_residency)",
    Rule.WOULD_WIN_BACK: "more important, and would win its memory back at once",
    Rule.HAS_CUSTOMERS: "has customers of its own, who go first for a while",
    Rule.BETTER_LATER: "better later: fewer deadlines are missed after its next request",
}
"""Each rule, in words."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """One look for victims. `chosen` of None: all `candidates` together do not suffice.

    `deficits` are bytes per pool that are missing even when all that is on its way has come back.
    `rivals` are of its exclusive group and have to go whatever they cost. Where there is an
    `instead`, the chosen stay for now: those will soon be free, and cost less to do without.
    """

    candidates: tuple[Candidate, ...]
    deficits: Amounts
    rivals: tuple[str, ...]
    chosen: tuple[str, ...] | None
    spared: Mapping[str, Rule]
    instead: tuple[str, ...] = ()

    @property
    def choice(self) -> tuple[object, ...]:
        """What stays the same while only times move on."""
        names = [candidate.model for candidate in self.candidates]
        return names, self.deficits, self.rivals, self.chosen, self.spared, self.instead


class Listener:
    """A witness of what is weighed for one request; `heard` is the last look of a step."""

    def __init__(self, request_id: int) -> None:
        self.heard: Weighing | None = None
        self._request_id = request_id
        self._spared: dict[str, Rule] = {}

    def forget(self) -> None:
        """A new step begins."""
        self.heard = None
        self._spared = {}

    def spared(self, who: Claimant, engine: Engine, rule: Rule) -> None:
        """See Witness."""
        if self._is_for(who):
            self._spared[engine.name] = rule

    def weighed(
        self,
        who: Claimant,
        candidates: Sequence[Candidate],
        deficits: Amounts,
        rivals: tuple[Engine, ...],
        chosen: tuple[str, ...] | None,
    ) -> None:
        """See Witness."""
        if self._is_for(who):
            names = tuple(rival.name for rival in rivals)
            self.heard = Weighing(
                tuple(candidates), dict(deficits), names, chosen, dict(self._spared)
            )
            self._spared = {}

    def deferred(self, who: Claimant, instead: tuple[str, ...]) -> None:
        """See Witness."""
        if self._is_for(who) and self.heard is not None:
            self.heard = replace(self.heard, instead=instead)

    def _is_for(self, who: Claimant) -> bool:
        return who.pending is not None and who.pending.request.id == self._request_id


def told(
    weighing: Weighing, snapshot: Snapshot, *, by_use: bool, own: tuple[str, ...]
) -> list[str]:
    """The weighing in lines. `by_use` when the policy looks at nothing but the last use.

    `own` are the models of the request itself; `snapshot` is that of the same step.
    """
    lines = []
    if weighing.deficits:
        figures = [_figures(c, snapshot.now_ns, by_use=by_use) for c in weighing.candidates]
        goes = [c.model in (weighing.chosen or ()) for c in weighing.candidates]
        verb = "would go" if weighing.instead else "goes"
        lines = [_missing(weighing)]
        lines += [
            f"{c.model} {verb if chosen else 'stays'}: {figure}"
            for c, chosen, figure in zip(weighing.candidates, goes, figures, strict=True)
        ]
    if weighing.instead:
        names = " and ".join(weighing.instead)
        lines.append(f"nobody goes yet: {names} will soon be free, and cheaper to do without")
    group = "goes" if weighing.chosen is not None else "would have to go"
    lines += [f"{name} {group}: it is of the same exclusive group" for name in weighing.rivals]
    lines += [f"{name} stays: {SPARED[rule]}" for name, rule in weighing.spared.items()]
    told_of = {*own, *weighing.spared, *weighing.rivals, *(c.model for c in weighing.candidates)}
    others = [engine for engine in snapshot.engines if engine.model not in told_of]
    return lines + [line for line in map(_out_of_reach, others) if line]


def _missing(weighing: Weighing) -> str:
    short = f"short by {sizes(weighing.deficits)}"
    if weighing.chosen is None:
        return f"{short}, and nobody is unloaded, as all who may go do not suffice:"
    return f"{short}; weighed:" if weighing.candidates else short


def _figures(candidate: Candidate, now: int, *, by_use: bool) -> str:
    frees = sizes(candidate.frees) or "nothing"
    if by_use:
        return f"frees {frees}, last used {spoken(now - candidate.used_ns)} ago"
    return (
        f"frees {frees}, back in {spoken(candidate.reload_ns)}, wanted again in "
        f"{spoken(candidate.gap_ns)}, deadlines missed {candidate.misses}, loss {_loss(candidate)}"
    )


def _loss(candidate: Candidate) -> str:
    """What the policy compares: see `policy.loss`; smallest goes first."""
    return f"{loss(candidate) / SECOND_NS:.3g}"


def _out_of_reach(engine: EngineSnapshot) -> str:
    """Why an engine in memory was not even a candidate."""
    if engine.state is EngineState.UNLOADED:
        return ""
    if engine.held_by is not None:
        return f"{engine.model} stays: held by lease {engine.held_by}"
    if engine.running:
        return f"{engine.model} stays: running request {engine.running[0]}"
    if engine.state is EngineState.READY:
        return ""
    return f"{engine.model} is {engine.state.value}"
