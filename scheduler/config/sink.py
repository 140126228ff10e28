"""Where results go, as it is written."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainValidator, ValidationInfo

from scheduler.config.context import FileContext
from scheduler.config.name import Name
from scheduler.config.section import Section
from scheduler.config.units import quoted


class TargetKind(str, Enum):
    """Where a sink writes."""

    CONSOLE = "console"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Target:
    """A `to:` that has been read. `path` is the file of `jsonl`; its folder exists."""

    kind: TargetKind
    path: Path | None = None


def _read_target(value: object, info: ValidationInfo) -> Target:
    if isinstance(value, Target):
        return value
    if value == TargetKind.CONSOLE.value:
        return Target(TargetKind.CONSOLE)
    word, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if word != TargetKind.JSONL.value or not name or "\0" in name:
        raise ValueError(f"{quoted(value)} is no place for results; write console or jsonl:FILE")
    folder = info.context.folder if isinstance(info.context, FileContext) else Path.cwd()
    path = Path(folder, Path(name).expanduser()).absolute()
    if not path.parent.is_dir():
        raise ValueError(f"{quoted(value)}: there is no folder {path.parent}; make it first")
    return Target(TargetKind.JSONL, path)


def _all_is_every_model(value: Any) -> Any:
    return None if value == "all" else value


class SinkConfig(Section):
    """One sink: the models whose results it takes (None: `all`), and where to."""

    models: Annotated[tuple[Name, ...] | None, BeforeValidator(_all_is_every_model)] = None
    to: Annotated[Target, PlainValidator(_read_target)]
