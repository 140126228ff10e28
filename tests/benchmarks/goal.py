"""What the project promises, and whether the figures keep it."""

from __future__ import annotations

import pytest
from rich.console import Console

CONSOLE = Console(width=110, highlight=False, markup=False, soft_wrap=True)


def judge(goal: str, found: str, *, is_met: bool) -> None:
    """Print one goal with what was found. A goal that is missed fails the test that asks."""
    line = f"{'PASS' if is_met else 'FAIL'}  {goal}: {found}"
    CONSOLE.print(f"\n{line}")
    if not is_met:
        pytest.fail(line, pytrace=False)
