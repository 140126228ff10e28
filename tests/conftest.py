"""Options of the test run."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

# How long an example takes says something of the machine, not of the code.
settings.register_profile("rota", deadline=None)
# Of a mutant it is enough to know that it fails; to find its shortest story takes minutes.
settings.register_profile(
    "mutants",
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
IS_MUTANT = "MUTANT_UNDER_TEST" in os.environ
settings.load_profile("mutants" if IS_MUTANT else "rota")
CPU_SECONDS = 40
"""No test of the core takes a third of that, slowed down as it is where mutants are tried."""


@pytest.fixture(autouse=IS_MUTANT)
def _bounded() -> Iterator[None]:
    """A mutant that goes round for ever is killed by its first test, not after a quarter hour."""
    signal.signal(signal.SIGVTALRM, _fail)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _fail(*_: object) -> None:
    pytest.fail(f"not done after {CPU_SECONDS} s of processor time")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest goes last where mutants are tried: most are killed before it."""
    if IS_MUTANT:
        items.sort(key=lambda item: "promises" in item.nodeid or "story" in item.nodeid)


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
