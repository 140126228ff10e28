"""Golden scenarios: stories a person can read, and what the core decides in them.

    pool unified 1000MiB overhead 50MiB       what there is
    resource gpu 1
    setting ageing 10s
    model a 600MiB peak 800MiB priority 60    what is registered; sizes and times with their units
    at 0ms    a? #1 deadline 100ms            what happens: a request for a, with the number 1
              -> load a                       what is decided
              = unified 800/1000MiB; a loading; #1 waits_for_load      how things stand then

A model that may take several forms says them between strokes, `model a fp16 600MiB / int8 300MiB`.
An engine's instance is written behind its name from the second on: `a.2`. What is indented and each
`(timer)`, a moment at which time alone changed something, is compared as it stands.
`pytest tests/scenarios --rewrite` writes it anew; the difference is then read like any other.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from scheduler.core import decisions as de
from scheduler.core import events as ev
from scheduler.core.mode import Mode
from scheduler.core.model import Form, ModelSpec, PoolFootprint, QueueKeep, form_name, in_form
from scheduler.core.outcome import Outcome, Reason
from scheduler.core.request import Request, RequestKind
from scheduler.core.scheduler import Scheduler
from scheduler.core.settings import PoolBudget, Settings
from scheduler.core.snapshot import EngineSnapshot, Snapshot, WaitSnapshot

SCENARIOS = sorted(Path(__file__).parent.glob("*.txt"))
MIB = 2**20
UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
INDENT = " " * 10
SIZES = {"peak": "load_peak", "workspace": "workspace", "per_item": "per_item"}
FLAGS = {"pinned"}
RUNNING = ("uses", "batch_max", "batch_wait_ns")
NUMBERS = {"priority": "priority", "queue": "queue_limit", "batch": "batch_max"}


def size(word: str) -> int:
    """`300MiB` in bytes."""
    assert word.endswith("MiB"), f"{word} is no size; write 300MiB"
    return int(word[:-3]) * MIB


def time_ns(word: str) -> int:
    """`5ms` in nanoseconds."""
    match = re.fullmatch(r"([0-9.]+)(ns|us|ms|s)", word)
    assert match, f"{word} is no time; write 5ms"
    return round(float(match[1]) * UNITS_NS[match[2]])


def said_time(ns: int) -> str:
    """Nanoseconds as they are written: `200ms`, `1.1s`."""
    return f"{ns / 1e9:g}s" if ns >= 1e9 else f"{ns / 1e6:g}ms"


def pairs(words: list[str]) -> dict[str, str]:
    """`priority 60 pinned` as names with values; a flag stands alone."""
    found, rest = {}, iter(words)
    for word in rest:
        found[word] = "yes" if word in FLAGS else next(rest)
    return found


class Story:
    """One scenario while it is told."""

    def __init__(self) -> None:
        self.pools: dict[str, PoolBudget] = {}
        self.resources: dict[str, int] = {}
        self.rules: dict[str, Any] = {"ageing_ns": None}
        self.now = 0
        self.instances: dict[str, int] = {}
        self.core: Scheduler | None = None

    @property
    def scheduler(self) -> Scheduler:
        """Made when the first model is registered: until then it is being set up."""
        if self.core is None:
            self.core = Scheduler(
                Settings(pools=self.pools, resources=self.resources, **self.rules)
            )
        return self.core

    # -- setting up -------------------------------------------------------------------------

    def set_up(self, kind: str, words: list[str]) -> list[str]:
        """One line before the story begins, and what comes of it."""
        name, rest = words[0], words[1:]
        if kind == "model":
            said = self.register(name, rest)
            return self.shown(said) if said else []
        if kind == "pool":
            extra = {f"{key}_bytes": size(value) for key, value in pairs(rest[1:]).items()}
            self.pools[name] = PoolBudget(budget_bytes=size(rest[0]), **extra)
        elif kind == "resource":
            self.resources[name] = int(rest[0])
        elif name == "queue_bytes":
            self.rules |= {"queue_bytes": size(rest[0]), "queue_pool": next(iter(self.pools))}
        elif name == "policy":
            self.rules["policy"] = rest[0]
        else:
            assert (kind, name) == ("setting", "ageing"), f"unknown line: {kind} {name}"
            self.rules["ageing_ns"] = time_ns(rest[0])
        return []

    def register(self, name: str, words: list[str]) -> list[de.Decision]:
        """`a 600MiB peak 800MiB`, in the first pool, or `a host 300MiB cuda:0 200MiB`.

        Forms are told apart by a stroke, `a fp16 600MiB / int8 300MiB`, places by commas,
        `a 600MiB on cuda:0,cuda:1`. The rules of the model stand in any of them; what is said of
        units and batches in one form holds for it, and for those behind it that do not say it.
        """
        rules: dict[str, Any] = {"keep_alive_ns": None}
        forms: list[Form] = []
        for part in " ".join(words).split(" / "):
            mine, options = self.forms(part.split())
            for key, value in options.items():
                rules |= rule(key, value)
            running = {key: rules[key] for key in RUNNING if key in rules}
            forms += [placed(replace(form, **running)) for form in mine]
        first, *others = forms
        rules |= {key: getattr(first, key) for key in RUNNING}
        spec = ModelSpec(
            name=name,
            footprint=first.footprint,
            variant=first.variant,
            device=first.device,
            alternatives=tuple(others),
            **rules,
        )
        return self.tell(ev.ModelRegistered(spec))

    def forms(self, words: list[str]) -> tuple[list[Form], dict[str, str]]:
        """One variant, once for each of its places, and the rules that stand behind it."""
        variant, sizes = "", {}
        if not words[0].endswith("MiB") and words[0] not in self.pools:
            variant, *words = words
        if words[0].endswith("MiB"):
            words = [next(iter(self.pools)), *words]
        while words and words[0] in self.pools:
            sizes[words[0]] = size(words[1])
            words = words[2:]
        options = pairs(words)
        more = {f"{SIZES[key]}_bytes": size(options.pop(key)) for key in SIZES if key in options}
        footprint = {
            pool: PoolFootprint(resident_bytes=resident, **more) for pool, resident in sizes.items()
        }
        if "on" not in options:
            return [Form(footprint=footprint, variant=variant)], options
        (part,) = footprint.values()
        devices = options.pop("on").split(",")
        return [Form(footprint={d: part}, variant=variant, device=d) for d in devices], options

    # -- telling ----------------------------------------------------------------------------

    def tell(self, event: ev.Event) -> list[de.Decision]:
        """Hand over one event."""
        said = self.scheduler.handle(event, self.now)
        self.scheduler.check_invariants()
        for decision in said:
            if isinstance(decision, de.LoadEngine):
                self.instances[decision.model] = decision.instance
        return said

    def pass_time(self, until: int) -> Iterator[str]:
        """Let the timers due before `until` go off; those that change something are told."""
        while (due := self.scheduler.next_timer()) is not None and due < until:
            self.now, before = due, self.state()
            said = self.tell(ev.TimerFired())
            if said or self.state() != before:
                yield from [f"at {said_time(due):<6} (timer)", *self.shown(said)]
        self.now = until

    def act(self, line: str) -> list[de.Decision]:
        """One event."""
        verb, *words = line.split()
        if verb == "model":
            return self.register(words[0], words[1:])
        if verb.endswith("?"):
            return self.ask(RequestKind.INFER, verb[:-1], words)
        if verb == "mode":
            return self.tell(ev.ModeChanged(mode(words[0], words[1:])))
        if verb in {"hold", "load", "unload"}:
            return self.ask(RequestKind(verb), words[0], words[1:])
        for pattern, event in EVENTS.items():
            match = re.fullmatch(pattern, line)
            if match:
                return self.tell(event(self, *match.groups()))
        raise AssertionError(f"nobody knows what this means: {line}")

    def ask(self, kind: RequestKind, target: str, words: list[str]) -> list[de.Decision]:
        """A request."""
        options: dict[str, Any] = {}
        for key, value in pairs(words[1:]).items():
            if key == "deadline":
                options["deadline_ns"] = self.now + time_ns(value)
            elif key == "ttl":
                options["ttl_ns"] = time_ns(value)
            elif key == "payload":
                options["payload_bytes"] = size(value)
            elif key == "stream":
                options["stream"] = value
            else:
                options["under_lease" if key == "lease" else key] = int(value)
        number, models = int(words[0].removeprefix("#")), tuple(target.split("+"))
        request = Request(id=number, models=models, kind=kind, **options)
        return self.tell(ev.RequestArrived(request))

    def instance(self, model: str, number: str | None) -> int:
        """The one that is named, or the last."""
        return int(number) if number else self.instances[model]

    def seen(self, amount: str | None) -> dict[str, ev.Measurement]:
        """What was measured, of the first pool."""
        return {next(iter(self.pools)): ev.Measurement(size(amount))} if amount else {}

    def held_by(self, lease_id: str) -> str:
        """The first model of a lease."""
        leases = {lease.lease_id: lease for lease in self.scheduler.snapshot().leases}
        return leases[int(lease_id)].models[0]

    # -- showing ----------------------------------------------------------------------------

    def shown(self, said: list[de.Decision]) -> list[str]:
        """What is written under an event."""
        return [f"{INDENT}-> {self.sentence(decision)}" for decision in said] + [
            f"{INDENT}= {self.state()}"
        ]

    def state(self) -> str:
        """One line: the pools, units, engines, and who waits for what."""
        seen = self.scheduler.snapshot()
        units = [f"{name} in use: {count}" for name, count in seen.resources_in_use.items()]
        engines = [f"{named(e.model, e.instance)} {formed(e)}{how(e, seen)}" for e in seen.engines]
        of_mode = (
            [f"mode {seen.mode}{', switching' if seen.switching else ''}"] if seen.mode else []
        )
        parts = [
            *of_mode,
            *pools(seen),
            *units,
            *(e for e in engines if not e.endswith(" unloaded")),
        ]
        return "; ".join([*parts, *(waits(wait) for wait in seen.waiting)])

    def sentence(self, decision: de.Decision) -> str:
        """A decision in words."""
        match decision:
            case de.LoadEngine(model, instance, variant, device, ahead):
                form = in_form(variant, device)
                return f"load {named(model, instance)}{form}{' ahead' if ahead else ''}"
            case de.UnloadEngine(model, instance, reason):
                return f"unload {named(model, instance)}: {why(reason)}"
            case de.GrantLease():
                return granted(decision)
            case de.RevokeLease(lease_id, reason):
                return f"revoke lease {lease_id}: {why(reason)}"
            case de.FinishRequest(request_id, outcome, reason):
                return f"#{request_id} {outcome.value}" + (f": {why(reason)}" if reason else "")
            case _:
                return notice(decision)


def notice(decision: de.Decision) -> str:
    """A decision that is for a person alone, in words."""
    match decision:
        case de.RaiseAlarm(model, reason):
            return f"alarm about {model or 'memory'}: {why(reason)}"
        case de.RefuseMode(mode, reason):
            return f"refuse mode {mode}: {why(reason)}"
        case de.AnnounceMode(mode, took_ns, missing):
            without = f" without {', '.join(missing)}" if missing else ""
            return f"mode {mode} reached after {said_time(took_ns)}{without}"
        case de.SwitchMode(mode, unloads, loads, within_ns, unknown, samples):
            steps = [f"unload {', '.join(unloads)}"] if unloads else []
            steps += [f"load {', '.join(loads)}"] if loads else []
            seen = f" by {samples} seen" if samples else ""
            bound = [f"within {said_time(within_ns)}{seen}"] if steps else []
            unsure = [f"not known: {', '.join(unknown)}"] if unknown else []
            return f"switch to mode {mode}: {'; '.join(steps + bound + unsure) or 'nothing to do'}"
    raise AssertionError(decision)


def placed(form: Form) -> Form:
    """`uses cuda=1` is a unit of the device that the form is placed on."""
    units = {form.device if key == "cuda" else key: count for key, count in form.uses.items()}
    return replace(form, uses=units)


def mode(name: str, words: list[str]) -> Mode | None:
    """`docking pin slam priority faces=20,text=5 disable speech`; `none` is no mode."""
    if name == "none":
        return None
    said = pairs(words)
    split = {key: tuple(value.split(",")) for key, value in said.items()}
    given = dict(part.split("=") for part in split.pop("priority", ()))
    return Mode(name=name, priority={key: int(value) for key, value in given.items()}, **split)


def rule(key: str, value: str) -> dict[str, Any]:
    """One option of a model."""
    if key in NUMBERS:
        return {NUMBERS[key]: int(value)}
    if key == "keep":
        return {"queue_keep": QueueKeep(value)}
    if key == "pinned":
        return {"pinned": True}
    if key == "exclusive":
        return {"exclusive": frozenset(value.split(","))}
    if key == "uses":
        name, _, units = value.partition("=")
        return {"uses": {name: int(units)}}
    return {f"{key}_ns": time_ns(value)}


def in_mode(seen: Snapshot) -> list[str]:
    if seen.mode is None:
        return []
    return [f"mode {seen.mode}{', switching' if seen.switching else ''}"]


def pools(seen: Snapshot) -> list[str]:
    return [
        f"{pool.name} {pool.reserved_bytes // MIB}/{pool.budget_bytes // MIB}MiB"
        for pool in seen.pools
    ]


def named(model: str, instance: int) -> str:
    """`a`, and `a.2` from the second load on."""
    return f"{model}.{instance}" if instance > 1 else model


def formed(engine: EngineSnapshot) -> str:
    """`(int8 on cuda:1) `, where there is a choice."""
    form = form_name(engine.variant, engine.device)
    return f"({form}) " if form else ""


def how(engine: EngineSnapshot, seen: Snapshot) -> str:
    """What an engine is doing."""
    leases = {lease.lease_id: lease for lease in seen.leases}
    runs = [le for le in seen.leases if not le.holds and engine.model in le.models]
    words = []
    if engine.held_by is not None:
        revoked = "revoked but " if leases[engine.held_by].revoking else ""
        words.append(f"{revoked}held by lease {engine.held_by}")
    if runs:
        ids = ",".join(f"#{request_id}" for request_id in engine.running)
        words.append(f"running {ids or 'for nobody'}")
    if engine.following:
        words.append(f"next {','.join(f'#{request_id}' for request_id in engine.following)}")
    if engine.state.value == "unloaded" and engine.ready_again_ns:
        words.append(f"backs off until {said_time(engine.ready_again_ns)}")
    condemned = " (condemned)" if engine.condemned else ""
    return (" and ".join(words) or engine.state.value) + condemned


def waits(wait: WaitSnapshot) -> str:
    """Who waits for what; the usual priority is not mentioned."""
    priority = f" (priority {wait.priority})" if wait.priority != 50 else ""
    return (
        f"#{wait.request_id}{priority} {wait.waits_for.code.value if wait.waits_for else 'waits'}"
    )


def why(reason: Reason) -> str:
    return f"{reason.code.value}, {reason}"


def granted(grant: de.GrantLease) -> str:
    """`grant lease 1 on a to #1, held until 2s`."""
    names = "+".join(named(engine.model, engine.instance) for engine in grant.engines)
    ids = ",".join(f"#{request_id}" for request_id in grant.request_ids)
    until = f" until {said_time(grant.expires_ns)}" if grant.expires_ns is not None else ""
    held = f", held{until}" if grant.holds else ""
    in_turn = " in turn" if grant.in_turn else ""
    after = f" after lease {grant.after}" if grant.after is not None else ""
    return f"grant lease {grant.lease_id} on {names} to {ids}{in_turn}{after}{held}"


def lease_ended(story: Story, lease_id: str, holding: str | None, error: str | None) -> ev.Event:
    outcome = Outcome.FAILED if error else Outcome.COMPLETED
    measured = {story.held_by(lease_id): story.seen(holding)} if holding else {}
    return ev.LeaseEnded(int(lease_id), outcome, error or "", measured=measured)


ENGINE = r"([^ .:]+)(?:\.(\d+))?"
EVENTS: dict[str, Callable[..., ev.Event]] = {
    rf"loaded {ENGINE}(?: holding (\w+))?": lambda s, m, n, b: ev.EngineLoaded(
        m, s.instance(m, n), s.seen(b)
    ),
    rf"failed to load {ENGINE}( for lack of memory)?: (.+)": lambda s, m, n, o, e: (
        ev.EngineLoadFailed(m, s.instance(m, n), e, out_of_memory=bool(o))
    ),
    rf"unloaded {ENGINE}(?: leaving (\w+))?": lambda s, m, n, b: ev.EngineUnloaded(
        m, s.instance(m, n), s.seen(b)
    ),
    rf"lost {ENGINE}: (.+)": lambda s, m, n, e: ev.EngineLost(m, s.instance(m, n), e),
    r"ended lease (\d+)(?: holding (\w+))?(?:: (.+))?": lease_ended,
    r"ended lease (\d+) for lack of memory: (.+)": lambda _, n, e: ev.LeaseEnded(
        int(n), Outcome.FAILED, e, out_of_memory=True
    ),
    r"released lease (\d+)": lambda _, n: ev.LeaseEnded(int(n)),
    r"renew lease (\d+)": lambda _, n: ev.LeaseRenewed(int(n)),
    r"take back lease (\d+)": lambda _, n: ev.LeaseRevocationAsked(int(n)),
    r"cancel #(\d+)": lambda _, n: ev.RequestCancelled(int(n)),
    r"pin (\S+)": lambda _, m: ev.PinChanged(m, pinned=True),
    r"unpin (\S+)": lambda _, m: ev.PinChanged(m, pinned=False),
    r"priority (\S+) (\d+)": lambda _, m, p: ev.PriorityChanged(m, int(p)),
    r"priority (\S+) default": lambda _, m: ev.PriorityChanged(m, None),
    r"remove (\S+)": lambda _, m: ev.ModelRemoved(m),
    r"budget (\S+) (\w+)": lambda _, p, b: ev.BudgetChanged(p, size(b)),
    r"available (\S+) (\w+)(?: of (\w+))?": lambda _, p, b, t: ev.MemorySampled(
        p, size(b), total_bytes=size(t) if t else None
    ),
    r"drain(?: by (\w+))?": lambda _, t: ev.DrainRequested(time_ns(t) if t else None),
    r"wait": lambda _: ev.TimerFired(),
}


def play(text: str) -> str:
    """Tell the story again, with what is decided now under each event."""
    story = Story()
    lines: list[str] = []
    remarks: list[str] = []  # They belong to what comes after them, timers apart.
    for line in text.splitlines():
        words = line.split()
        if line.startswith(INDENT) or words[2:] == ["(timer)"]:
            continue
        if not words or line.startswith("#"):
            remarks.append(line)
        elif words[0] == "at":
            timers = story.pass_time(time_ns(words[1]))
            lines += [*timers, *remarks, line, *story.shown(story.act(" ".join(words[2:])))]
            remarks = []
        else:
            lines += [*remarks, line, *story.set_up(words[0], words[1:])]
            remarks = []
    lines += remarks
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_scenario_goes_as_it_is_written(path: Path, request: pytest.FixtureRequest) -> None:
    told = play(path.read_text())
    if request.config.getoption("--rewrite"):
        path.write_text(told)
    assert path.read_text() == told


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_begins_with_a_sentence_that_says_what_it_shows(path: Path) -> None:
    first = path.read_text().partition("\npool")[0]
    assert re.fullmatch(r"# [A-Z`].*[.]", first, re.DOTALL)


def test_there_is_a_scenario_for_each_rule() -> None:
    assert len(SCENARIOS) >= 18


def test_the_same_story_goes_the_same_way_whatever_the_seed_of_hashing() -> None:
    """Sets of strings are ordered differently in each process: nothing may depend on that."""
    script = (
        "import runpy, sys\n"
        f"told = runpy.run_path({str(Path(__file__))!r})\n"
        "sys.stdout.write(''.join(told['play'](p.read_text()) for p in told['SCENARIOS']))\n"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1] == "".join(play(path.read_text()) for path in SCENARIOS)
