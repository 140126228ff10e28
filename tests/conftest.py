"""Options of the test run."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Golden text changes on purpose only."""
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write what the scenarios of tests/scenarios come to now into their files",
    )
