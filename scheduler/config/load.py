"""From a file to a validated configuration."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from scheduler.config.config import Config
from scheduler.config.context import FileContext
from scheduler.config.device import DEFAULT_POOL, placed
from scheduler.config.document import Document, read_document
from scheduler.config.engines import Engines
from scheduler.config.footprint import Footprint, on_one_memory
from scheduler.config.links import Links
from scheduler.config.mistake import Mistakes
from scheduler.errors import ConfigError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

    from scheduler.config.model import Model

ATTEMPTS = 4
"""Each takes out what the one before found wrong: a value, what then misses it, what holds that."""

STAND_INS: dict[Any, Any] = {
    "footprint": "1MiB",
    "resident": "1MiB",
    "active": "1s",
    "idle": "1s",
    "from": "synthetic",
    "to": "console",
}
"""What takes the place of a required value that is missing or wrong, while the rest is checked."""


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read the YAML file at `path` and return its configuration.

    Relative paths in it start at its folder. Plugins named in it are imported, nothing is loaded.
    Raises ConfigError, with every mistake in the file as a line of its own.
    """
    file = Path(path)
    document = read_document(file)
    mistakes = Mistakes(file, document)
    context = FileContext(file.absolute().parent)
    config = _valid_part(document, context, mistakes)
    models: dict[str, Model] = {}
    if config is not None:
        links = Links(config, document, mistakes)
        links.check()
        models = _finished(config, Engines(context, links, mistakes))
    if mistakes.lines() or config is None:
        raise ConfigError(mistakes.lines())
    return config.model_copy(update={"models": models})


def _valid_part(document: Document, context: FileContext, mistakes: Mistakes) -> Config | None:
    """Validate, note what is wrong, and return what is left without it, so that all is checked."""
    value = document.value
    for attempt in range(ATTEMPTS):
        config, details = _validate(value, context)
        if config is not None:
            return config
        first = attempt == 0
        mistakes.add_details((d for d in details if first or d["type"] != "missing"), Config)
        value = deepcopy(value)
        for detail in details:
            _take_out(detail, value, document)
    return None


def _validate(value: Any, context: FileContext) -> tuple[Config | None, list[ErrorDetails]]:
    try:
        return Config.model_validate(value, context=context), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _take_out(detail: ErrorDetails, value: dict[str, Any], document: Document) -> None:
    """Remove from `value` what `detail` is about, or put a stand-in where something is missing."""
    *outer, last = detail["loc"]
    if detail["type"] == "missing" and last in STAND_INS:
        _holder(value, document.known_part(tuple(outer)))[last] = STAND_INS[last]
        return
    path = document.known_part(tuple(detail["loc"]))
    while isinstance(path[-1], int):  # Without one item, the others would have other places.
        path = path[:-1]
    *around, key = path
    _holder(value, around).pop(key, None)


def _holder(value: Any, path: Sequence[Any]) -> dict[Any, Any]:
    """Return the mapping at `path`, or an empty one when an earlier removal took it."""
    for part in path:
        if isinstance(value, list):
            value = value[part]
        else:
            value = value.get(part, {}) if isinstance(value, dict) else {}
    return value if isinstance(value, dict) else {}


def _finished(config: Config, engines: Engines) -> dict[str, Model]:
    """Return the models with the defaults, the device and the plugin's options in place."""
    pools = list(config.memory.by_pool())
    models = {}
    for name, written in config.models.items():
        model = written.with_defaults(config.defaults)
        first, *others = (
            variant.model_copy(
                update={
                    "device": placed(variant.device, pools),
                    "options": engines.options(model, variant, index),
                    "footprint": _footprint_in(variant.footprint, pools),
                }
            )
            for index, variant in enumerate(model.every_variant())
        )
        update = {key: getattr(first, key) for key in ("device", "options", "footprint")}
        models[name] = model.model_copy(update={**update, "variants": others})
    return models


def _footprint_in(
    footprint: Footprint | dict[str, Footprint], pools: list[str]
) -> Footprint | dict[str, Footprint]:
    if isinstance(footprint, Footprint) or pools != [DEFAULT_POOL]:
        return footprint
    return on_one_memory(footprint)
