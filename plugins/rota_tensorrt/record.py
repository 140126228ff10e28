"""What the builder knows of a plan, in a file beside it, so that no GPU is needed to read it."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scheduler.errors import EngineError

if TYPE_CHECKING:
    from rota_tensorrt.logger import Lines

_FIGURE: Final = re.compile(r"Total (Activation|Weights|Device Persistent) Memory: (\d+)")
"""As the builder says at the end of each build, with or without the word `bytes`."""


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """The bytes of a plan, where it comes from, and what its inputs are built for."""

    model_sha256: str
    library: str
    version: str
    gpu: str
    precision: str
    plan_bytes: int
    weights_bytes: int
    activation_bytes: int
    persistent_bytes: int
    staging_bytes: int
    shapes: Mapping[str, Sequence[Sequence[int]]]

    def footprint(self, *, held: bool = True, unified: bool = True) -> dict[str, int]:
        """Return what an engine of it needs, by the keys of `footprint:`.

        The working memory is resident when it is `held`, and else on top of each run. Inputs and
        outputs have a block on the device and one in pinned memory, which is the same memory where
        it is `unified`. While it is loaded, the file's own bytes may be in memory too.
        """
        staged = self.staging_bytes * (2 if unified else 1)
        kept = self.weights_bytes + self.persistent_bytes + staged
        resident = kept + (self.activation_bytes if held else 0)
        return {
            "resident": resident,
            "load_peak": resident + self.plan_bytes,
            "workspace": 0 if held else self.activation_bytes,
        }

    def write(self, plan: Path) -> None:
        """Write it beside the plan."""
        text = json.dumps(asdict(self), indent=2)
        write_whole(record_path(plan), text.encode())


def record_path(plan: Path) -> Path:
    """Return the file of a plan's record."""
    return plan.with_name(f"{plan.name}.json")


def read_record(plan: Path) -> PlanRecord:
    """Read the record of a plan.

    Raises:
        EngineError: there is none, or it is not of this plan.
    """
    path = record_path(plan)
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        record = PlanRecord(**content)
        whole = plan.stat().st_size
    except (OSError, ValueError, TypeError) as error:
        raise EngineError(f"{path}: it is no record of a plan; build it again: {error}") from error
    if whole != record.plan_bytes:
        raise EngineError(f"{path}: it is the record of another plan; build {plan.name} again")
    return record


def figures(lines: Lines) -> dict[str, int]:
    """Return what the builder said of memory: bytes by `activation`, `weights`, `persistent`.

    Raises:
        EngineError: it said nothing of activation memory.
    """
    found = {}
    for line in lines.figures:
        match = _FIGURE.match(line)
        if match:
            found[match[1].split()[-1].lower()] = int(match[2])
    if "activation" not in found:
        raise EngineError("the builder did not say how much activation memory the plan needs")
    return found


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
