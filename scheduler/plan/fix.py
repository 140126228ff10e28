"""What would fix a configuration: one change at a time, each tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.core.admission import never
from scheduler.plan.trial import Trial, try_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.config import Config
    from scheduler.core.settings import Settings
    from scheduler.plan.trial import Conditions

SLOWER = (0.75, 0.5, 0.25)
"""A lower rate is tried in these steps; the first that does is the answer."""
MOST_TRIALS = 24


@dataclass(frozen=True, slots=True)
class Fix:
    """One change, and how many requests then have no answer in time."""

    change: str
    unmet: int


@dataclass(frozen=True, slots=True)
class _Change:
    """A configuration with one change. Of one `subject` later ones go further."""

    subject: str
    words: str
    config: Config


def fixes(config: Config, settings: Settings, conditions: Conditions, trial: Trial) -> list[Fix]:
    """Every change that leaves fewer unmet than `trial` did, the best first.

    Pins, smaller variants and lower rates are tried, at most `MOST_TRIALS` in all, those of the
    models that miss most first.
    """
    found: dict[str, Fix] = {}
    trials = 0
    from_sources = conditions.arrivals is None
    for change in _changes(config, settings, trial, from_sources=from_sources):
        best = found.get(change.subject)
        if trials == MOST_TRIALS or (best is not None and not best.unmet):
            continue
        trials += 1
        unmet = try_out(change.config, settings, conditions).unmet
        if unmet < (trial.unmet if best is None else best.unmet):
            found[change.subject] = Fix(change.words, unmet)
    return sorted(found.values(), key=lambda fix: fix.unmet)


def _changes(
    config: Config, settings: Settings, trial: Trial, *, from_sources: bool
) -> Iterator[_Change]:
    suffering = sorted(
        (name for name, figures in trial.models.items() if figures.unmet),
        key=lambda name: -trial.models[name].unmet,
    )
    yield from _pins(config, settings, suffering)
    yield from _variants(config, suffering)
    if from_sources:
        yield from _rates(config, suffering)


def pinned(config: Config, names: list[str]) -> Config:
    """The same configuration with these models pinned."""
    models = dict(config.models)
    for name in names:
        models[name] = models[name].model_copy(update={"pinned": True})
    return config.model_copy(update={"models": models})


def _pins(config: Config, settings: Settings, suffering: list[str]) -> Iterator[_Change]:
    """Pins that leave every model able to load."""
    first_pool = next(iter(settings.pools))
    for name in suffering:
        if config.models[name].pinned:
            continue
        changed = pinned(config, [name])
        specs = {key: one.to_spec(first_pool) for key, one in changed.models.items()}
        if not any(never(spec, specs, settings) for spec in specs.values()):
            yield _Change(f"pin {name}", f"pin {name}", changed)


def _variants(config: Config, suffering: list[str]) -> Iterator[_Change]:
    """Smaller forms from the start, of the models that miss first: others can have their room."""
    for name in [*suffering, *(name for name in config.models if name not in suffering)]:
        model = config.models[name]
        for variant in model.variants:
            models = {**config.models, name: model.as_variant(variant.name)}
            words = f"{name} as {variant.name} at best"
            yield _Change(f"variant {name}", words, config.model_copy(update={"models": models}))


def _rates(config: Config, suffering: list[str]) -> Iterator[_Change]:
    """Lower rates, of the models that miss first: theirs are the frames that are lost anyway."""
    of_these = [name for name in config.sources if config.sources[name].model in suffering]
    for name in [*of_these, *(name for name in config.sources if name not in of_these)]:
        source = config.sources[name]
        for share in SLOWER if source.rate is not None else ():
            rate = (source.rate or 0.0) * share
            slower = {**config.sources, name: source.model_copy(update={"rate": rate})}
            changed = config.model_copy(update={"sources": slower})
            yield _Change(f"rate {name}", f"source {name} at {rate:.3g} Hz", changed)
