"""For authors of engine plugins: a conformance check to run in their own tests."""

from scheduler.testing.conformance import check_engine
from scheduler.testing.failure import EngineCheckFailed

__all__ = ["EngineCheckFailed", "check_engine"]
