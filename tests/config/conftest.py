"""What the tests of the configuration share: engines to name, and a way to load a text."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from scheduler.config import load_config
from scheduler.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.config import Config

ENGINES = Path(__file__).with_name("engines")


@pytest.fixture(autouse=True)
def _engines_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ENGINES))


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Config]:
    """Load a configuration from a text."""

    def load_text(text: str) -> Config:
        path = tmp_path / "rover.yaml"
        path.write_text(dedent(text), encoding="utf-8")
        return load_config(path)

    return load_text


@pytest.fixture
def mistakes(load: Callable[[str], Config], tmp_path: Path) -> Callable[[str], list[str]]:
    """Load a wrong configuration from a text and return its mistakes without the folder."""

    def mistakes_of(text: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text)
        return [line.removeprefix(f"{tmp_path}/") for line in caught.value.mistakes]

    return mistakes_of
