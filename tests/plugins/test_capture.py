"""CUDA graphs are not captured while another engine waits for the device."""

import threading
import time

import pytest

from scheduler.plugin.capture import CaptureGate

LIMIT_S = 10


@pytest.fixture
def gate():
    return CaptureGate()


def wait_in_thread(gate, inside):
    def wait():
        with gate.wait_for_device():
            inside.set()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_capture_is_refused_while_somebody_waits_for_the_device(gate):
    with gate.wait_for_device(), gate.wait_for_device(), gate.try_capture() as may:
        assert not may
    with gate.try_capture() as may:
        assert may


def test_a_second_capture_is_refused_and_does_not_end_the_first(gate):
    with gate.try_capture() as first:
        with gate.try_capture() as second:
            assert (first, second) == (True, False)
        with gate.try_capture() as third:
            assert not third


def test_who_waits_for_the_device_lets_a_capture_end_and_holds_off_the_next(gate):
    inside = threading.Event()
    with gate.try_capture() as may:
        assert may
        thread = wait_in_thread(gate, inside)
        end = time.monotonic() + LIMIT_S
        while not gate._waiting:
            assert time.monotonic() < end
            time.sleep(0.001)
        assert not inside.wait(0.05)
    assert inside.wait(LIMIT_S)
    thread.join(LIMIT_S)


def test_what_fails_inside_leaves_the_gate_open(gate):
    with pytest.raises(ValueError, match="x"), gate.try_capture():
        raise ValueError("x")
    with pytest.raises(ValueError, match="y"), gate.wait_for_device():
        raise ValueError("y")
    with gate.try_capture() as may:
        assert may
