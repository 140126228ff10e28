"""The first line of a trace: which run this is, and the limits within which it was decided."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.core.settings import Settings

FORMAT = "rota-trace"
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a reader has to know before the first record.

    `started_at` is the wall clock in ISO 8601 with its offset; `started_ns` is the monotonic clock
    at the same moment, so that a record's `at_ns` can be turned into a time of day.
    """

    node: str
    started_at: str
    started_ns: int
    settings: Settings
    format: str = FORMAT
    version: int = VERSION
