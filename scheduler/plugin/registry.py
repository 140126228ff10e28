"""Finds engine plugins among the installed distributions, without importing what is not asked for.

A plugin is an entry point of the group `rota.engines` that names a class derived from EnginePlugin.
One that cannot be imported, or is no such class, is out of use with a sentence that says why; it
takes nothing else with it.
"""

from __future__ import annotations

import importlib
import inspect
import traceback
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points

from scheduler.errors import PluginError
from scheduler.plugin.engine import EngineOptions, EnginePlugin

GROUP = "rota.engines"


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """An engine that some distribution offers. `error` says why it is of no use, or is None."""

    name: str
    distribution: str
    version: str
    error: str | None


def available() -> list[EngineEntry]:
    """Return every engine that is offered, by name. Imports them all to see whether they work."""
    points = _points()
    return [_entry(point, points) for point in sorted(points, key=lambda point: point.name)]


def find(name: str) -> type[EnginePlugin]:
    """Return the engine called `name`: an entry point, or `module.path:Class` on the import path.

    Raises PluginError when there is none, when two distributions offer one of that name, or when it
    cannot be used.
    """
    if ":" in name:
        return _loaded(EntryPoint(name=name, value=name, group=GROUP), "")
    points = _points()
    offered = [point for point in points if point.name == name]
    if not offered:
        raise PluginError(_not_installed(name, sorted({point.name for point in points})))
    _refuse_two(offered)
    return _loaded(offered[0], f" of {_distribution(offered[0])}")


def _points() -> list[EntryPoint]:
    importlib.invalidate_caches()
    return list(entry_points(group=GROUP))


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed distribution"


def _entry(point: EntryPoint, points: list[EntryPoint]) -> EngineEntry:
    error = None
    try:
        _refuse_two([other for other in points if other.name == point.name])
        _loaded(point, f" of {_distribution(point)}")
    except PluginError as problem:
        error = str(problem)
    return EngineEntry(
        name=point.name,
        distribution=point.dist.name if point.dist else "",
        version=point.dist.version if point.dist else "",
        error=error,
    )


def _refuse_two(offered: list[EntryPoint]) -> None:
    if len(offered) > 1:
        owners = " and ".join(sorted(_distribution(point) for point in offered))
        raise PluginError(
            f'engine "{offered[0].name}" is offered by {owners}; uninstall one, '
            "or write module.path:Class"
        )


def _not_installed(name: str, installed: list[str]) -> str:
    close = get_close_matches(name, installed, n=1)
    guess = f'did you mean "{close[0]}"? ' if close else ""
    return (
        f'engine "{name}" is not installed; {guess}installed: {", ".join(installed) or "none"}; '
        "an engine of your own is written module.path:Class"
    )


def _loaded(point: EntryPoint, owner: str) -> type[EnginePlugin]:
    try:
        found = point.load()
        problem = _what_is_wrong(found)
    except KeyboardInterrupt:  # the user's, not the plugin's
        raise
    except BaseException as error:  # noqa: BLE001 - importing runs anybody's code, exits included
        problem = " ".join(traceback.format_exception_only(error)[-1].split())
        if isinstance(error, ModuleNotFoundError) and not owner:
            problem += "; install it, or put its folder on PYTHONPATH"
    if problem:
        raise PluginError(f'engine "{point.name}"{owner} cannot be used: {problem}')
    plugin: type[EnginePlugin] = found
    return plugin


def _what_is_wrong(found: object) -> str:
    """Say in what way an object is no engine plugin; nothing when it is one."""
    if not isinstance(found, type) or not issubclass(found, EnginePlugin):
        return f"{found!r} is not a class derived from EnginePlugin"
    if inspect.isabstract(found):
        return f"{found.__name__} does not define {', '.join(sorted(found.__abstractmethods__))}"
    options: object = found.Options
    if not isinstance(options, type) or not issubclass(options, EngineOptions):
        return f"{found.__name__}.Options is not a class derived from EngineOptions"
    return ""
