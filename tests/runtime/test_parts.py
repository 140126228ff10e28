"""The small parts: measuring, failures, payloads, seconds, loops."""

from __future__ import annotations

import asyncio
import math
import threading

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.events import Measurement
from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.core.request import NO_DEADLINE_NS
from scheduler.errors import (
    DeadlineMissed,
    EngineError,
    InferenceFailed,
    LeaseRevoked,
    NeverFits,
    QueueFull,
    Rejected,
    ShuttingDown,
    UnknownModel,
)
from scheduler.runtime.call import error_of
from scheduler.runtime.failure import Failure, describe
from scheduler.runtime.loop import AsyncioLoop, TrioLoop, running_loop
from scheduler.runtime.measuring import MIB, Activity, Meter
from scheduler.runtime.payload import PARTS_MAX, payload_bytes
from scheduler.runtime.seconds import deadline_at_ns, span_ns

# -- measuring ---------------------------------------------------------------------------------


def metered(*readings_mib):
    readings = iter(int(mib * MIB) for mib in readings_mib)
    return Meter(readings.__next__)


def test_what_a_load_added_is_held_in_whole_mebibytes():
    activity = Activity(metered(100, 300.9), "unified")
    with activity:
        window = activity.open()
        assert activity.held(window) == {"unified": Measurement(200 * MIB)}


def test_a_process_cannot_tell_of_a_device():
    activity = Activity(metered(100, 300), "cuda:0")
    with activity:
        assert activity.held(activity.open()) == {}


def test_a_negative_difference_is_unreliable():
    activity = Activity(metered(300, 280), "host")
    with activity:
        assert not activity.held(activity.open())["host"].reliable


@pytest.mark.parametrize("when", ["before", "during", "after", "own"])
def test_a_figure_is_reliable_when_nobody_else_was_at_work(when):
    meter = metered(0, 5)
    one, other = Activity(meter, "unified"), Activity(meter, "unified")
    if when == "before":
        other.__enter__()
    with one:
        window = one.open()
        if when == "during":
            with other:
                pass
        if when == "own":
            with one:
                pass
        measured = one.held(window)
    if when == "after":
        with other:
            pass
    assert measured["unified"].reliable is (when in {"after", "own"})


def test_a_little_left_behind_is_nothing():
    activity = Activity(metered(100, 107.9, 100, 108), "unified")
    with activity:
        assert activity.left(activity.open()) == {"unified": Measurement(0)}
        assert activity.left(activity.open()) == {"unified": Measurement(8 * MIB)}


# -- failures ----------------------------------------------------------------------------------


class Unprintable(Exception):  # noqa: N818
    def __str__(self):
        raise ValueError("not even this")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (EngineError("the plan is\n  for another GPU"), "the plan is for another GPU"),
        (EngineError(), "EngineError"),
        (KeyError("x"), "KeyError: 'x'"),
        (Unprintable(), "Unprintable"),
    ],
)
def test_a_failure_is_one_line(error, text):
    assert describe(error) == text


def test_a_failure_has_no_frames_however_it_is_chained():
    def deep():
        try:
            try:
                {}[1]
            except KeyError as error:
                raise ValueError(2) from error
        except ValueError:
            raise MemoryError(3) from None

    with pytest.raises(MemoryError) as caught:
        deep()
    error = caught.value
    error.__cause__ = error  # a ring must not be walked for ever
    failure = Failure.of(error)
    assert failure.out_of_memory
    assert error.__traceback__ is None
    assert error.__context__.__traceback__ is None
    assert error.__context__.__cause__.__traceback__ is None


@pytest.mark.parametrize(
    ("outcome", "code", "kind"),
    [
        (Outcome.REJECTED, ReasonCode.NEVER_FITS, NeverFits),
        (Outcome.REJECTED, ReasonCode.QUEUE_BYTES, QueueFull),
        (Outcome.REJECTED, ReasonCode.UNKNOWN_MODEL, UnknownModel),
        (Outcome.REJECTED, ReasonCode.SHUTTING_DOWN, ShuttingDown),
        (Outcome.REJECTED, ReasonCode.LEASE_EXPIRED, LeaseRevoked),
        (Outcome.REJECTED, ReasonCode.SUPERSEDED, Rejected),
        (Outcome.FAILED, ReasonCode.SHUTTING_DOWN, ShuttingDown),
        (Outcome.FAILED, ReasonCode.RUN_FAILED, InferenceFailed),
        (Outcome.DEADLINE_MISSED, ReasonCode.DEADLINE_UNREACHABLE, DeadlineMissed),
        (Outcome.PREEMPTED, ReasonCode.SHUTTING_DOWN, LeaseRevoked),
        (Outcome.CANCELLED, ReasonCode.CALLER_CANCELLED, LeaseRevoked),
    ],
)
def test_each_outcome_has_its_error(outcome, code, kind):
    reason = Reason(code, "because")
    error = error_of(outcome, reason)
    assert type(error) is kind
    assert (error.reason, str(error)) == (reason, "because")


# -- payloads and seconds ----------------------------------------------------------------------


def test_the_bytes_of_a_payload_are_counted_inside_containers():
    array = np.zeros((2, 3), np.float32)
    assert payload_bytes(array) == 24
    assert payload_bytes(memoryview(b"abc")) == 3
    assert (
        payload_bytes({"a": [array, b"12"], "b": (bytearray(5), {"c": array}), "d": "text"}) == 55
    )
    assert payload_bytes(None) == payload_bytes(object()) == payload_bytes([1, 2.0]) == 0
    ring = []
    ring.append(ring)
    assert payload_bytes(ring) == 0
    assert payload_bytes([b"1"] * 10 * PARTS_MAX) <= PARTS_MAX


@given(st.one_of(st.none(), st.floats(), st.integers(), st.booleans(), st.text()))
def test_any_deadline_is_a_moment_or_a_value_error(value):
    try:
        moment = deadline_at_ns(value, 10)
    except ValueError as error:
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        assert not (good and value >= 0), error  # noqa: PT017 - either end is right for some value
    else:
        assert moment is None if value is None else 10 <= moment <= NO_DEADLINE_NS


def test_seconds_become_nanoseconds():
    assert span_ns(1.5, "ttl") == 1_500_000_000
    assert span_ns(np.float32(0.5), "ttl") == 500_000_000
    assert span_ns(math.inf, "ttl") is None


# -- loops -------------------------------------------------------------------------------------


async def test_a_thread_posts_to_the_running_loop(anyio_backend):
    loop = running_loop()
    assert type(loop) is {"asyncio": AsyncioLoop, "trio": TrioLoop}[anyio_backend]
    waiter, heard = loop.waiter(), []

    def hear(what):
        heard.append((what, threading.get_ident()))
        assert not waiter.done()
        waiter.set_result(None)
        assert waiter.done()

    thread = threading.Thread(target=loop.post, args=(hear, "news"))
    thread.start()
    with anyio.fail_after(10):
        await waiter
    thread.join()
    assert heard == [("news", threading.get_ident())]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_post_after_the_loop_has_gone_is_dropped(backend):
    heard = []

    async def main():
        return running_loop()

    loop = anyio.run(main, backend=backend)
    loop.post(heard.append, 1)
    assert not heard


def test_there_is_no_loop_outside_a_loop():
    with pytest.raises(RuntimeError):
        running_loop()
    assert asyncio.new_event_loop().close() is None
