"""What `Scheduler.handle` costs where the core is compiled: the goals of `test_handle`."""

from __future__ import annotations

from pathlib import Path

import pytest
from compiled_core import Compiled
from goal import CONSOLE

HERE = Path(__file__).parent


def test_the_compiled_core(tmp_path: Path) -> None:
    words = ("-q", "-s", "-o", "addopts=", "-o", "testpaths=", "--import-mode=importlib")
    done = Compiled(tmp_path).run("pytest", *words, HERE / "test_handle.py")
    lines = dict.fromkeys(done.stdout.splitlines())
    judged = [line for line in lines if line.startswith(("PASS  ", "FAIL  "))]
    for line in judged:
        CONSOLE.print(f"\n{line[:4]}  compiled, {line[6:]}")
    assert len(judged) >= 4, done.stdout
    if done.returncode:
        pytest.fail("a goal is missed", pytrace=False)
