"""What the core knows of a model: its footprint and its rules."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from msgspec import field

from scheduler.core.value import Value

SECOND_NS: Final = 1_000_000_000

PRIORITY_CRITICAL: Final = 100
"""Ageing never lifts anything past this priority."""


class QueueKeep(str, Enum):
    """Which waiting requests of one stream are kept."""

    ALL = "all"
    LATEST = "latest"


class PoolFootprint(Value, frozen=True, kw_only=True):
    """The bytes that an engine needs of one memory pool."""

    resident_bytes: int
    load_peak_bytes: int = 0
    workspace_bytes: int = 0
    per_item_bytes: int = 0

    @property
    def loading_bytes(self) -> int:
        """What has to be free while the engine loads."""
        return max(self.load_peak_bytes, self.resident_bytes)

    def running_bytes(self, items: int) -> int:
        """What a batch of `items` needs on top of the resident bytes.

        The workspace is that of one item; each further item adds `per_item_bytes`.
        """
        return self.workspace_bytes + self.per_item_bytes * (items - 1)


class Form(Value, frozen=True, kw_only=True):
    """One way for a model to be in memory: a variant of it in one place, with its own bytes.

    `variant` is empty where the model has no variants, `device` (the pool that the engine is placed
    in) where it has no choice of places. `footprint` maps pool names to bytes; `uses` are resource
    units held while running, `batch_max` is how many requests one run may serve, and
    `batch_wait_ns` how long the first of them may wait for others.
    """

    footprint: Mapping[str, PoolFootprint]
    variant: str = ""
    device: str = ""
    uses: Mapping[str, int] = field(default_factory=dict)
    batch_max: int = 1
    batch_wait_ns: int = 0

    def __str__(self) -> str:
        return form_name(self.variant, self.device)

    @property
    def words(self) -> str:
        """See `in_form`."""
        return in_form(self.variant, self.device)


def form_name(variant: str, device: str) -> str:
    """A form for people: `int8`, `cuda:1`, `int8 on cuda:1`; empty where there is no choice."""
    return " on ".join(part for part in (variant, device) if part)


def in_form(variant: str, device: str) -> str:
    """The same within a sentence: ` as int8`, ` on cuda:1`, ` as int8 on cuda:1`."""
    return (f" as {variant}" if variant else "") + (f" on {device}" if device else "")


class ModelSpec(Value, frozen=True, kw_only=True):
    """A registered model as the core sees it: no engine, no options, only what decides.

    `footprint`, `variant`, `device`, `uses`, `batch_max` and `batch_wait_ns` are those of the first
    of the forms that the model may take (see `Form`), and `alternatives` are the others, the best
    variant first. `deadline_ns` is relative to a request's arrival and used when the request names
    none; `keep_alive_ns` of None means for ever; `exclusive` names groups of which one engine may
    be loaded at a time.
    """

    name: str
    footprint: Mapping[str, PoolFootprint]
    variant: str = ""
    device: str = ""
    alternatives: tuple[Form, ...] = ()
    priority: int = 50
    deadline_ns: int | None = None
    keep_alive_ns: int | None = 300 * SECOND_NS
    pinned: bool = False
    exclusive: frozenset[str] = frozenset()
    uses: Mapping[str, int] = field(default_factory=dict)
    queue_limit: int = 32
    queue_keep: QueueKeep = QueueKeep.ALL
    batch_max: int = 1
    batch_wait_ns: int = 0
    max_wait_ns: int = 2 * SECOND_NS
    min_residency_ns: int = 0
    load_timeout_ns: int | None = None
    run_timeout_ns: int | None = None
    backoff_ns: int = SECOND_NS

    @property
    def forms(self) -> tuple[Form, ...]:
        """Every form that the model may take, the best variant first."""
        first = Form(
            footprint=self.footprint,
            variant=self.variant,
            device=self.device,
            uses=self.uses,
            batch_max=self.batch_max,
            batch_wait_ns=self.batch_wait_ns,
        )
        return (first, *self.alternatives)
