"""A model as it is written: in a configuration, or in a program."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, StrictBool, ValidationInfo, field_validator

from scheduler.config.batch import Batch
from scheduler.config.device import DEFAULT_POOL, Device, placed
from scheduler.config.footprint import FootprintByPool
from scheduler.config.name import Name
from scheduler.config.priority import Priority
from scheduler.config.section import FROM_KEY, Count, Section
from scheduler.config.units import (
    Duration,
    DurationOrForever,
    Nanoseconds,
    PositiveDurationOrNone,
)
from scheduler.config.uses import Uses, uses_on
from scheduler.config.variant import EngineName, Options, Variant, footprint_on, merged
from scheduler.core.model import SECOND_NS, Form, ModelSpec, PoolFootprint, QueueKeep


class Queue(Section):
    """How many requests may wait, and which of one stream are kept."""

    limit: Count = 32
    keep: QueueKeep = QueueKeep.ALL


class Rules(Section):
    """What holds for one model, or as `defaults` for all that do not say otherwise.

    Durations have a unit (`100ms`); in a program a number is seconds. They are kept as whole
    nanoseconds, and None is `none` or `forever`.
    """

    engine: EngineName | None = None
    device: Device | None = None
    priority: Priority = 50
    deadline: PositiveDurationOrNone = None
    keep_alive: DurationOrForever = Nanoseconds(300 * SECOND_NS)
    exclusive: frozenset[Name] = frozenset()
    uses: Uses = Field(default_factory=dict)
    queue: Queue = Queue()
    batch: Batch = Batch()
    max_wait: Duration = Nanoseconds(2 * SECOND_NS)
    min_residency: Duration = Nanoseconds(0)
    load_timeout: PositiveDurationOrNone = None
    run_timeout: PositiveDurationOrNone = None
    backoff: Duration = Nanoseconds(SECOND_NS)


class Model(Rules):
    """A model: its name, engine, options, footprint and rules, with the keys of the configuration.

    `engine` names a plugin (an entry point of `rota.engines`, or `module.path:Class`), `options`
    are the plugin's own. `footprint` is a size, a `Footprint`, or a mapping from pools to either;
    the first two mean the pool of `device`. `variants` are other forms of it, the best first; the
    model as it is described here is the best of all, and called `variant` among them. Raises
    pydantic's ValidationError.
    """

    name: Annotated[Name, FROM_KEY]
    options: Options = Field(default_factory=dict)
    footprint: FootprintByPool
    pinned: StrictBool = False
    variant: Name = "default"
    variants: list[Variant] = Field(default_factory=list)

    @field_validator("variants")
    @classmethod
    def _have_names_of_their_own(cls, value: list[Variant], info: ValidationInfo) -> list[Variant]:
        names = [info.data.get("variant"), *(variant.name for variant in value)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(
                f'"{twice}" names two forms of it; give each a name of its own (the model as it is '
                f'described beside them is called "{names[0]}", see variant)'
            )
        return value

    def with_defaults(self, defaults: Rules) -> "Model":
        """Take from `defaults` what this model does not say itself, in `queue` and `batch` too."""
        said = defaults.model_fields_set - self.model_fields_set
        update = {key: getattr(defaults, key) for key in said}
        update.setdefault("queue", self.queue.completed(defaults.queue))
        update.setdefault("batch", self.batch.completed(defaults.batch))
        return self.model_copy(update=update)

    def on(self, pools: Sequence[str]) -> "Model":
        """Return this model with each family of pools that it names as the pools there are."""
        variants = [
            variant.model_copy(update={"device": placed(variant.device, pools)})
            if variant.device is not None
            else variant
            for variant in self.variants
        ]
        device = None if self.device is None else placed(self.device, pools)
        return self.model_copy(update={"device": device, "variants": variants})

    def as_variant(self, name: str) -> "Model":
        """Return this model as it is without the variants that are better than this one."""
        every = self.every_variant()
        index = next(place for place, variant in enumerate(every) if variant.name == name)
        best = every[index]
        return self.model_copy(
            update={
                "variant": best.name,
                "engine": best.engine,
                "options": best.options,
                "device": best.device,
                "footprint": best.footprint,
                "uses": best.uses,
                "batch": best.batch,
                "variants": every[index + 1 :],
            }
        )

    def every_variant(self) -> list[Variant]:
        """The forms of this model, the first included, each with all that holds for it."""
        first = Variant(
            name=self.variant,
            engine=self.engine,
            options=self.options,
            device=self.device,
            footprint=self.footprint,
            uses=self.uses,
            batch=self.batch,
        )
        return [first, *(self._completed(variant) for variant in self.variants)]

    def _completed(self, variant: Variant) -> Variant:
        is_same = variant.engine is None or variant.engine == self.engine
        update = {
            "engine": variant.engine or self.engine,
            "device": variant.device or self.device,
            "options": merged(variant.options, self.options) if is_same else variant.options,
            "uses": self.uses if variant.uses is None else variant.uses,
            "batch": (variant.batch or Batch()).completed(self.batch),
        }
        return variant.model_copy(update=update)

    def forms(self, default_pool: str = DEFAULT_POOL) -> list[Form]:
        """Every variant in each of its places, as the core counts them.

        `default_pool` is the device of a model without one.
        """
        placed = [
            (variant, device)
            for variant in self.every_variant()
            for device in _devices(variant.device or default_pool)
        ]
        has_places = len({device for _, device in placed}) > 1
        return [
            Form(
                footprint=footprint_on(variant.footprint, device),
                variant=variant.name if self.variants else "",
                device=device if has_places else "",
                uses=uses_on(variant.uses or {}, device),
                batch_max=batch.max,
                batch_wait_ns=batch.wait,
            )
            for variant, device in placed
            for batch in (variant.batch or Batch(),)
        ]

    def pool_footprints(self, default_pool: str = DEFAULT_POOL) -> dict[str, PoolFootprint]:
        """Return the footprint of the first form by pool; `default_pool` as in `forms`."""
        return dict(self.forms(default_pool)[0].footprint)

    def to_spec(self, default_pool: str = DEFAULT_POOL) -> ModelSpec:
        """Return what the core knows of this model; `default_pool` as in `forms`."""
        first, *others = self.forms(default_pool)
        return ModelSpec(
            name=self.name,
            footprint=first.footprint,
            variant=first.variant,
            device=first.device,
            alternatives=tuple(others),
            priority=self.priority,
            deadline_ns=self.deadline,
            keep_alive_ns=self.keep_alive,
            pinned=self.pinned,
            exclusive=self.exclusive,
            uses=first.uses,
            queue_limit=self.queue.limit,
            queue_keep=self.queue.keep,
            batch_max=first.batch_max,
            batch_wait_ns=first.batch_wait_ns,
            max_wait_ns=self.max_wait,
            min_residency_ns=self.min_residency,
            load_timeout_ns=self.load_timeout,
            run_timeout_ns=self.run_timeout,
            backoff_ns=self.backoff,
        )


def _devices(device: str | tuple[str, ...]) -> tuple[str, ...]:
    return (device,) if isinstance(device, str) else device
