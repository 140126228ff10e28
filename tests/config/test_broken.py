"""Each file in broken/ is wrong in one way; its last lines say what must be told about it.

An expectation that ends in `...` is the beginning of a line. FOLDER stands for the file's folder.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler.config import load_config
from scheduler.errors import ConfigError

FOLDER = Path(__file__).with_name("broken")
FILES = sorted(FOLDER.glob("*.yaml"))
MARK = "# expect: "


def expected(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]


def test_there_are_many_kinds():
    assert len(FILES) >= 24


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_mistake_is_told_with_its_line(path):
    with pytest.raises(ConfigError) as caught:
        load_config(path)

    told = [
        line.removeprefix(f"{path}:").replace(str(FOLDER), "FOLDER")
        for line in caught.value.mistakes
    ]
    wanted = expected(path)
    for index, line in enumerate(wanted):
        if line.endswith(" ...") and told[index].startswith(line.removesuffix("...")):
            wanted[index] = told[index]
    assert told == wanted
    assert str(caught.value) == "\n".join(caught.value.mistakes)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_mistake_is_one_line(path):
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert all(len(line.splitlines()) == 1 for line in caught.value.mistakes)
