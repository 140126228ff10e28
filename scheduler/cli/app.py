"""The command `rota` and its subcommands."""

from __future__ import annotations

import sys

import typer

from scheduler.cli.build import build
from scheduler.cli.call import call
from scheduler.cli.check import check
from scheduler.cli.doctor import doctor
from scheduler.cli.doctor_mqtt import doctor_mqtt
from scheduler.cli.engines import engines
from scheduler.cli.explain import explain
from scheduler.cli.plan import plan
from scheduler.cli.profile import profile
from scheduler.cli.replay import replay
from scheduler.cli.run import run
from scheduler.cli.simulate import simulate
from scheduler.cli.top import top
from scheduler.cli.version import options

app = typer.Typer(
    help="One small machine does the work of several models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.callback()(options)
for command in (run, check, plan, simulate, profile, replay, explain, build, engines, call, top):
    app.command()(command)
doctor.command("mqtt")(doctor_mqtt)
app.add_typer(doctor, name="doctor")


def main() -> None:
    """Run the command line; ends the process with 0 good, 1 the answer is no, 2 wrong usage.

    The working folder is searched for modules, as by `python -m`: `engine: my_engines:Thermal` is
    how a robot's own repository names an engine without packaging it.
    """
    sys.path.insert(0, "")
    app()
