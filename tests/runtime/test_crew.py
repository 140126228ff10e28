"""The threads of engines: each for one at a time, and for the next one after it."""

import threading
import time
import weakref

import pytest

from scheduler.runtime.crew import Crew

LIMIT_S = 10


def until(condition):
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def crew():
    made = Crew()
    yield made
    made.close()


class Work:
    """Notes its thread, and goes on when it is let go."""

    def __init__(self):
        self.thread = None
        self.goes_on = threading.Event()

    def __call__(self):
        self.thread, self.name = threading.current_thread(), threading.current_thread().name
        self.goes_on.wait(LIMIT_S)

    def begun(self):
        return self.thread is not None


def test_the_next_engine_gets_the_thread_of_the_one_before(crew):
    first, second = Work(), Work()
    crew.start(first, "first")
    until(first.begun)
    first.goes_on.set()
    until(lambda: crew._idle)
    crew.start(second, "second")
    until(second.begun)
    second.goes_on.set()
    assert second.thread is first.thread
    assert (first.name, second.name) == ("first", "second")


def test_two_engines_at_once_have_two_threads(crew):
    works = [Work(), Work()]
    for work in works:
        crew.start(work, "engine")
    until(lambda: all(work.begun() for work in works))
    for work in works:
        work.goes_on.set()
    assert works[0].thread is not works[1].thread


def test_closing_ends_the_idle_ones_and_the_others_when_they_are_done():
    crew, idle, busy = Crew(), Work(), Work()
    for work in (idle, busy):
        crew.start(work, "engine")
    until(lambda: idle.begun() and busy.begun())
    idle.goes_on.set()
    until(lambda: crew._idle)
    crew.close()
    idle.thread.join(LIMIT_S)
    assert not idle.thread.is_alive()
    assert busy.thread.is_alive()
    busy.goes_on.set()
    busy.thread.join(LIMIT_S)
    assert not busy.thread.is_alive()


def test_an_idle_thread_keeps_nothing_of_its_engine(crew):
    work = Work()
    work.goes_on.set()
    seen = weakref.ref(work)
    crew.start(work, "engine")
    until(lambda: crew._idle)
    del work
    until(lambda: seen() is None)
