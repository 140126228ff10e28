"""The plan of a configuration: what `rota plan --json` prints."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True)


class FindingPlan(_Section):
    """One sentence about fitting. After a `fatal` one the set cannot work as it is written."""

    text: str
    fatal: bool


class ModelPlan(_Section):
    """One model, in the simulation and by analysis.

    `met_share` is `answered` of all that had to be answered (`answered + unmet`), None when there
    were none; older frames that a newer one replaced had not. `at_start` came before their pinned
    engine had been loaded for the first time, and are in no other figure. `deadline_ms` is the
    shortest that its sources set. `worst_wait_ms` is until a run began, `worst_answer_ms` until the
    answer. `bound_ms` is the longest to an answer by analysis; where there is none, `no_bound` says
    why.
    """

    requests: int
    at_start: int
    answered: int
    replaced: int
    unmet: int
    met_share: float | None
    deadline_ms: float | None
    worst_wait_ms: float
    worst_answer_ms: float
    bound_ms: float | None
    no_bound: str | None


class PoolPlan(_Section):
    """One pool. `smallest_bytes` is the least budget found with which nothing is missed.

    None: nothing is found, for the misses are for want of something else than this pool's memory.
    """

    budget_bytes: int
    smallest_bytes: int | None


class SourcePlan(_Section):
    """One source: frames it sent, and those it dropped as too many of its own were unanswered."""

    sent: int
    dropped: int


class FixPlan(_Section):
    """One change that was tried, and the requests without an answer in time that it leaves."""

    change: str
    unmet: int


class Plan(_Section):
    """Whether a set of models can do what is asked of it.

    `good` is the verdict: the set fits, and in the simulated time everybody was answered in time.
    `notes` say what was assumed.
    """

    good: bool
    fits: bool
    unmet: int
    duration_s: float
    seed: int
    swaps_per_minute: float
    models: dict[str, ModelPlan]
    sources: dict[str, SourcePlan]
    memory: dict[str, PoolPlan]
    fixes: list[FixPlan]
    findings: list[FindingPlan]
    notes: list[str]
    bound_source: str | None
