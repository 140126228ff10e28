"""A model as it was registered: what the core knows of it, and how its engine is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from scheduler.errors import PluginError
from scheduler.plugin.engine import EngineContext, EngineOptions, EnginePlugin
from scheduler.plugin.registry import find

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import anyio

    from scheduler.config import Model


@dataclass(frozen=True, slots=True)
class Kind:
    """What an engine of one variant is made of. `device` is its pool where the core names none."""

    plugin: type[EnginePlugin]
    options: EngineOptions
    device: str


class Registration:
    """`gone` is set when a model that is being removed has left the memory.

    `kinds` are those of the model's variants, in their order.
    """

    def __init__(self, model: Model, kinds: Sequence[Kind], default_pool: str) -> None:
        self.model = model
        self.spec = model.to_spec(default_pool)
        self.gone: anyio.Event | None = None
        names = dict.fromkeys(form.variant for form in self.spec.forms)
        self._kinds = dict(zip(names, kinds, strict=True))

    def check_pools(self, pools: Sequence[str]) -> None:
        """Raise ValueError when a form needs memory of a pool that is not among these."""
        named = set[str]().union(*(form.footprint for form in self.spec.forms))
        unknown = sorted(named.difference(pools))
        if unknown:
            known = ", ".join(pools)
            raise ValueError(
                f"{self.model.name}: there is no pool {unknown[0]!r}; there is {known}"
            )

    def pool(self, variant: str = "", device: str = "") -> str:
        """The pool that an engine of this form is placed in; the first form where none is named."""
        return device or self._kinds[variant or self.spec.variant].device

    def make(self, variant: str = "", device: str = "") -> EnginePlugin:
        """Make the plugin's object, in its engine's own thread."""
        kind = self._kinds[variant or self.spec.variant]
        pool = self.pool(variant, device)
        form = next(
            form
            for form in self.spec.forms
            if form.variant in ("", variant or self.spec.variant) and form.device in ("", pool)
        )
        context = EngineContext(
            self.model.name,
            pool,
            footprint=form.footprint.get(pool),
            batch_max=form.batch_max,
            priority=self.model.priority,
        )
        return kind.plugin(kind.options, context)


def registration(
    model: Model,
    engine: type[EnginePlugin] | str | None,
    options: Mapping[str, Any] | EngineOptions | None,
    default_pool: str,
) -> Registration:
    """Find the engine and validate its options; those of `model` where none are given.

    Variants of the model that name no engine of their own take these too. Raises PluginError when
    there is no engine, or it does not take these options.
    """
    general = model.engine if engine is None else engine
    if general is None:
        raise PluginError(f"{model.name} names no engine; give register() one, or set Model.engine")
    described = model if options is None else model.model_copy(update={"options": options})
    kinds = []
    for variant in described.every_variant():
        named = general
        if variant.engine is not None and variant.engine != model.engine:
            named = variant.engine
        plugin = find(named) if isinstance(named, str) else named
        validated = _validated(plugin, variant.options, model.name)
        device = variant.device if isinstance(variant.device, str) else default_pool
        kinds.append(Kind(plugin, validated, device))
    return Registration(model, kinds, default_pool)


def _validated(
    plugin: type[EnginePlugin], options: Mapping[str, Any] | EngineOptions, model: str
) -> EngineOptions:
    if isinstance(options, plugin.Options):
        return options
    if isinstance(options, EngineOptions):
        kind, wanted = type(options).__qualname__, plugin.Options.__qualname__
        raise PluginError(f"{model}: {plugin.__name__} takes options of {wanted}, not {kind}")
    try:
        return plugin.Options.model_validate(dict(options))
    except ValidationError as error:
        mistakes = "; ".join(
            f"options.{'.'.join(map(str, detail['loc']))}: {detail['msg']}"
            for detail in error.errors(include_url=False)
        )
        raise PluginError(f"{model}: {plugin.__name__} refuses its options: {mistakes}") from None
