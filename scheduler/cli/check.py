"""`rota check`: can this configuration work here?"""

from __future__ import annotations

import typer
from rich.console import Console

from scheduler.cli.configuration import ConfigPath, reported
from scheduler.cli.exit_status import NO
from scheduler.config import load_config
from scheduler.config.check import check as find
from scheduler.memory.budget import machine_totals


def check(config: ConfigPath) -> None:
    """Say whether CONFIG is right and whether its models fit, without loading any.

    Exit status 1: a model never fits. 2: the file is wrong; every mistake is named.
    """
    with reported():
        findings = find(load_config(config), machine_totals())
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        mark = "[red]no[/]" if finding.fatal else "[green]ok[/]"
        console.print(mark, end=" ")
        console.print(finding.text, markup=False)
    if any(finding.fatal for finding in findings):
        raise typer.Exit(NO)
