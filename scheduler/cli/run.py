"""`rota run`: the models of a configuration, at work."""

from __future__ import annotations

import gc
import logging
import signal
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import anyio
import typer
from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler

from scheduler.cli.configuration import ConfigPath, complain, reported
from scheduler.cli.exit_status import NO
from scheduler.cli.modes import (
    FirstMode,
    Switches,
    SwitchTimes,
    in_first_mode,
    keep_switching,
    read_switches,
)
from scheduler.cli.recorders import Recorders
from scheduler.cli.story import Story
from scheduler.cli.table import render_live
from scheduler.config import Config, load_config
from scheduler.config.check import check
from scheduler.config.units import read_duration
from scheduler.core.model import SECOND_NS
from scheduler.core.request import NO_DEADLINE_NS
from scheduler.errors import ConfigError, PluginError
from scheduler.memory.budget import machine_totals
from scheduler.memory.process import Baseline
from scheduler.memory.sampler import MemorySampler
from scheduler.memory.sources import pool_probes
from scheduler.memory.trim import release_free_memory, tame_malloc
from scheduler.plugin.registry import find
from scheduler.report.report import SourceReport
from scheduler.report.summary import render_summary
from scheduler.runtime.clock import Clock, MonotonicClock
from scheduler.runtime.runtime import Runtime
from scheduler.runtime.signals import SIGNAL_STATUS, Wish, drain_on_signal
from scheduler.sink.outlets import build_sinks
from scheduler.source.feeds import build_sources
from scheduler.transport.news import News
from scheduler.transport.own_broker import OwnBroker
from scheduler.transport.security import Credentials, read_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from anyio.abc import TaskGroup

    from scheduler.plugin.engine import EnginePlugin
    from scheduler.sink.sink import Outlet
    from scheduler.source.feeds import Feeds
    from scheduler.transport.mqtt import MqttTransport

_log = logging.getLogger(__name__)

PICTURES_PER_SECOND = 4
TURN_S = 0.0005
"""How long Python code of an engine keeps the interpreter from the event loop. With Python's own 5
ms a request to an idle engine took up to 120 ms beside one that computes in Python, with this 3."""


def run(
    context: typer.Context,
    config: ConfigPath,
    *,
    duration: Annotated[
        Optional[str], typer.Option(help="Stop after this time, as 30s or 5m.")
    ] = None,
    report: Annotated[Optional[Path], typer.Option(help="Write the figures as JSON.")] = None,
    trace: Annotated[Optional[Path], typer.Option(help="Write every step as JSON lines.")] = None,
    timeline: Annotated[
        Optional[Path], typer.Option(help="Write a picture of the run, .html or .svg.")
    ] = None,
    mode: FirstMode = None,
    at: SwitchTimes = None,
    broker: Annotated[bool, typer.Option("--broker", help="Start mosquitto for the run.")] = False,
) -> None:
    """Run the models, sources and sinks of CONFIG until the sources end, or a signal comes.

    SIGINT and SIGTERM drain: what runs may end, everything is unloaded. A second one ends at once.
    SIGHUP reads CONFIG again: models and budgets change while it runs, the rest needs a restart.
    SIGUSR1 writes the last steps to a file, as does an end that nobody asked for.
    """
    _log_to_console()
    with reported():
        read = in_first_mode(load_config(config), mode)
        read = _with_broker(context, read) if broker else read
        switches = read_switches(read, at)
        duration_ns = None if duration is None else _duration_ns(duration)
        _refuse_hopeless(read)
        plugins = {name: find(model.engine or "") for name, model in read.models.items()}
        clock = MonotonicClock()
        files = {"report": report, "trace": trace, "timeline": timeline}
        settings = read.settings(machine_totals())
        recorders = Recorders(read.node, settings, clock.now_ns(), **files)
        sinks = build_sinks(read.sinks)
        mqtt = _mqtt(read)
    tame_malloc()
    at_work = AtWork(config, read, clock, recorders, sinks, plugins, mqtt=mqtt, switches=switches)
    with recorders.watching():
        status = anyio.run(at_work.run, duration_ns)
    if at_work.finish() or status:
        raise typer.Exit(status or NO)


def _libraries(config: Config, plugins: Iterable[type[EnginePlugin]]) -> Iterator[str]:
    """What the process pays for once: the heavy modules of all engines, those of variants too."""
    others = (variant.engine for model in config.models.values() for variant in model.variants)
    for plugin in (*plugins, *(find(engine) for engine in others if engine)):
        yield from plugin.LIBRARIES


def _duration_ns(text: str) -> int:
    try:
        return read_duration(text, from_file=True)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--duration") from error


def _with_broker(context: typer.Context, config: Config) -> Config:
    """Start a broker that ends with the command; returns the configuration with its address."""
    own = context.with_resource(OwnBroker(config.mqtt))
    _log.info("the broker of this run is %s", own)
    return config.model_copy(update={"mqtt": own.mqtt})


def _mqtt(config: Config) -> tuple[News, Credentials] | None:
    """What has to be there before the runtime, where the configuration names a broker."""
    if config.mqtt is None:
        return None
    if find_spec("aiomqtt") is None:
        raise ConfigError(["mqtt: needs the package aiomqtt; pip install 'rota[mqtt]'"])
    return News(), read_credentials(config.mqtt)


def _refuse_hopeless(config: Config) -> None:
    """A model that never fits would only ever be refused: say so instead of running."""
    fatal = _fatal(config)
    if fatal:
        complain("\n".join(fatal))
        raise typer.Exit(NO)


def _fatal(config: Config) -> list[str]:
    return [finding.text for finding in check(config, machine_totals()) if finding.fatal]


def _workable(path: Path) -> Config:
    """The configuration as it is now. Raises ConfigError when it is wrong or hopeless."""
    config = load_config(path)
    fatal = _fatal(config)
    if fatal:
        raise ConfigError(fatal)
    return config


def _log_to_console() -> None:
    """Coloured for a person, plain lines for a file or a journal."""
    console = Console(stderr=True)
    handler: logging.Handler = logging.StreamHandler()
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])


class AtWork:
    """One run, from the baseline to the summary."""

    def __init__(  # noqa: PLR0917 - one caller, just above
        self,
        path: Path,
        config: Config,
        clock: Clock,
        recorders: Recorders,
        sinks: list[Outlet],
        plugins: dict[str, type[EnginePlugin]],
        *,
        mqtt: tuple[News, Credentials] | None = None,
        switches: Switches = (),
    ) -> None:
        self._path = path
        self._config = config
        self._clock = clock
        self._recorders = recorders
        self._sinks = sinks
        self._mqtt = mqtt
        self._switches = switches
        self._story = Story(plugins)
        self._console = Console()
        self._status = 0
        for library in _libraries(config, plugins.values()):
            import_module(library)
        release_free_memory()
        gc.freeze()  # What is imported by now is not searched for garbage at every load and unload.
        sys.setswitchinterval(TURN_S)
        self._baseline = Baseline()
        self._started_ns = clock.now_ns()

    async def run(self, duration_ns: int | None) -> int:
        """Serve until the sources end, `duration_ns` has passed or a signal came.

        Returns the exit status: 0, or 128 + the signal's number.
        """
        observers = self._recorders.observers()
        if self._mqtt is not None:
            observers.append(self._mqtt[0])
        runtime = Runtime.from_config(self._config, observers=observers, clock=self._clock)
        async with runtime:
            feeds = build_sources(
                self._config.sources,
                infer=runtime.infer,
                lease=runtime.lease,
                clock=self._clock,
                listeners=[self._story.take, *(sink.take for sink in self._sinks)],
            )
            async with anyio.create_task_group() as beside:
                beside.start_soon(self._sampler(runtime).run)
                beside.start_soon(self._stop_on_signal, runtime, beside)
                beside.start_soon(self._reload_on_signal, runtime)
                beside.start_soon(self._dump_on_signal)
                beside.start_soon(
                    keep_switching, runtime, self._switches, self._clock, self._started_ns
                )
                if duration_ns is not None:
                    beside.start_soon(self._stop_after, duration_ns, feeds)
                if self._mqtt is not None:
                    beside.start_soon(self._transport(runtime, *self._mqtt).run)
                if self._console.is_terminal:
                    beside.start_soon(self._draw, runtime)
                await feeds.run()
                if not self._config.sources or self._config.mqtt is not None:
                    await self._clock.sleep_until(self._end_ns(duration_ns))
                beside.cancel_scope.cancel()
            self._attach(feeds)
        return self._status

    def _sampler(self, runtime: Runtime) -> MemorySampler:
        return MemorySampler(
            pool_probes(self._config.memory.by_pool()),
            runtime.take_sample,
            clock=self._clock,
            baseline=self._baseline,
            period_ns=self._config.memory.sample,
        )

    def _transport(self, runtime: Runtime, news: News, credentials: Credentials) -> MqttTransport:
        from scheduler.transport.mqtt import MqttTransport  # noqa: PLC0415 - an extra

        assert self._config.mqtt is not None  # noqa: S101 - who has credentials has a broker
        return MqttTransport(
            runtime,
            self._config.mqtt,
            node=self._config.node,
            news=news,
            flight=self._recorders.flight,
            credentials=credentials,
            clock=self._clock,
        )

    async def _dump_on_signal(self) -> None:
        wish = Wish(signal.SIGUSR1)
        while True:
            await wish.wait()
            self._recorders.dump()

    async def _reload_on_signal(self, runtime: Runtime) -> None:
        """Take over the file as it is now. A wrong one is named, and changes nothing."""
        reload = Wish(signal.SIGHUP)
        while True:
            await reload.wait()
            try:
                config = _workable(self._path)
                _log.info("%s: %s", self._path, await runtime.reconfigure(config))
            except (ConfigError, PluginError) as error:
                _log.error("%s\n%s stays as it was", error, self._path)

    async def _stop_on_signal(self, runtime: Runtime, beside: TaskGroup) -> None:
        self._status = SIGNAL_STATUS + await drain_on_signal(runtime)
        beside.cancel_scope.cancel()

    async def _stop_after(self, duration_ns: int, feeds: Feeds) -> None:
        await self._clock.sleep_until(self._end_ns(duration_ns))
        feeds.stop()

    def _end_ns(self, duration_ns: int | None) -> int:
        return NO_DEADLINE_NS if duration_ns is None else self._started_ns + duration_ns

    async def _draw(self, runtime: Runtime) -> None:
        """Show the live table until cancelled."""
        builder = self._recorders.builder
        period_ns = SECOND_NS // PICTURES_PER_SECOND
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                now_ns = self._clock.now_ns()
                report = builder.report(now_ns)
                live.update(
                    render_live(runtime.snapshot(), report, builder.last_latency_ms()),
                    refresh=True,
                )
                await self._clock.sleep_until(now_ns + period_ns)

    def _attach(self, feeds: Feeds) -> None:
        self._recorders.builder.attach_sources(
            {
                name: SourceReport(sent=stats.sent, dropped=stats.dropped)
                for name, stats in feeds.stats().items()
            }
        )

    def finish(self) -> list[str]:
        """Print what came of it and write the files. Returns what went wrong."""
        for sink in self._sinks:
            sink.close()
        report = self._recorders.builder.report()
        self._console.print(render_summary(report))
        self._console.print()
        self._console.print(self._story.render())
        problems = self._recorders.write(report)
        if problems:
            complain("\n".join(problems))
        return problems
