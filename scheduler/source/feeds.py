"""All the sources of a configuration, running."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import anyio

from scheduler.config.source import Origin, OriginKind, SourceConfig
from scheduler.errors import ConfigError
from scheduler.runtime.clock import Clock
from scheduler.source.arrivals import schedule_of
from scheduler.source.feeder import Feeder, FeederStats, Infer, Listener
from scheduler.source.lidar import lidar_frames
from scheduler.source.microphone import Microphone
from scheduler.source.recording import Recording
from scheduler.source.resample import after_gap
from scheduler.source.source import Source
from scheduler.source.synthetic import SyntheticSource
from scheduler.source.tenure import TakeLease, Tenure
from scheduler.source.utterances import UtteranceSource
from scheduler.source.video import image_frames, video_frames
from scheduler.source.wav import wav_frames

_PLAYERS = {
    OriginKind.VIDEO: video_frames,
    OriginKind.IMAGES: image_frames,
    OriginKind.WAV: wav_frames,
    OriginKind.LIDAR: lidar_frames,
}


class Feeds:
    """The feeders by the name of their source, and the leases that some of them hold."""

    def __init__(self, feeders: Mapping[str, Feeder], tenures: Mapping[str, Tenure]) -> None:
        self.feeders = dict(feeders)
        self._tenures = dict(tenures)

    async def run(self) -> None:
        """Feed until every source has ended, or `stop` was called, and all has been answered."""
        async with anyio.create_task_group() as running:
            for name, feeder in self.feeders.items():
                running.start_soon(self._run_one, feeder, self._tenures.get(name))

    def stop(self) -> None:
        """Send no more; `run` then returns when what was sent has been answered."""
        for feeder in self.feeders.values():
            feeder.stop()

    def stats(self) -> dict[str, FeederStats]:
        """The counts until now, by source."""
        return {name: feeder.stats for name, feeder in self.feeders.items()}

    @staticmethod
    async def _run_one(feeder: Feeder, tenure: Tenure | None) -> None:
        async with anyio.create_task_group() as beside:
            if tenure is not None:
                beside.start_soon(tenure.hold)
            await feeder.run()
            beside.cancel_scope.cancel()


def build_sources(
    sources: Mapping[str, SourceConfig],
    *,
    infer: Infer,
    lease: TakeLease,
    clock: Clock,
    listeners: Iterable[Listener] = (),
) -> Feeds:
    """Make a feeder for each source, each telling `listeners` what became of its frames.

    `infer` and `lease` are the runtime's methods of these names. Files are opened when the first
    frame is asked for.

    Raises:
        ConfigError: utterances are to be cut from a source that is not of audio.
    """
    mistakes = [mistake for name in sources for mistake in _mistakes(name, sources)]
    if mistakes:
        raise ConfigError(mistakes)
    tenures = {
        name: Tenure(
            lease,
            config.model,
            priority=config.priority if config.lease.priority is None else config.lease.priority,
            ttl_ns=config.lease.ttl,
            clock=clock,
        )
        for name, config in sources.items()
        if config.lease is not None
    }
    feeders = {
        name: _feeder(name, config, tenures[name].infer if name in tenures else infer, clock)
        for name, config in sources.items()
    }
    _connect(feeders, sources)
    for feeder in feeders.values():
        feeder.listeners.extend(listeners)
    return Feeds(feeders, tenures)


def _mistakes(name: str, sources: Mapping[str, SourceConfig]) -> list[str]:
    origin = sources[name].from_
    if origin.kind is OriginKind.UTTERANCES:
        heard = sources.get(origin.source or "")
        if heard is None or heard.from_.kind not in _AUDIO:
            audio = [other for other in sources if sources[other].from_.kind in _AUDIO]
            named = f'sources.{name}.from: "{origin.source}" is no source of audio'
            return [f"{named}; name one of: {', '.join(audio) or '(there is none)'}"]
    return []


_AUDIO = {OriginKind.WAV, OriginKind.MICROPHONE}


def _feeder(name: str, config: SourceConfig, infer: Infer, clock: Clock) -> Feeder:
    return Feeder(
        name,
        config.model,
        open_source(name, config.from_, loop=config.loop),
        infer=infer,
        clock=clock,
        schedule=schedule_of(config, config.seed),
        paced=config.rate is not None or config.realtime,
        deadline_ns=config.deadline_ns(),
        priority=config.priority,
        outstanding=config.outstanding,
    )


def open_source(name: str, origin: Origin, *, loop: bool) -> Source:
    """Return the source that plays `origin`; what it plays is opened with the first frame."""
    if origin.path is not None:
        return Recording(
            partial(_PLAYERS[origin.kind], origin.path),
            name=f"{name} ({origin.path})",
            loop=loop,
            marked=after_gap if origin.kind is OriginKind.WAV else None,
        )
    if origin.kind is OriginKind.MICROPHONE:
        return Microphone(origin.device)
    if origin.kind is OriginKind.UTTERANCES:
        return UtteranceSource()
    return SyntheticSource()


def _connect(feeders: Mapping[str, Feeder], sources: Mapping[str, SourceConfig]) -> None:
    """Let each source of utterances hear the answers of the source that it is cut from."""
    for name, feeder in feeders.items():
        heard = sources[name].from_.source
        if heard is not None and isinstance(feeder.source, UtteranceSource):
            feeders[heard].listeners.append(feeder.source.hear)
            feeders[heard].at_end.append(feeder.source.finish)
