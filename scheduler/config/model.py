"""A model as it is written: in a configuration, or in a program."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, PlainValidator, StrictBool, StringConstraints

from scheduler.config.footprint import Footprint, FootprintByPool
from scheduler.config.name import Name, PoolName
from scheduler.config.priority import Priority
from scheduler.config.section import FROM_KEY, Count, Section
from scheduler.config.units import (
    Duration,
    DurationOrForever,
    Nanoseconds,
    PositiveDurationOrNone,
    quoted,
)
from scheduler.core.model import SECOND_NS, ModelSpec, PoolFootprint, QueueKeep
from scheduler.plugin.engine import EngineOptions

DEFAULT_POOL = "unified"


class Queue(Section):
    """How many requests may wait, and which of one stream are kept."""

    limit: Count = 32
    keep: QueueKeep = QueueKeep.ALL


class Batch(Section):
    """How many requests may run in one go, and how long to wait for them to gather."""

    max: Count = 1
    wait: Duration = Nanoseconds(0)


class Rules(Section):
    """What holds for one model, or as `defaults` for all that do not say otherwise.

    Durations have a unit (`100ms`); in a program a number is seconds. They are kept as whole
    nanoseconds, and None is `none` or `forever`.
    """

    engine: Annotated[str, StringConstraints(strict=True, min_length=1)] | None = None
    device: PoolName | None = None
    priority: Priority = 50
    deadline: PositiveDurationOrNone = None
    keep_alive: DurationOrForever = Nanoseconds(300 * SECOND_NS)
    exclusive: frozenset[Name] = frozenset()
    uses: dict[Name, Count] = Field(default_factory=dict)
    queue: Queue = Queue()
    batch: Batch = Batch()
    max_wait: Duration = Nanoseconds(2 * SECOND_NS)
    min_residency: Duration = Nanoseconds(0)
    load_timeout: PositiveDurationOrNone = None
    run_timeout: PositiveDurationOrNone = None
    backoff: Duration = Nanoseconds(SECOND_NS)


def _read_options(value: object) -> Mapping[str, Any] | EngineOptions:
    if isinstance(value, EngineOptions):
        return value
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{quoted(value)} is not a mapping; write {{key: value}}")
    return dict(value)


class Model(Rules):
    """A model: its name, engine, options, footprint and rules, with the keys of the configuration.

    `engine` names a plugin (an entry point of `rota.engines`, or `module.path:Class`), `options`
    are the plugin's own. `footprint` is a size, a `Footprint`, or a mapping from pools to either;
    the first two mean the pool of `device`. Raises pydantic's ValidationError.
    """

    name: Annotated[Name, FROM_KEY]
    options: Annotated[Mapping[str, Any] | EngineOptions, PlainValidator(_read_options)] = Field(
        default_factory=dict
    )
    footprint: FootprintByPool
    pinned: StrictBool = False

    def with_defaults(self, defaults: Rules) -> "Model":
        """Take from `defaults` what this model does not say itself, in `queue` and `batch` too."""
        update = _said_only_by(defaults, self)
        for key in ("queue", "batch"):
            if key not in update:
                mine = getattr(self, key)
                said = _said_only_by(getattr(defaults, key), mine)
                update[key] = mine.model_copy(update=said)
        return self.model_copy(update=update)

    def pool_footprints(self, default_pool: str = DEFAULT_POOL) -> dict[str, PoolFootprint]:
        """Return the footprint by pool; `default_pool` is the device of a model without one."""
        if isinstance(self.footprint, Footprint):
            return {self.device or default_pool: self.footprint.to_pool()}
        return {pool: footprint.to_pool() for pool, footprint in self.footprint.items()}

    def to_spec(self, default_pool: str = DEFAULT_POOL) -> ModelSpec:
        """Return what the core knows of this model; `default_pool` as in `pool_footprints`."""
        return ModelSpec(
            name=self.name,
            footprint=self.pool_footprints(default_pool),
            priority=self.priority,
            deadline_ns=self.deadline,
            keep_alive_ns=self.keep_alive,
            pinned=self.pinned,
            exclusive=self.exclusive,
            uses=self.uses,
            queue_limit=self.queue.limit,
            queue_keep=self.queue.keep,
            batch_max=self.batch.max,
            batch_wait_ns=self.batch.wait,
            max_wait_ns=self.max_wait,
            min_residency_ns=self.min_residency,
            load_timeout_ns=self.load_timeout,
            run_timeout_ns=self.run_timeout,
            backoff_ns=self.backoff,
        )


def _said_only_by(one: Section, other: Section) -> dict[str, Any]:
    return {key: getattr(one, key) for key in one.model_fields_set - other.model_fields_set}
