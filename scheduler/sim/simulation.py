"""A whole configuration in virtual time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.core.events import ModeChanged
from scheduler.plugin.synthetic import MS_NS
from scheduler.report.builder import ReportBuilder
from scheduler.sim.observed import ObservedTimes, observe_times
from scheduler.sim.replay import Replay
from scheduler.sim.simulator import Simulator
from scheduler.sim.times import (
    ASSUMED_LOAD_NS,
    ASSUMED_RUN_NS,
    EngineTimes,
    FixedTimes,
    times_by_form,
)
from scheduler.sim.workload import Workload

if TYPE_CHECKING:
    from scheduler.config import Config, Model
    from scheduler.core.settings import Settings
    from scheduler.report.report import Report
    from scheduler.runtime.pump import Observer
    from scheduler.trace.record import Record


@dataclass(frozen=True, slots=True)
class Simulated:
    """How it went. `notes` are sentences on what was assumed and what had not ended."""

    report: Report
    notes: tuple[str, ...]


def simulate(
    config: Config,
    settings: Settings,
    *,
    duration_ns: int,
    seed: int = 1,
    times: Iterable[Record] | None = None,
    arrivals: Iterable[Record] | None = None,
    switches: Iterable[tuple[int, str | None]] = (),
    observers: Iterable[Observer] = (),
) -> Simulated:
    """Run `config` for `duration_ns` of virtual time, from 0; equal arguments, equal records.

    `times` are the records of a run from which load, run and unload times are drawn; other engines
    than `synthetic` take assumed times without them. `arrivals` are those of a run whose requests
    are asked again, instead of the configuration's sources. Both may be the same trace.

    `switches` are modes of the configuration to switch to, each with its time in ns, None for none.

    What has not ended at the end stays open: it is in a model's `requests` and in no outcome.
    """
    engine_times, assumed = _engine_times(config.models, times, seed)
    builder = ReportBuilder(settings, started_ns=0)
    simulator = Simulator(settings, engine_times, (builder, *observers))
    first_pool = next(iter(settings.pools))
    for model in config.models.values():
        simulator.register(model.to_spec(first_pool))
    for at_ns, mode in switches:
        simulator.at(at_ns, simulator.tell, ModeChanged(config.core_mode(mode)))
    if arrivals is None:
        workload = Workload(simulator, config.sources, seed=seed)
        workload.start()
        simulator.run(duration_ns)
        builder.attach_sources(workload.report())
        notes = workload.notes
    else:
        notes = _replay(simulator, arrivals, duration_ns)
    report = builder.report(duration_ns)
    return Simulated(report, (*assumed, *notes, *simulator.remarks.values(), *_still_open(report)))


def _replay(simulator: Simulator, arrivals: Iterable[Record], duration_ns: int) -> list[str]:
    replay = Replay(simulator, arrivals)
    replay.start()
    simulator.run(duration_ns)
    if not replay.left_out:
        return []
    text = "leases held in the trace are not held again; what ran under them is asked without"
    return [f"{replay.left_out} {text}"]


def _engine_times(
    models: Mapping[str, Model], records: Iterable[Record] | None, seed: int
) -> tuple[Mapping[str, EngineTimes], list[str]]:
    """What each model's engine takes, and what of it was assumed, in sentences."""
    written = {key: one for model in models.values() for key, one in times_by_form(model).items()}
    times: dict[str, EngineTimes] = {name: one or FixedTimes() for name, one in written.items()}
    unknown = {name: ("load", "run") for name, one in written.items() if one is None}
    if records is None:
        return times, _assumed(unknown)
    observed = observe_times(records, times, seed)
    missing = {name: _missing(observed[name]) for name in unknown}
    return observed, _assumed(missing)


def _missing(observed: ObservedTimes) -> tuple[str, ...]:
    kinds = {"load": observed.loads, "run": observed.runs}
    return tuple(kind for kind, seen in kinds.items() if not seen)


def _assumed(missing: Mapping[str, tuple[str, ...]]) -> list[str]:
    models = defaultdict[tuple[str, ...], list[str]](list)
    for name, kinds in missing.items():
        models[kinds].append(name)
    return [_assumption(kinds, names) for kinds, names in models.items() if kinds]


def _assumption(kinds: tuple[str, ...], names: list[str]) -> str:
    assumed_ns = {"load": ASSUMED_LOAD_NS, "run": ASSUMED_RUN_NS}
    what = "times" if len(kinds) > 1 else f"{kinds[0]} times"
    values = ", ".join(f"{kind} {assumed_ns[kind] // MS_NS} ms" for kind in kinds)
    return (
        f"no {what} known for {', '.join(names)}: assuming {values}; "
        "record a trace with rota run --trace and pass --times"
    )


def _still_open(report: Report) -> list[str]:
    still_open = {
        name: model.requests
        - model.completed
        - model.failed
        - model.rejected
        - model.deadline_missed
        - model.preempted
        - model.cancelled
        for name, model in report.models.items()
    }
    named = ", ".join(f"{name} {count}" for name, count in still_open.items() if count)
    return [f"not ended after {report.duration_s:g} s: {named}"] if named else []
