"""Compiles the core with mypyc where it is asked for: the same decisions in a third of the time.

    HATCH_BUILD_HOOK_ENABLE_CUSTOM=true pip install .

It takes a C compiler and a minute.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from mypyc.build import mypycify
from setuptools import Distribution

CORE = "scheduler/core"
VALUES = (
    "decisions",
    "events",
    "mode",
    "model",
    "outcome",
    "request",
    "settings",
    "snapshot",
    "value",
)
"""Modules that stay Python: compiled, their classes are no longer frozen or tagged."""
# The core alone is checked and compiled: what the rest of the package needs is not installed here.
MYPY = ["--config-file=", "--strict", "--ignore-missing-imports", "--follow-imports=silent"]


class CompiledCore(BuildHookInterface):  # type: ignore[type-arg]
    """Adds one extension for each module of the core, and the one that has the code of all."""

    _folder: TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless the sources are to be used where they are."""
        if version == "editable":
            return
        self._folder = TemporaryDirectory(prefix="rota-core-")
        built = Path(self._folder.name)
        _compile(Path(self.root), built)
        extensions = [path for path in built.rglob("*") if path.suffix in {".so", ".pyd"}]
        build_data["force_include"].update({str(p): str(p.relative_to(built)) for p in extensions})
        build_data.update(pure_python=False, infer_tag=True)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's
        """Let the compiled files go: they are in the wheel."""
        if self._folder is not None:
            self._folder.cleanup()


def _compile(root: Path, target: Path) -> None:
    modules = sorted(path for path in (root / CORE).glob("[!_]*.py") if path.stem not in VALUES)
    work = str(target / "work")
    paths = [str(path.relative_to(root)) for path in modules]
    distribution = Distribution(
        {"name": "rota-core", "ext_modules": mypycify([*MYPY, *paths], target_dir=work)}
    )
    build = distribution.get_command_obj("build_ext")
    build.build_lib, build.build_temp = str(target), work
    build.ensure_finalized()
    build.run()
