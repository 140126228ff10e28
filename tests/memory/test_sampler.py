import logging
import threading

import anyio
import pytest

from scheduler.core.events import MemorySampled
from scheduler.memory.probe import PoolSample
from scheduler.memory.process import Baseline
from scheduler.memory.sampler import MemorySampler
from scheduler.runtime.clock import ManualClock

MS = 1_000_000
PERIOD = 50 * MS


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


class Probe:
    def __init__(self, clock, *, pool="cuda:0", takes_ns=0):
        self.clock, self.pool, self.takes_ns = clock, pool, takes_ns
        self.available = 100
        self.used = None
        self.name = f"the probe of {pool}"
        self.period_ns = 0
        self.threads = []
        self.open = threading.Event()
        self.open.set()
        self.broken = False

    def sample(self):
        self.threads.append(threading.get_ident())
        self.open.wait(10)
        if self.broken:
            raise OSError("no such file")
        self.clock.advance_in_probe(self.takes_ns)
        return (
            PoolSample(
                pool=self.pool,
                total_bytes=1000,
                available_bytes=self.available,
                source="fake",
                used_bytes=self.used,
                period_ns=self.period_ns,
                taken_at_ns=self.clock.now_ns(),
            ),
        )


class ProbeClock(ManualClock):
    """A manual clock that a slow probe can move without waking anybody."""

    def advance_in_probe(self, by_ns):
        self._now_ns += by_ns


class Bench:
    def __init__(self, *probes_of):
        self.clock = ProbeClock()
        self.events = []
        self.probes = [make(self.clock) for make in probes_of]
        self.sampler = MemorySampler(
            self.probes,
            self.events.append,
            clock=self.clock,
            baseline=Baseline(0),
            period_ns=PERIOD,
        )

    async def settle(self, until=lambda: True):
        """Let tasks and threads run until `until` holds and the sampler sleeps again."""
        with anyio.fail_after(10):
            while not (until() and self.clock.next_sleeper_ns is not None):  # noqa: ASYNC110
                await anyio.sleep(0.001)

    async def tick(self):
        before = len(self.events)
        self.clock.advance(self.clock.next_sleeper_ns - self.clock.now_ns())
        await self.settle(lambda: len(self.events) > before)

    async def start(self, group):
        """Run, and wait for the first answer, which always comes out of a thread."""
        group.start_soon(self.sampler.run)
        await self.settle(lambda: all(w.samples and not w._asking for w in self.sampler._watches))


async def test_one_event_per_pool_and_period():
    bench = Bench(Probe, lambda clock: Probe(clock, pool="unified"))
    async with anyio.create_task_group() as group:
        await bench.start(group)
        bench.events.clear()
        await bench.tick()
        assert [event.pool for event in bench.events] == ["cuda:0", "unified"]
        assert bench.events[0] == MemorySampled("cuda:0", 100, None, 1000, "fake")
        assert bench.events[1].available_bytes == 100
        assert bench.events[1].used_bytes > 1_000_000
        group.cancel_scope.cancel()


async def test_a_quick_probe_is_asked_in_the_loop():
    bench = Bench(Probe)
    async with anyio.create_task_group() as group:
        await bench.start(group)
        await bench.tick()
        await bench.tick()
        first, *later = bench.probes[0].threads
        assert first != threading.get_ident()
        assert set(later) == {threading.get_ident()}
        group.cancel_scope.cancel()


async def test_a_slow_probe_is_asked_in_a_thread():
    bench = Bench(lambda clock: Probe(clock, takes_ns=2 * MS))
    async with anyio.create_task_group() as group:
        await bench.start(group)
        for _ in range(3):
            await bench.tick()
            await bench.settle(lambda: not bench.sampler._watches[0]._asking)
        assert len(bench.probes[0].threads) == 4
        assert threading.get_ident() not in bench.probes[0].threads
        group.cancel_scope.cancel()


async def test_a_hung_probe_makes_its_pool_unknown_after_three_periods():
    bench = Bench(lambda clock: Probe(clock, takes_ns=2 * MS))
    probe = bench.probes[0]
    async with anyio.create_task_group() as group:
        await bench.start(group)
        await bench.settle(lambda: not bench.sampler._watches[0]._asking)
        probe.open.clear()
        seen = []
        for _ in range(6):
            await bench.tick()
            seen.append(bench.events[-1].available_bytes)
        assert seen == [100, 100, 100, None, None, None]
        assert len(probe.threads) == 2  # asked once more, and not again while it hangs
        probe.available = 70
        probe.open.set()
        await bench.settle(lambda: not bench.sampler._watches[0]._asking)
        await bench.tick()
        assert bench.events[-1].available_bytes == 70
        group.cancel_scope.cancel()


async def test_a_probe_that_raises_is_unknown_and_named_once(caplog):
    bench = Bench(Probe, lambda clock: Probe(clock, pool="cuda:1"))
    async with anyio.create_task_group() as group:
        await bench.start(group)
        bench.probes[0].broken = True
        for _ in range(5):
            await bench.tick()
        latest = {event.pool: event.available_bytes for event in bench.events}
        assert latest == {"cuda:0": None, "cuda:1": 100}
        assert (
            caplog.text.count("memory of cuda:0: the probe of cuda:0 is lost (no such file)") == 1
        )
        bench.probes[0].broken = False
        with caplog.at_level(logging.INFO):
            await bench.tick()
            await bench.tick()
        assert caplog.text.count("memory of cuda:0: by the probe of cuda:0") == 1
        assert bench.events[-2].available_bytes == 100
        group.cancel_scope.cancel()


async def test_time_does_not_drift():
    bench = Bench(Probe)
    async with anyio.create_task_group() as group:
        await bench.start(group)
        bench.clock.advance(PERIOD + 7 * MS)
        await bench.settle(lambda: bench.clock.next_sleeper_ns == 2 * PERIOD)
        group.cancel_scope.cancel()


async def test_what_a_source_says_the_process_holds_is_told():
    bench = Bench(Probe, lambda clock: Probe(clock, pool="unified"))
    for probe in bench.probes:
        probe.used = 10**12
    async with anyio.create_task_group() as group:
        await bench.start(group)
        bench.events.clear()
        await bench.tick()
        device, unified = bench.events
        assert device.used_bytes == 10**12
        assert unified.used_bytes > 10**12, "on a board with one memory it comes on top"
        group.cancel_scope.cancel()


async def test_of_two_sources_the_other_decides_when_one_is_lost(caplog):
    bench = Bench(Probe, Probe)
    bench.probes[0].available = 50
    async with anyio.create_task_group() as group:
        await bench.start(group)
        await bench.tick()
        assert bench.events[-1].available_bytes == 50
        bench.probes[0].broken = True
        for _ in range(5):
            await bench.tick()
        assert bench.events[-1].available_bytes == 100
        assert caplog.text.count("is lost") == 1
        group.cancel_scope.cancel()


async def test_a_source_that_speaks_seldom_is_believed_for_three_of_its_own_periods():
    bench = Bench(Probe)
    probe = bench.probes[0]
    probe.period_ns = 2 * PERIOD
    async with anyio.create_task_group() as group:
        await bench.start(group)
        probe.broken = True
        seen = []
        for _ in range(8):
            await bench.tick()
            seen.append(bench.events[-1].available_bytes)
        assert seen == [100] * 6 + [None] * 2
        group.cancel_scope.cancel()
