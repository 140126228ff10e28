"""What the parts of a configuration say about each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scheduler.config.device import DEFAULT_POOL, Device, family, places
from scheduler.config.footprint import Footprint
from scheduler.config.mistake import nearest
from scheduler.config.mode import NO_MODE
from scheduler.config.source import RECORDED, Arrivals, OriginKind
from scheduler.config.uses import uses_on

if TYPE_CHECKING:
    from scheduler.config.config import Config
    from scheduler.config.document import Document, KeyPath
    from scheduler.config.mistake import Mistakes
    from scheduler.config.mode import ModeConfig
    from scheduler.config.model import Model
    from scheduler.config.source import SourceConfig
    from scheduler.config.variant import Variant

_TIMED = {"rate", "jitter", "arrivals", "size", "seed", "cycle"}
_REPLAYED = {"loop", "realtime"}
_NEEDS_RATE = {OriginKind.SYNTHETIC, OriginKind.IMAGES}


class Links:
    """Checks the names that one part uses of another, and keys that depend on each other.

    `config` is what of the file is valid, `document` the whole of it: a model that is declared
    but wrong is no unknown model.
    """

    def __init__(self, config: Config, document: Document, mistakes: Mistakes) -> None:
        self._config = config
        self._document = document
        self._mistakes = mistakes

    def check(self) -> None:
        """Note all mistakes of this kind."""
        self._check_there_are_models()
        for name, model in self._config.models.items():
            self._check_name_is_key(name)
            self._check_pools(name, model)
            self._check_uses(name, model)
        for name, source in self._config.sources.items():
            self._check_source(name, source)
        for name, sink in self._config.sinks.items():
            for index, model_name in enumerate(sink.models or ()):
                self._known("models", model_name, ("sinks", name, "models", index))

        for name, mode in self._config.modes.items():
            self._check_mode(name, mode)
        if self._config.mode is not None:
            self._known("modes", self._config.mode, ("mode",))

    def _check_mode(self, name: str, mode: ModeConfig) -> None:
        path = ("modes", name)
        if name == NO_MODE:
            self._mistakes.add(path, "is how no mode is called; take another name")
        for key in ("pin", "disable"):
            for index, model in enumerate(getattr(mode, key)):
                self._known("models", model, (*path, key, index))
        for model in mode.priority:
            self._known("models", model, (*path, "priority", model))
        for index, model in enumerate(mode.disable):
            if model in mode.pin:
                self._mistakes.add(
                    (*path, "disable", index),
                    f'"{model}" is pinned in the same mode; do not do both',
                )

    def where(self, model: str, key: str) -> KeyPath:
        """Return where `key` of a model stands: with the model, or in the defaults."""
        path = ("models", model, key)
        default = ("defaults", key)
        lines = self._document.lines
        return default if path not in lines and default in lines else path

    def _declared(self, *path: str) -> list[str] | None:
        """Return the names in the mapping at `path`; None where something else stands there."""
        value: Any = self._document.value
        for key in path:
            value = value.get(key, {}) if isinstance(value, Mapping) else None
        return list(value) if isinstance(value, Mapping) else None

    def _known(self, section: str, name: str, path: KeyPath) -> None:
        declared = self._declared(*section.split("."))
        if declared is not None and name not in declared:
            self._mistakes.add(path, f'"{name}" is not in {section}; {nearest(name, declared)}')

    def _check_there_are_models(self) -> None:
        if self._declared("models") == []:
            self._mistakes.add(("models",), "is missing; a configuration needs at least one model")

    def _check_name_is_key(self, name: str) -> None:
        path = ("models", name, "name")
        if path in self._document.lines:
            self._mistakes.add(path, "is no key here; a model's name is the key it stands under")

    def _check_pools(self, name: str, model: Model) -> None:
        device = model.device or self._config.defaults.device
        self._check_device(device, self.where(name, "device"))
        self._check_footprint(model.footprint, device, ("models", name, "footprint"))
        for index, variant in enumerate(model.variants):
            path = ("models", name, "variants", index)
            if variant.device is not None:
                self._check_device(variant.device, (*path, "device"))
            place = variant.device or device
            self._check_footprint(variant.footprint, place, (*path, "footprint"))

    def _check_device(self, device: Device | None, path: KeyPath) -> None:
        """Note what is no pool of the memory. A family of pools stands for all of them."""
        pools = list(self._config.memory.by_pool())
        for pool in () if device is None else places(device, pools):
            self._known_pool(pool, path)

    def _check_footprint(
        self, footprint: Footprint | Mapping[str, Footprint], device: Device | None, path: KeyPath
    ) -> None:
        if isinstance(footprint, Footprint):
            return
        pools = list(self._config.memory.by_pool())
        there = places(device, pools)
        families = {family(pool) for pool in there}
        for pool in footprint:
            if pool in there and len(there) > 1:
                self._mistakes.add(
                    (*path, pool),
                    f"{pool} is one of several places that it may be in; "
                    f"write {family(pool) or 'one size'} for whichever it is",
                )
            elif not (pool in families or (pools == [DEFAULT_POOL] and _is_part(pool))):
                self._known_pool(pool, (*path, pool))

    def _known_pool(self, pool: str, path: KeyPath) -> None:
        if self._declared("memory", "pools") != []:
            self._known("memory.pools", pool, path)
        elif pool != DEFAULT_POOL:
            self._mistakes.add(
                path,
                f'"{pool}" is not a pool; without memory.pools there is only {DEFAULT_POOL}',
            )

    def _check_uses(self, name: str, model: Model) -> None:
        whole = model.with_defaults(self._config.defaults)
        first, *others = whole.every_variant()
        self._check_units(first, self.where(name, "uses"))
        for index, variant in enumerate(others):
            said = model.variants[index].uses is not None
            path = ("models", name, "variants", index, "uses") if said else self.where(name, "uses")
            self._check_units(variant, path)

    def _check_units(self, variant: Variant, path: KeyPath) -> None:
        """Note units of what is no resource. That of a family is the one of each place."""
        there = places(variant.device, list(self._config.memory.by_pool()))
        for name in variant.uses or {}:
            if name in there and len(there) > 1:
                self._mistakes.add(
                    (*path, name),
                    f"{name} is one of several places that it may be in; "
                    f"write {family(name)} for whichever it is",
                )
                continue
            for resource in dict.fromkeys(
                one for place in there for one in uses_on({name: 1}, place)
            ):
                self._known("resources", resource, (*path, name))

    def _check_source(self, name: str, source: SourceConfig) -> None:
        path = ("sources", name)
        self._known("models", source.model, (*path, "model"))
        if self._mistakes.at((*path, "from")):
            return
        origin = source.from_
        if origin.source is not None:
            self._known("sources", origin.source, (*path, "from"))
        if origin.source == name:
            self._mistakes.add((*path, "from"), f'"{name}" cannot be cut from itself')
        said = {
            field for field in source.model_fields_set if (*path, field) in self._document.lines
        }
        for key in sorted(said & _without_meaning(origin.kind)):
            self._mistakes.add((*path, key), f"has no meaning for {origin.kind.value}; remove it")
        self._check_timing(path, source)

    def _check_timing(self, path: KeyPath, source: SourceConfig) -> None:
        kind = source.from_.kind
        rate_is_wrong = self._mistakes.at((*path, "rate"))
        if source.rate is None and kind in _NEEDS_RATE and not rate_is_wrong:
            self._mistakes.add((*path, "rate"), f"is missing; {kind.value} needs one, as 30Hz")
        if source.arrivals is Arrivals.BURST and source.size is None:
            self._mistakes.add((*path, "size"), "is missing; burst needs one: the frames at a time")
        if source.arrivals is not Arrivals.BURST and source.size is not None:
            self._mistakes.add((*path, "size"), "is of bursts; write arrivals: burst, or remove it")
        own_pace = source.rate is None and kind in RECORDED - _NEEDS_RATE
        if source.cycle is not None and own_pace and not rate_is_wrong:
            self._mistakes.add((*path, "cycle"), "needs a rate; give the source one, as 30Hz")


def _without_meaning(kind: OriginKind) -> set[str]:
    if kind in RECORDED:
        return set()
    return _REPLAYED if kind is OriginKind.SYNTHETIC else _TIMED | _REPLAYED


def _is_part(pool: str) -> bool:
    """Tell the pools that a footprint may name although CPU and GPU share one memory."""
    return pool in {DEFAULT_POOL, "host"} or pool.startswith("cuda:")
