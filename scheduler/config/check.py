"""Whether a configuration can work on a machine, and what a person should know of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.config.config import Config, total_of
from scheduler.core.admission import never
from scheduler.core.amounts import sized

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
    for pool, budget in settings.pools.items():
        usable = budget.budget_bytes - settings.overhead_bytes(pool)
        held = {
            name: spec.footprint[pool].resident_bytes
            for name, spec in specs.items()
            if spec.pinned and pool in spec.footprint
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
    needs = ", ".join(
        f"{sized(max(part.loading_bytes, part.resident_bytes + part.running_bytes(1)))} of {pool}"
        for pool, part in spec.footprint.items()
    )
    yield Finding(f"{spec.name} fits: needs at most {needs}")
    if spec.batch_max > 1 and never(spec, specs, settings, items=spec.batch_max) is not None:
        yield Finding(
            f"{spec.name}: a batch of {spec.batch_max} (batch.max) never fits; "
            "it runs in smaller ones"
        )


def _together(specs: Mapping[str, ModelSpec], settings: Settings) -> Iterator[Finding]:
    for pool, budget in settings.pools.items():
        usable = budget.budget_bytes - settings.overhead_bytes(pool)
        need = sum(s.footprint[pool].resident_bytes for s in specs.values() if pool in s.footprint)
        end = "they take turns" if need > usable else "all can be loaded at once"
        yield Finding(
            f"all models together need {sized(need)} of {pool}, the budget is "
            f"{sized(budget.budget_bytes)}{_less_overhead(settings, pool)}: {end}"
        )


def _less_overhead(settings: Settings, pool: str) -> str:
    """Say what of a budget models never get: the process's own, and the payloads that wait."""
    own = settings.pools[pool].overhead_bytes
    queued = settings.overhead_bytes(pool) - own
    less = f" less {sized(own)} overhead" if own else ""
    return less + (f" less {sized(queued)} for queued payloads" if queued else "")
