"""`rota doctor`: what this machine can do, and where an engine's memory goes and ends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from scheduler.cli.configuration import complain, reported
from scheduler.cli.exit_status import NO, WRONG
from scheduler.config import load_config
from scheduler.core.amounts import sized
from scheduler.doctor.checkup import examine
from scheduler.doctor.text import render_checkup
from scheduler.doctor.trial import CYCLES, Trial
from scheduler.doctor.verdict import Verdict, verdict
from scheduler.errors import ConfigError
from scheduler.memory.budget import machine_totals
from scheduler.profile.place import Place, places
from scheduler.profile.step import Step
from scheduler.profile.text import unknown_models


class _ModelOrWord(TyperGroup):
    """Takes what is none of its words for a model, so that `rota doctor faces` can be written."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that `args` begins with, or `model` for all of them."""
        known = self.commands
        return super().resolve_command(ctx, args if args[0] in known else ["model", *args])


doctor = typer.Typer(
    cls=_ModelOrWord,
    help="Say what this machine can do, or an engine on it, and what would mend it.",
    rich_markup_mode=None,
)


@doctor.callback(invoke_without_command=True)
def machine(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what this machine is, what its memory holds, and what is to be mended, with the lines.

    `rota doctor CONFIG MODEL` tries one engine. Exit status 1: there is something to mend.
    """
    if context.invoked_subcommand is not None:
        return
    found = examine()
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        Console(highlight=False, soft_wrap=True).print(render_checkup(found))
    if not found.good:
        raise typer.Exit(NO)


@doctor.command()
def model(
    words: Annotated[list[str], typer.Argument(metavar="[CONFIG] MODEL")],
    *,
    config: Annotated[
        Optional[Path], typer.Option(help="The configuration that the model is in.")
    ] = None,
    variant: Annotated[Optional[str], typer.Option(help="Default: its best.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Try batches at least up to this.")] = 1,
    cycles: Annotated[int, typer.Option(min=1, help="Loads and unloads.")] = CYCLES,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Find where an engine fails: load it, run larger and larger batches, load it again and again.

    In processes of its own, so that what kills the engine kills nothing else. Exit status 1: it
    fails, leaks, or one item needs more than the budget. 2: wrong usage or configuration.
    """
    path, name = _path_and_name(words, config)
    with reported():
        read = load_config(path)
        if name not in read.models:
            raise ConfigError([unknown_models(name, read.models)])
        place = _place(places(read, name), name, variant)
        budget = read.settings(machine_totals()).pools[place.pool]
    most = max(batch, place.batch_max)
    trial = Trial(path, name, place.variant, batch_max=most, cycles=cycles)
    console = Console(highlight=False, soft_wrap=True)
    for step in trial.run():
        if not as_json:
            console.print(_line(step, budget.budget_bytes))
    budgeted, overhead = budget.budget_bytes, budget.overhead_bytes
    found = verdict(name, trial, budgeted, overhead, place.declared)
    _show(console, found, as_json=as_json)
    if not found.good:
        raise typer.Exit(NO)


def _place(there: list[Place], name: str, variant: str | None) -> Place:
    for place in there:
        if variant in (None, place.variant):
            return place
    known = ", ".join(place.variant for place in there if place.variant) or "none"
    raise ConfigError([f'{name} has no variant "{variant}"; it has {known}'])


def _path_and_name(words: list[str], config: Path | None) -> tuple[Path, str]:
    if config is not None and len(words) == 1:
        return config, words[0]
    if config is None and len(words) == 2:  # noqa: PLR2004 - CONFIG MODEL
        return Path(words[0]), words[1]
    complain("write rota doctor CONFIG MODEL, or rota doctor MODEL --config CONFIG")
    raise typer.Exit(WRONG)


def _line(step: Step, budget_bytes: int) -> Text:
    """One step as soon as it is done: the next may take long, or the machine along."""
    what = step.act if step.act != "run" else f"run of {step.items}"
    if step.error:
        return Text(f"{what:<12} failed: {step.error}", "red")
    over = "  over the budget" if step.peak_bytes > budget_bytes else ""
    return Text(
        f"{what:<12} {step.took_ns / 1e6:>9.1f} ms   at most {sized(step.peak_bytes):>10}   "
        f"then {sized(step.held_bytes):>10}{over}",
        "yellow" if over else "",
    )


def _show(console: Console, found: Verdict, *, as_json: bool) -> None:
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    console.print()
    for sentence in found.sentences:
        console.print(Text(sentence))
