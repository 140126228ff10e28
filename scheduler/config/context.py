"""Where a value that is being validated was written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileContext:
    """Pydantic's validation context for what comes from a configuration file in `folder`.

    Its absence means that the value comes from a program, where plain numbers are bytes and seconds
    and relative paths start at the working folder.
    """

    folder: Path
