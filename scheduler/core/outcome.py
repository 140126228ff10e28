"""How a request can end, and why."""

from __future__ import annotations

from enum import Enum
from typing import Final

from scheduler.core.value import Value


class Outcome(str, Enum):
    """The one way in which a request ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    REJECTED = "rejected"
    DEADLINE_MISSED = "deadline_missed"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"


class ReasonCode(str, Enum):
    """Why something was refused, ended, evicted or has to wait. One word, one meaning."""

    # Refused for good: it can never work as things are declared.
    NEVER_FITS = "never_fits"
    NEVER_ENOUGH_UNITS = "never_enough_units"
    EXCLUDED_BY_PIN = "excluded_by_pin"
    UNKNOWN_MODEL = "unknown_model"
    UNKNOWN_LEASE = "unknown_lease"
    MODEL_PINNED = "model_pinned"
    UNKNOWN_MODE = "unknown_mode"
    # Refused now: the same request can work later.
    QUEUE_FULL = "queue_full"
    QUEUE_BYTES = "queue_bytes"
    SUPERSEDED = "superseded"
    BACKING_OFF = "backing_off"
    ENGINE_HUNG = "engine_hung"
    SHUTTING_DOWN = "shutting_down"
    MODEL_REMOVED = "model_removed"
    MODEL_DISABLED = "model_disabled"
    # The deadline.
    DEADLINE_PASSED = "deadline_passed"
    DEADLINE_UNREACHABLE = "deadline_unreachable"
    # The engine did not do it.
    LOAD_FAILED = "load_failed"
    LOAD_TIMEOUT = "load_timeout"
    RUN_FAILED = "run_failed"
    OUT_OF_MEMORY = "out_of_memory"
    RUN_TIMEOUT = "run_timeout"
    ENGINE_LOST = "engine_lost"
    # A lease was taken back.
    HIGHER_PRIORITY = "higher_priority"
    LEASE_EXPIRED = "lease_expired"
    LEASE_REVOKED = "lease_revoked"
    LEASE_RELEASED = "lease_released"
    # The caller went away.
    CALLER_CANCELLED = "caller_cancelled"
    # Why an engine is unloaded.
    MAKE_ROOM = "make_room"
    KEEP_ALIVE_OVER = "keep_alive_over"
    ASKED_TO_UNLOAD = "asked_to_unload"
    OVER_BUDGET = "over_budget"
    CHANGE_FORM = "change_form"
    # What a waiting request waits for.
    WAITS_FOR_ENGINE = "waits_for_engine"
    WAITS_FOR_LOAD = "waits_for_load"
    WAITS_FOR_UNLOAD = "waits_for_unload"
    WAITS_FOR_MEMORY = "waits_for_memory"
    WAITS_FOR_UNITS = "waits_for_units"
    WAITS_FOR_EXCLUSIVE = "waits_for_exclusive"
    WAITS_FOR_BATCH = "waits_for_batch"
    WAITS_FOR_TURN = "waits_for_turn"
    EXTERNAL_PRESSURE = "external_pressure"
    # What an alarm is about.
    UNDER_DECLARED = "under_declared"
    LEAK = "leak"
    BATCH_HALVED = "batch_halved"
    POOL_NEARLY_FULL = "pool_nearly_full"
    THRASHING = "thrashing"


COMPLETED: Final = Outcome.COMPLETED
MAKE_ROOM: Final = ReasonCode.MAKE_ROOM
WAITS_FOR_LOAD: Final = ReasonCode.WAITS_FOR_LOAD
WAITS_FOR_MEMORY: Final = ReasonCode.WAITS_FOR_MEMORY
WAITS_FOR_TURN: Final = ReasonCode.WAITS_FOR_TURN
WAITS_FOR_UNLOAD: Final = ReasonCode.WAITS_FOR_UNLOAD
"""Those that are used all the time, by names of their own; see `engine`."""


class Reason(Value, frozen=True):
    """A reason a person can act on: a code for programs, a sentence for people.

    `retry_after_ns` is set where trying again makes sense, and says after how long; `takes_ns`
    where a deadline cannot be met, and says how long the answer would have taken.
    """

    code: ReasonCode
    detail: str = ""
    retry_after_ns: int | None = None
    takes_ns: int | None = None

    def __str__(self) -> str:
        return self.detail or self.code.value
