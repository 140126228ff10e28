from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler.config import Config, load_config


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Config]:
    """Reads a configuration from its text."""

    def configure(text: str) -> Config:
        path = tmp_path / "robot.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path)

    return configure
