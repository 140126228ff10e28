"""Whether a configuration can work on a machine, and what a person should know of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.config.config import Config, total_of
from scheduler.config.device import family
from scheduler.core.admission import never
from scheduler.core.amounts import sized, total
from scheduler.core.fit import Fit, declared_fit, least_resident, most_bytes
from scheduler.core.model import in_form
from scheduler.core.units import never_units

if TYPE_CHECKING:
    from scheduler.core.model import ModelSpec
    from scheduler.core.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about a configuration. After a `fatal` one it cannot work as it is written."""

    text: str
    fatal: bool = False


def check(config: Config, total_bytes: Mapping[str, int]) -> list[Finding]:
    """Return what `rota check` says of `config` on a machine with `total_bytes` in its pools.

    Whether a model fits is the core's own rule, on declared figures. Raises ConfigError as
    `Config.settings` does.
    """
    settings = config.settings(total_bytes)
    first_pool = next(iter(settings.pools))
    specs = {name: model.to_spec(first_pool) for name, model in config.models.items()}
    return [
        *_budgets(config, settings, total_bytes),
        *_pinned(specs, settings),
        *(finding for spec in specs.values() for finding in _model(spec, specs, settings)),
        *_together(specs, settings),
        *_shared_units(specs, settings),
        *check_modes(config, settings),
    ]


def check_modes(config: Config, settings: Settings) -> list[Finding]:
    """Return what is different in each mode of `config`."""
    return [finding for name in config.modes for finding in _mode(config, name, settings)]


def _mode(config: Config, name: str, settings: Settings) -> Iterator[Finding]:
    """What is different in a mode: its pins have to fit, and leave room for the others."""
    first_pool = next(iter(settings.pools))
    models = config.in_mode(name).models
    specs = {model: written.to_spec(first_pool) for model, written in models.items()}
    found = [*_pinned(specs, settings)]
    for spec in specs.values():
        reason = never(spec, specs, settings)
        if reason is not None:
            found.append(Finding(f"{reason}; disable it in this mode, or pin less", fatal=True))
    for finding in found or [Finding("nothing is pinned")]:
        yield Finding(f"mode {name}: {finding.text}", fatal=finding.fatal)


def _budgets(
    config: Config, settings: Settings, total_bytes: Mapping[str, int]
) -> Iterator[Finding]:
    for name, pool in settings.pools.items():
        key = config.budget_key(name)
        total = total_of(name, total_bytes)
        if total is not None and pool.budget_bytes > total:
            yield Finding(
                f"{key} is {sized(pool.budget_bytes)}, and the machine has {sized(total)}; "
                "lower it",
                fatal=True,
            )
        if settings.overhead_bytes(name) >= pool.budget_bytes:
            yield Finding(
                f"{key} is {sized(pool.budget_bytes)}{_less_overhead(settings, name)}: "
                "nothing is left for models; raise it",
                fatal=True,
            )


def _pinned(specs: Mapping[str, ModelSpec], settings: Settings) -> Iterator[Finding]:
    places = declared_fit(specs, settings).pinned
    for pool, budget in settings.pools.items():
        usable = budget.budget_bytes - settings.overhead_bytes(pool)
        held = {
            name + places[name].form.words: places[name].resident_bytes()[pool]
            for name in specs
            if name in places and pool in places[name].form.footprint
        }
        share, names = sum(held.values()), ", ".join(held)
        if share > usable:
            yield Finding(
                f"pinned in {pool}: {names} need {sized(share)} together, and {sized(usable)} can "
                "be used; unpin one or raise the budget",
                fatal=True,
            )
        elif held:
            yield Finding(
                f"pinned in {pool}: {names} hold {sized(share)} of {sized(usable)} "
                f"({100 * share / usable:.0f} %) for good"
            )


def _model(
    spec: ModelSpec, specs: Mapping[str, ModelSpec], settings: Settings
) -> Iterator[Finding]:
    reason = never(spec, specs, settings)
    if reason is not None:
        yield Finding(str(reason), fatal=True)
        return
    fit = declared_fit(specs, settings)
    yield from _forms(spec, fit)
    yield from _batches(spec, fit)
    for form in spec.forms:
        lacking = never_units(spec.name, (form,), settings.resources)
        if lacking is not None:
            yield Finding(f"{lacking}; it is served in other forms")


def _batches(spec: ModelSpec, fit: Fit) -> Iterator[Finding]:
    """The forms whose largest batch does not fit although one item does."""
    for one in fit.possible(spec.name, 1):
        most = one.form.batch_max
        if most > 1 and one not in fit.possible(spec.name, most):
            yield Finding(
                f"{spec.name}{one.form.words}: a batch of {most} (batch.max) never fits; "
                "it runs in smaller ones"
            )


def _forms(spec: ModelSpec, fit: Fit) -> Iterator[Finding]:
    """Each form in which a model can be served, and why it cannot in the others."""
    for variant in dict.fromkeys(one.form.variant for one in fit.open_to(spec.name)):
        there = [one for one in fit.open_to(spec.name) if one.form.variant == variant]
        good = [one for one in there if one in fit.possible(spec.name, 1)]
        if good:
            places = [one.form.device for one in good if one.form.device]
            where = f" on {' or '.join(places)}" if places else ""
            needs = ", ".join(
                f"{sized(amount)} of {'it' if pool in places and len(places) > 1 else pool}"
                for pool, amount in most_bytes(good[:1], 1).items()
            )
            words = in_form(variant, "")
            yield Finding(f"{spec.name}{words} fits{where}: needs at most {needs}")
        for one in there:
            if one not in good:
                reason = fit.refusal((spec.name,), (one,), 1)
                yield Finding(f"{reason}; it is served in other forms")


def _together(specs: Mapping[str, ModelSpec], settings: Settings) -> Iterator[Finding]:
    best = declared_fit(specs, settings)
    first = total(best.open_to(name)[0].resident_bytes() for name in specs)
    least = total(least_resident(best.open_to(name)) for name in specs)
    placed = {pool for spec in specs.values() for pool in _places(spec)}
    for pool, budget in settings.pools.items():
        if pool in placed:
            continue
        usable = budget.budget_bytes - settings.overhead_bytes(pool)
        need, small = first.get(pool, 0), least.get(pool, 0)
        end = "they take turns" if small > usable else "all can be loaded at once"
        if need > usable >= small:
            end += f" in their smallest forms, with {sized(small)}"
        yield Finding(
            f"all models together need {sized(need)} of {pool}, the budget is "
            f"{sized(budget.budget_bytes)}{_less_overhead(settings, pool)}: {end}"
        )
    if placed:
        yield _spread(specs, settings, [pool for pool in settings.pools if pool in placed])


def _places(spec: ModelSpec) -> set[str]:
    """The pools between which there is a choice for a model, or none."""
    return {form.device for form in spec.forms if form.device}


def _spread(specs: Mapping[str, ModelSpec], settings: Settings, pools: list[str]) -> Finding:
    """What all models need of the pools that some of them may choose from."""
    need = sum(
        min(
            sum(form.footprint[pool].resident_bytes for pool in form.footprint if pool in pools)
            for form in spec.forms
        )
        for spec in specs.values()
    )
    usable = sum(settings.pools[p].budget_bytes - settings.overhead_bytes(p) for p in pools)
    end = "they take turns" if need > usable else "they may all be loaded at once"
    return Finding(
        f"all models together need at least {sized(need)} of {' and '.join(pools)}, which have "
        f"{sized(usable)}: {end}"
    )


def _shared_units(specs: Mapping[str, ModelSpec], settings: Settings) -> Iterator[Finding]:
    """Resources of which several devices have fewer units than there are devices."""
    for name, units in settings.resources.items():
        forms = [form for spec in specs.values() for form in spec.forms if name in form.uses]
        devices = [
            pool
            for pool in settings.pools
            if family(pool) and any(pool in form.footprint for form in forms)
        ]
        if name not in settings.pools and units < len(devices):
            own = ", ".join(f'"{device}": 1' for device in devices)
            yield Finding(
                f"{name}: {units} for {' and '.join(devices)} together, so a run on one waits for "
                f"those on the other; to have them run side by side write resources: {{{own}}} and "
                f"uses: {{{family(devices[0])}: 1}}"
            )


def _less_overhead(settings: Settings, pool: str) -> str:
    """Say what of a budget models never get: the process's own, and the payloads that wait."""
    own = settings.pools[pool].overhead_bytes
    queued = settings.overhead_bytes(pool) - own
    less = f" less {sized(own)} overhead" if own else ""
    return less + (f" less {sized(queued)} for queued payloads" if queued else "")
