"""Leases that a program holds for several calls."""

from __future__ import annotations

import math

import pytest
from anyio import create_task_group

from scheduler.core.outcome import ReasonCode
from scheduler.errors import InferenceFailed, LeaseRevoked, NeverFits, RequestError


async def test_a_held_engine_serves_its_holder_alone(bench):
    b = bench()
    b.add()
    answers = []

    async def ask():
        answers.append(await b.runtime.infer("a", "other"))

    async with b.runtime:
        async with create_task_group() as tasks, b.runtime.lease("a") as lease:
            tasks.start_soon(ask)
            await b.settle()
            assert [await lease.infer(n) for n in (1, 2)] == [1, 2]
            assert b.runtime.snapshot().engines[0].held_by == lease.lease_id
            assert f"{lease!r}" == f"<lease {lease.lease_id} on a>"
            assert not answers
        assert answers == ["other"]
        with pytest.raises(LeaseRevoked):
            await lease.infer(3)
        with pytest.raises(LeaseRevoked):
            lease.renew()
        with pytest.raises(RuntimeError, match="already"):
            await lease.__aenter__()
        await b.all_well()


async def test_a_lease_on_two_models_is_all_or_none(bench):
    b = bench()
    b.add("a")
    b.add("b")
    b.add("huge", mib=950)
    async with b.runtime:
        async with b.runtime.lease("a", "b", ttl=math.inf) as lease:
            assert await lease.infer(1, model="b") == 1
            with pytest.raises(ValueError, match="which model"):
                await lease.infer(1)
            with pytest.raises(ValueError, match="not on huge"):
                await lease.infer(1, model="huge")
        with pytest.raises(NeverFits):
            async with b.runtime.lease("a", "huge"):
                pass
        for names in ((), ("a", "a")):
            with pytest.raises(ValueError, match="each named once"):
                b.runtime.lease(*names)
        await b.all_well()


@pytest.mark.parametrize("ttl", [0, -1, math.nan, True])
async def test_a_time_to_live_that_is_none_is_refused(bench, ttl):
    b = bench()
    b.add()
    async with b.runtime:
        with pytest.raises(ValueError, match="ttl is"):
            async with b.runtime.lease("a", ttl=ttl):
                pass
        await b.all_well()


async def test_a_lease_expires_unless_it_is_renewed(bench):
    b = bench()
    b.add()
    async with b.runtime:
        async with b.runtime.lease("a", ttl=2) as lease:
            for _ in range(3):
                await b.pass_time(1.9)
                lease.renew()
            assert await lease.infer(1) == 1
            await b.pass_time(2)
            assert not b.runtime.snapshot().leases  # idle: given back at once
            with pytest.raises(LeaseRevoked) as caught:
                await lease.infer(2)
            assert caught.value.reason.code is ReasonCode.LEASE_EXPIRED
            with pytest.raises(LeaseRevoked):
                lease.renew()
            await b.all_well()  # while the block still goes on
        await b.all_well()


async def test_renewing_in_the_moment_of_expiry_is_too_late(bench):
    b = bench()
    b.add()
    async with b.runtime:
        async with b.runtime.lease("a", ttl=2) as lease:
            b.clock.advance(2_000_000_000)
            with pytest.raises(LeaseRevoked):
                lease.renew()
        await b.all_well()


async def test_a_run_at_the_revocation_is_finished_and_delivered(bench):
    b = bench()
    script = b.add(priority=90)
    script.block("infer")
    got = []

    async def hold():
        async with b.runtime.lease("a", priority=10) as lease, create_task_group() as calls:

            async def call(payload):
                try:
                    got.append(await lease.infer(payload))
                except LeaseRevoked as error:
                    got.append(error.reason.code)

            calls.start_soon(call, 1)
            await script.blocked("infer")
            calls.start_soon(call, 2)

    async def ask():
        got.append(await b.runtime.infer("a", "important"))

    async with b.runtime:
        async with create_task_group() as tasks:
            tasks.start_soon(hold)
            await script.blocked("infer")
            await b.until(lambda: b.runtime.snapshot().waiting)
            tasks.start_soon(ask)
            await b.until(lambda: got)
            assert got == [ReasonCode.HIGHER_PRIORITY]
            assert b.runtime.snapshot().leases[0].revoking
            assert script.count("cancel") == 0
            script.release("infer")
        assert got == [ReasonCode.HIGHER_PRIORITY, 1, "important"]
        await b.all_well()


async def test_leaving_while_a_call_runs_ends_the_lease_when_it_has_returned(bench):
    b = bench()
    script = b.add()
    script.block("infer")
    got = []

    async with b.runtime:
        async with create_task_group() as tasks:
            async with b.runtime.lease("a") as lease:

                async def call(payload):
                    try:
                        got.append(await lease.infer(payload))
                    except LeaseRevoked as error:
                        got.append(error.reason.code)

                tasks.start_soon(call, 1)
                await script.blocked("infer")
                tasks.start_soon(call, 2)
                await b.settle()
            await b.settle()
            assert len(got) == 1
            assert b.runtime.snapshot().engines[0].held_by == lease.lease_id
            script.release("infer")
        assert got[1] == 1
        assert script.count("infer") == 1
        await b.all_well()


async def test_an_operator_takes_a_lease_back(bench):
    b = bench()
    b.add()
    async with b.runtime:
        async with b.runtime.lease("a") as lease:
            b.runtime.revoke(lease.lease_id)
            b.runtime.revoke(lease.lease_id)
            with pytest.raises(LeaseRevoked) as caught:
                await lease.infer(1)
            assert caught.value.reason.code is ReasonCode.LEASE_REVOKED
        b.runtime.revoke(lease.lease_id)
        await b.all_well()


async def test_a_lease_that_cannot_be_granted_says_why(bench):
    b = bench()
    script = b.add(backoff=0)
    script.raises["load"] = KeyError("weights")
    async with b.runtime:
        with pytest.raises(InferenceFailed, match="weights"):
            async with b.runtime.lease("a"):
                pass
        script.raises.clear()
        async with b.runtime.lease("a"):
            late = b.runtime.lease("a", deadline=1)
            async with create_task_group() as tasks:
                errors = []

                async def wait():
                    try:
                        await late.__aenter__()
                    except RequestError as error:
                        errors.append(type(error).__name__)

                tasks.start_soon(wait)
                await b.settle()
                await b.pass_time(1)
            assert errors == ["DeadlineMissed"]
        await b.all_well()


async def test_an_error_in_the_block_passes_through_unchanged(bench):
    b = bench()
    b.add()
    async with b.runtime:
        with pytest.raises(ZeroDivisionError):
            async with b.runtime.lease("a"):
                1 / 0  # noqa: B018
        await b.all_well()
    with pytest.raises(ZeroDivisionError):
        async with bench().runtime:
            1 / 0  # noqa: B018
