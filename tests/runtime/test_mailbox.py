"""What threads tell an asyncio loop through a bell: all of it, in order, with one ring for many."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time

import pytest

from scheduler.runtime.loop import AsyncioLoop, running_loop
from scheduler.runtime.mailbox import Bell, Plain

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="eventfd is Linux's")
LIMIT_S = 10


async def until(is_so):
    end = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


def tell(bell, heard, numbers):
    for number in numbers:
        bell.post(heard.append, number)


def test_what_each_thread_says_is_heard_in_its_order():
    async def main():
        bell, heard = Bell(asyncio.get_running_loop()), []
        threads = [
            threading.Thread(target=tell, args=(bell, heard, range(first, 4000, 4)))
            for first in range(4)
        ]
        for thread in threads:
            thread.start()
        await until(lambda: len(heard) == 4000)
        bell.close()
        for first in range(4):
            said = [number for number in heard if number % 4 == first]
            assert said == list(range(first, 4000, 4))

    asyncio.run(main())


def test_what_comes_before_the_loop_has_looked_does_not_ring_again(monkeypatch):
    async def main():
        bell, heard, rings = Bell(asyncio.get_running_loop()), [], []
        ring = os.eventfd_write
        monkeypatch.setattr(os, "eventfd_write", lambda *args: (rings.append(1), ring(*args)))
        tell(bell, heard, range(5))
        await until(lambda: len(heard) == 5)
        assert len(rings) == 1
        tell(bell, heard, range(5))
        await until(lambda: len(heard) == 10)
        assert len(rings) == 2
        bell.close()

    asyncio.run(main())


def test_what_is_said_while_news_is_heard_waits_for_the_next_look():
    """Else who says something with each piece of news could keep the loop for himself."""

    async def main():
        loop = asyncio.get_running_loop()
        bell, heard = Bell(loop), []

        def say():
            heard.append("news")
            if heard.count("news") < 4:
                bell.post(say)
                loop.call_soon(heard.append, "others")

        bell.post(say)
        await until(lambda: len(heard) == 7)
        assert heard.index("others") < len(heard) - 1 - heard[::-1].index("news")
        bell.close()

    asyncio.run(main())


def test_news_that_fails_is_told_of_and_the_rest_is_heard():
    async def main():
        loop = asyncio.get_running_loop()
        bell, heard, told = Bell(loop), [], []
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        bell.post(heard.index, "not there")
        tell(bell, heard, range(3))
        await until(lambda: len(heard) == 3)
        assert [type(error) for error in told] == [ValueError]
        bell.close()

    asyncio.run(main())


def test_it_can_be_closed_by_what_is_heard():
    async def main():
        loop = asyncio.get_running_loop()
        bell, heard, told = Bell(loop), [], []
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        bell.post(bell.close)
        bell.post(heard.append, 1)
        await until(lambda: not bell._news)
        await asyncio.sleep(0.01)
        assert not heard
        assert not told

    asyncio.run(main())


def test_nothing_is_heard_after_the_end_and_the_file_stays_while_somebody_can_ring():
    async def main():
        bell, heard = Bell(asyncio.get_running_loop()), []
        bell.post(heard.append, 1)
        bell.close()
        bell.post(heard.append, 2)
        await asyncio.sleep(0.01)
        assert not heard
        assert not bell._news
        return bell

    bell = asyncio.run(main())
    number = bell._file
    bell.post(print, 1)
    os.fstat(number)
    del bell
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_a_loop_that_cannot_listen_to_files_hears_in_its_own_way(monkeypatch):
    def cannot(*_):
        raise NotImplementedError

    async def main():
        monkeypatch.setattr(asyncio.SelectorEventLoop, "add_reader", cannot)
        loop, heard = running_loop(), []
        assert type(loop) is AsyncioLoop
        box = loop.mailbox()
        assert type(box) is Plain
        box.post(heard.append, 1)
        await until(lambda: heard == [1])
        box.close()

    asyncio.run(main())
