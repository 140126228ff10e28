"""All the sinks of a configuration."""

from __future__ import annotations

from collections.abc import Mapping

from scheduler.config.sink import SinkConfig, Target, TargetKind
from scheduler.errors import ConfigError
from scheduler.sink.console import ConsoleSink
from scheduler.sink.jsonl import JsonlSink
from scheduler.sink.sink import Outlet, Sink


def build_sinks(sinks: Mapping[str, SinkConfig]) -> list[Outlet]:
    """Open every sink: its `take` is a listener for the sources; `close` each at the end.

    Raises:
        ConfigError: a file cannot be written, or two sinks write the same one.
    """
    mistakes: list[str] = []
    outlets: list[Outlet] = []
    taken: dict[Target, str] = {}
    for name, config in sinks.items():
        if config.to.kind is TargetKind.JSONL and config.to in taken:
            mistakes.append(f"sinks.{name}.to: sink {taken[config.to]} writes {config.to.path} too")
            continue
        taken[config.to] = name
        try:
            outlets.append(Outlet(name, _sink(config.to), config.models))
        except OSError as error:
            mistakes.append(f"sinks.{name}.to: {error}; name a file that can be written")
    if mistakes:
        for outlet in outlets:
            outlet.close()
        raise ConfigError(mistakes)
    return outlets


def _sink(target: Target) -> Sink:
    return ConsoleSink() if target.path is None else JsonlSink(target.path)
