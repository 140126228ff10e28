"""What feeds models without a client, as it is written."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

from pydantic import Field, PlainValidator, Strict, StrictBool, ValidationInfo

from scheduler.config.context import FileContext
from scheduler.config.name import Name
from scheduler.config.priority import Priority
from scheduler.config.resource import locate
from scheduler.config.section import Count, Section
from scheduler.config.units import (
    Duration,
    Nanoseconds,
    PositiveDuration,
    PositiveDurationOrNone,
    Rate,
    quoted,
)
from scheduler.core.model import SECOND_NS
from scheduler.core.request import NO_DEADLINE_NS

DEFAULT_OUTSTANDING = 4
"""As many frames of one source may wait for their answers."""


class Arrivals(str, Enum):
    """How the frames of a source are spread over time."""

    PERIODIC = "periodic"
    """One each period, moved by up to `jitter` either way."""
    POISSON = "poisson"
    """Independent of each other: exponential gaps whose mean is the period."""
    BURST = "burst"
    """Several at once, then nothing for as many periods: the mean rate stays."""


class OriginKind(str, Enum):
    """Where the frames of a source come from."""

    SYNTHETIC = "synthetic"
    VIDEO = "video"
    IMAGES = "images"
    WAV = "wav"
    MICROPHONE = "microphone"
    LIDAR = "lidar"
    UTTERANCES = "utterances"


RECORDED = {OriginKind.VIDEO, OriginKind.IMAGES, OriginKind.WAV, OriginKind.LIDAR}
"""The kinds that read a file or a folder."""

FORMS = (
    "synthetic, video:FILE, images:FOLDER, wav:FILE, microphone, microphone:NAME, "
    "lidar:FILE.npz, utterances:SOURCE"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """A `from:` that has been read.

    `path` is set for recorded kinds, `device` for a microphone with a name, `source` for
    utterances: the source that they are cut from.
    """

    kind: OriginKind
    path: Path | None = None
    device: str | None = None
    source: str | None = None


def _read_origin(value: object, info: ValidationInfo) -> Origin:
    if isinstance(value, Origin):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{quoted(value)} is no origin; write one of {FORMS}")  # noqa: TRY004 - pydantic gathers ValueErrors
    word, colon, rest = value.partition(":")
    if word not in set(OriginKind) or (colon and not rest):
        raise ValueError(f"{quoted(value)} is no origin; write one of {FORMS}")
    folder = info.context.folder if isinstance(info.context, FileContext) else None
    return _origin(OriginKind(word), rest, value, folder)


def _origin(kind: OriginKind, rest: str, value: str, folder: Path | None) -> Origin:
    if kind is OriginKind.MICROPHONE:
        return Origin(kind, device=rest or None)
    if kind is OriginKind.SYNTHETIC:
        if rest:
            raise ValueError(f"{quoted(value)}: synthetic takes nothing after it")
        return Origin(kind)
    if not rest:
        what = "SOURCE" if kind is OriginKind.UTTERANCES else "FILE"
        raise ValueError(f"{quoted(value)} names nothing; write {kind.value}:{what}")
    if kind is OriginKind.UTTERANCES:
        return Origin(kind, source=rest)
    path = locate(rest, folder)
    if path.is_dir() and kind is not OriginKind.IMAGES:
        raise ValueError(f"{quoted(value)} is a folder; name a file")
    return Origin(kind, path=path)


class SourceLease(Section):
    """The lease that a source holds on its model while it produces."""

    priority: Priority | None = None
    ttl: PositiveDuration = Nanoseconds(2 * SECOND_NS)


class Cycle(Section):
    """A source that is there for a while, then away for a while, again and again."""

    active: PositiveDuration
    idle: PositiveDuration


class SourceConfig(Section):
    """One source: what it reads, which model it feeds, when.

    `rate` is in hertz, durations are nanoseconds. Of `deadline`, unset means the model's own and
    None (`none`) means no deadline: `model_fields_set` tells them apart.
    """

    model: Name
    from_: Annotated[Origin, PlainValidator(_read_origin)] = Field(alias="from")
    rate: Rate | None = None
    jitter: Duration = Nanoseconds(0)
    arrivals: Arrivals = Arrivals.PERIODIC
    size: Count | None = None
    seed: Annotated[int, Strict(), Field(ge=0, lt=2**63)] = 0
    cycle: Cycle | None = None
    loop: StrictBool = False
    realtime: StrictBool = True
    deadline: PositiveDurationOrNone = None
    priority: Priority | None = None
    lease: SourceLease | None = None
    outstanding: Count = DEFAULT_OUTSTANDING

    def deadline_ns(self) -> int | None:
        """Return the deadline of its frames, from when each is due.

        None leaves it to the model; an explicit `none` overrides the model's.
        """
        if self.deadline is None and "deadline" in self.model_fields_set:
            return NO_DEADLINE_NS
        return self.deadline
