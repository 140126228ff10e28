"""Files that a configuration names: beside it, or inside an installed distribution."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Annotated

from pydantic import PlainValidator, ValidationInfo, WithJsonSchema

from scheduler.config.context import FileContext

_IN_DISTRIBUTION = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*):([^:].*)")


def locate(text: str, folder: Path | None = None) -> Path:
    """Find the file or folder that `text` names and return its absolute path.

    Args:
        text: a path, relative to `folder`, or `DISTRIBUTION:path/inside` for a file of an installed
            distribution (`silero-vad:silero_vad/data/model.onnx`). A file whose own name has a
            colon is written with a folder in front: `./a:b.onnx`.
        folder: where relative paths start; the working folder when None.

    Raises:
        ValueError: there is no such file, distribution, or file in the distribution.
    """
    if not text or "\0" in text:
        raise ValueError("a file name is empty or has a NUL in it; write a path")
    inside = _IN_DISTRIBUTION.fullmatch(text)
    if inside:
        return _locate_in_distribution(inside[1], inside[2])
    path = Path(folder or Path.cwd(), Path(text).expanduser()).absolute()
    if not _exists(path):
        raise ValueError(f'"{text}" does not exist; looked for {path}')
    return path


def _locate_in_distribution(name: str, inside: str) -> Path:
    try:
        found = distribution(name)
    except PackageNotFoundError:
        raise ValueError(
            f'"{name}:{inside}": no distribution "{name}" is installed; install it, '
            f'or write "./{name}:{inside}" if a file of that name is meant'
        ) from None
    path = Path(str(found.locate_file(inside))).absolute()
    if not _exists(path):
        raise ValueError(f'"{name}:{inside}": {name} {found.version} has no such file inside')
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long a name, a loop of links, no right to look
        return False


def _read_path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, (str, Path)):
        raise ValueError("is not a file name; write a path, or DISTRIBUTION:path/inside")  # noqa: TRY004 - pydantic gathers ValueErrors
    folder = info.context.folder if isinstance(info.context, FileContext) else None
    return locate(str(value), folder)


ResourcePath = Annotated[
    Path, PlainValidator(_read_path), WithJsonSchema({"type": "string", "format": "path"})
]
"""A file or folder that exists: a path relative to the configuration's folder (to the working
folder in a program), or `DISTRIBUTION:path/inside`. After validation an absolute `Path`.

A default is not validated by itself: declare it as
`model: ResourcePath = Field("silero-vad:silero_vad/data/x.onnx", validate_default=True)`.
"""
