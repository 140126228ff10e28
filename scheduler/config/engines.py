"""The engines that models name, and their options through the plugins' own models."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pydantic import ValidationError

from scheduler.errors import PluginError
from scheduler.plugin import registry

if TYPE_CHECKING:
    from scheduler.config.context import FileContext
    from scheduler.config.document import KeyPath
    from scheduler.config.links import Links
    from scheduler.config.mistake import Mistakes
    from scheduler.config.model import Model
    from scheduler.config.variant import Variant
    from scheduler.plugin.engine import EngineOptions, EnginePlugin


class Engines:
    """Finds each engine once, and validates the options of the models that use it."""

    def __init__(self, context: FileContext, links: Links, mistakes: Mistakes) -> None:
        self._context = context
        self._links = links
        self._mistakes = mistakes
        self._found: dict[str, type[EnginePlugin] | PluginError] = {}

    def options(self, model: Model, variant: Variant, index: int) -> EngineOptions | None:
        """Return the options of a form of a model, as its plugin wants them; None after a mistake.

        `variant` is complete; its `index` is 0 for the model as it is described beside the others.
        """
        own = model.variants[index - 1] if index else None
        where: KeyPath = ("models", model.name, "variants", index - 1) if index else ()
        is_named = own is not None and own.engine is not None
        path = (*where, "engine") if is_named else self._links.where(model.name, "engine")
        if variant.engine is None:
            if not any(map(self._mistakes.at, [("defaults",), ("defaults", "engine"), path])):
                self._mistakes.add(path, "is missing; name an engine, such as onnxruntime")
            return None
        plugin = self._find(variant.engine)
        if isinstance(plugin, PluginError):
            self._mistakes.add(path, str(plugin))
            return None
        at = (*(where or ("models", model.name)), "options")
        is_added = own is not None and variant.engine == model.engine
        keys = dict(own.options) if own is not None and is_added else None
        return self._validated(plugin, variant, at, keys)

    def _find(self, engine: str) -> type[EnginePlugin] | PluginError:
        if engine not in self._found:
            try:
                self._found[engine] = registry.find(engine)
            except PluginError as error:
                self._found[engine] = error
        return self._found[engine]

    def _validated(
        self,
        plugin: type[EnginePlugin],
        variant: Variant,
        path: KeyPath,
        own: Collection[str] | None,
    ) -> EngineOptions | None:
        """Note what is wrong with the options at `path`.

        With `own`, the keys that stand there beside those of the model, only with these.
        """
        if self._mistakes.at(path):
            return None
        try:
            return plugin.Options.model_validate(variant.options, context=self._context)
        except ValidationError as error:
            details = error.errors(include_url=False)
            mine = [d for d in details if own is None or not d["loc"] or d["loc"][0] in own]
            self._mistakes.add_details(mine, plugin.Options, path)
        except Exception as error:  # noqa: BLE001 - a plugin's validator may raise anything
            self._mistakes.add(
                path, f"{variant.engine} cannot read them: {type(error).__name__}: {error}"
            )
        return None
