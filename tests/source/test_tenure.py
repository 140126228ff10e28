from contextlib import asynccontextmanager

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from scheduler.core.outcome import Reason, ReasonCode
from scheduler.errors import DeadlineMissed, LeaseRevoked, QueueFull, UnknownModel
from scheduler.runtime.clock import ManualClock
from scheduler.source.tenure import Tenure

S = 1_000_000_000


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


class Rota:
    """Gives leases when `free` is set, and refuses with `refusals` first."""

    def __init__(self):
        self.free = anyio.Event()
        self.refusals = []
        self.asked = []
        self.held = 0
        self.engine = None

    @asynccontextmanager
    async def lease(self, model, *, priority, ttl):
        self.asked.append((model, priority, ttl))
        if self.refusals:
            raise self.refusals.pop(0)
        await self.free.wait()
        self.engine, self.held = Engine(), self.held + 1
        try:
            yield self.engine
        finally:
            self.held -= 1


class Engine:
    def __init__(self):
        self.renewed = 0
        self.revoked = False

    def renew(self):
        self.renewed += 1

    async def infer(self, payload, *, deadline):
        if self.revoked:
            raise LeaseRevoked(Reason(ReasonCode.HIGHER_PRIORITY, "docking"))
        return payload, deadline


@pytest.fixture
def rota():
    return Rota()


def made(rota):
    clock = ManualClock()
    return clock, Tenure(rota.lease, "slam", priority=90, ttl_ns=2 * S, clock=clock)


async def ask(tenure, payload, deadline=None):
    return await tenure.infer("slam", payload, deadline=deadline, priority=None, stream="lidar")


async def test_it_is_held_between_frames_and_renewed_with_each(rota):
    _, tenure = made(rota)
    rota.free.set()
    async with anyio.create_task_group() as group:
        group.start_soon(tenure.hold)
        assert await ask(tenure, 1) == (1, None)
        assert await ask(tenure, 2, 0.5) == (2, 0.5)
        assert (rota.held, rota.engine.renewed) == (1, 2)
        group.cancel_scope.cancel()
    assert rota.asked == [("slam", 90, 2.0)]
    assert rota.held == 0


async def test_after_revocation_it_is_taken_again(rota):
    _, tenure = made(rota)
    rota.free.set()
    async with anyio.create_task_group() as group:
        group.start_soon(tenure.hold)
        await ask(tenure, 1)
        rota.engine.revoked = True
        with pytest.raises(LeaseRevoked):
            await ask(tenure, 2)
        assert await ask(tenure, 3) == (3, None)
        assert len(rota.asked) == 2
        assert rota.held == 1
        group.cancel_scope.cancel()


async def test_a_frame_that_waited_past_its_deadline_for_the_lease_missed_it(rota):
    clock, tenure = made(rota)
    late, early = [], []

    async def frame(deadline, into):
        try:
            into.append(await ask(tenure, 1, deadline))
        except DeadlineMissed as missed:
            into.append(missed.reason.code)

    async with anyio.create_task_group() as group:
        group.start_soon(tenure.hold)
        group.start_soon(frame, 0.5, late)
        group.start_soon(frame, 3.0, early)
        await wait_all_tasks_blocked()
        clock.advance(S)
        rota.free.set()
        await wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert late == [ReasonCode.DEADLINE_PASSED]
    assert early == [(1, 2.0)]


async def test_a_refusal_for_now_is_tried_again_after_a_second(rota):
    clock, tenure = made(rota)
    rota.free.set()
    rota.refusals = [QueueFull(Reason(ReasonCode.QUEUE_FULL, "full"))]
    async with anyio.create_task_group() as group:
        group.start_soon(tenure.hold)
        await wait_all_tasks_blocked()
        assert len(rota.asked) == 1
        clock.advance(S)
        assert await ask(tenure, 1) == (1, None)
        group.cancel_scope.cancel()


async def test_an_unknown_model_reaches_whoever_asks(rota):
    _, tenure = made(rota)
    rota.refusals = [UnknownModel(Reason(ReasonCode.UNKNOWN_MODEL, "no slam"))]
    await tenure.hold()
    with pytest.raises(UnknownModel, match="no slam"):
        await ask(tenure, 1)
