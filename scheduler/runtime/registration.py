"""A model as it was registered: what the core knows of it, and how its engine is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from scheduler.errors import PluginError
from scheduler.plugin.engine import EngineContext, EngineOptions, EnginePlugin
from scheduler.plugin.registry import find

if TYPE_CHECKING:
    from collections.abc import Mapping

    import anyio

    from scheduler.config import Model


class Registration:
    """`gone` is set when a model that is being removed has left the memory."""

    def __init__(
        self,
        model: Model,
        plugin: type[EnginePlugin],
        options: EngineOptions,
        default_pool: str,
    ) -> None:
        self.model = model
        self.spec = model.to_spec(default_pool)
        self.gone: anyio.Event | None = None
        self._plugin = plugin
        self._options = options
        pool = model.device or default_pool
        self._context = EngineContext(
            model.name,
            pool,
            footprint=self.spec.footprint.get(pool),
            batch_max=model.batch.max,
            priority=model.priority,
        )

    @property
    def pool(self) -> str:
        """The pool that the engine is placed in."""
        return self._context.device

    def make(self) -> EnginePlugin:
        """Make the plugin's object, in its engine's own thread."""
        return self._plugin(self._options, self._context)


def registration(
    model: Model,
    engine: type[EnginePlugin] | str | None,
    options: Mapping[str, Any] | EngineOptions | None,
    default_pool: str,
) -> Registration:
    """Find the engine and validate its options; those of `model` where none are given.

    Raises PluginError when there is no engine, or it does not take these options.
    """
    engine = model.engine if engine is None else engine
    if engine is None:
        raise PluginError(f"{model.name} names no engine; give register() one, or set Model.engine")
    plugin = find(engine) if isinstance(engine, str) else engine
    given = model.options if options is None else options
    return Registration(model, plugin, _validated(plugin, given, model.name), default_pool)


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
