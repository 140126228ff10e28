"""The engines that models name, and their options through the plugins' own models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from scheduler.errors import PluginError
from scheduler.plugin import registry

if TYPE_CHECKING:
    from scheduler.config.context import FileContext
    from scheduler.config.links import Links
    from scheduler.config.mistake import Mistakes
    from scheduler.config.model import Model
    from scheduler.plugin.engine import EngineOptions, EnginePlugin


class Engines:
    """Finds each engine once, and validates the options of the models that use it."""

    def __init__(self, context: FileContext, links: Links, mistakes: Mistakes) -> None:
        self._context = context
        self._links = links
        self._mistakes = mistakes
        self._found: dict[str, type[EnginePlugin] | PluginError] = {}

    def options(self, model: Model) -> EngineOptions | None:
        """Return the options of a model, as its plugin wants them; None after a mistake."""
        path = self._links.where(model.name, "engine")
        if model.engine is None:
            if not any(map(self._mistakes.at, [("defaults",), ("defaults", "engine"), path])):
                self._mistakes.add(path, "is missing; name an engine, such as onnxruntime")
            return None
        plugin = self._find(model.engine)
        if isinstance(plugin, PluginError):
            self._mistakes.add(path, str(plugin))
            return None
        return self._validated(plugin, model)

    def _find(self, engine: str) -> type[EnginePlugin] | PluginError:
        if engine not in self._found:
            try:
                self._found[engine] = registry.find(engine)
            except PluginError as error:
                self._found[engine] = error
        return self._found[engine]

    def _validated(self, plugin: type[EnginePlugin], model: Model) -> EngineOptions | None:
        path = ("models", model.name, "options")
        if self._mistakes.at(path):
            return None
        try:
            return plugin.Options.model_validate(model.options, context=self._context)
        except ValidationError as error:
            self._mistakes.add_details(error.errors(include_url=False), plugin.Options, path)
        except Exception as error:  # noqa: BLE001 - a plugin's validator may raise anything
            self._mistakes.add(
                path, f"{model.engine} cannot read them: {type(error).__name__}: {error}"
            )
        return None
