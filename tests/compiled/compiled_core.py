"""Rota with its core compiled, beside the one that is tested elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[2]


class Compiled:
    """Rota with its core compiled, in a folder of its own; takes a minute to make."""

    def __init__(self, folder):
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
        subprocess.run(
            [*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT],
            env={**os.environ, "HATCH_BUILD_HOOK_ENABLE_CUSTOM": "true"},
            check=True,
            timeout=600,
        )
        (wheel,) = folder.glob("*.whl")
        self.folder = folder / "rota"
        ZipFile(wheel).extractall(self.folder)

    def run(self, name, *words):
        """Run a command of this environment, `rota` or `pytest`, with the compiled core."""
        return subprocess.run(
            [Path(sys.executable).with_name(name), *map(str, words)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
