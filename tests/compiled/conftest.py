"""Rota with its core compiled, beside the one that is tested elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]


class Compiled:
    """Runs programs of this environment with the compiled core in the place of the sources."""

    def __init__(self, folder):
        self.folder = folder

    def run(self, name, *words):
        """Run a command of this environment, `rota` or `pytest`."""
        return subprocess.run(
            [Path(sys.executable).with_name(name), *map(str, words)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT],
        env={**os.environ, "HATCH_BUILD_HOOK_ENABLE_CUSTOM": "true"},
        check=True,
        timeout=600,
    )
    (wheel,) = folder.glob("*.whl")
    ZipFile(wheel).extractall(folder / "rota")
    return Compiled(folder / "rota")
