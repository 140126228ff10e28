"""Options of the test run."""

from __future__ import annotations

import gc

import pytest
from hypothesis import settings

# How long an example takes says something of the machine, not of the code.
settings.register_profile("rota", deadline=None)
settings.load_profile("rota")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Golden text changes on purpose only."""
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write what the scenarios of tests/scenarios come to now into their files",
    )


def pytest_collection_finish() -> None:
    """What all imports have made stays: engines collect garbage as they come and go."""
    gc.collect()
    gc.freeze()
