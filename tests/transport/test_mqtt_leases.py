"""Leases over MQTT: tokens that fence, times to live that end."""

from __future__ import annotations

import json

import anyio
import pytest


def lease_topic(verb):
    return f"rota/n1/leases/{verb}"


async def acquire(broker, models=("echo",), **said):
    return await broker.ask(lease_topic("acquire"), {"models": list(models), **said})


async def run_under(node, robot, token, payload=1, model="echo"):
    user = [("lease", str(token))]
    robot.send(node.infer(model), {"payload": payload}, ResponseTopic="reply/me", user=user)
    return await robot.next_json()


async def test_acquire_run_renew_release(make_node, broker, make_robot):
    node, robot = make_node(), make_robot("reply/me")
    async with node.running():
        got = await acquire(broker, ttl_ms=5000)
        token = got["lease"]
        assert got == {"lease": token, "models": ["echo"], "ttl_ms": 5000}
        assert (await run_under(node, robot, token))["result"] == 1
        renewed = await broker.ask(lease_topic("renew"), {"lease": token})
        assert renewed == {"lease": token, "ttl_ms": 5000}
        released = await broker.ask(lease_topic("release"), {"lease": token})
        assert released == {"lease": token, "released": True}
        error = (await run_under(node, robot, token))["error"]
        assert (error["code"], error["outcome"]) == ("lease_expired", "preempted")


async def test_others_wait_while_it_is_held_and_go_on_after(
    make_node, broker, make_robot, eventually
):
    node, robot = make_node(), make_robot("reply/me")
    async with node.running():
        token = (await acquire(broker))["lease"]
        robot.send(node.infer(), {"payload": "other"}, ResponseTopic="reply/me")
        await eventually(lambda: node.runtime.snapshot().waiting, "waiting")
        assert node.scripts["echo"].runs == []
        await broker.ask(lease_topic("release"), {"lease": token})
        assert (await robot.next_json())["result"] == "other"


async def test_who_vanishes_loses_the_lease_when_its_time_ends(
    make_node, broker, make_robot, properties_of
):
    node, robot = make_node(), make_robot("reply/me")
    async with node.running():
        robot.send(
            lease_topic("acquire"), {"models": ["echo"], "ttl_ms": 200}, ResponseTopic="reply/me"
        )
        token = (await robot.next_json())["lease"]
        notice = await robot.next()
        assert properties_of(notice)["notice"] == "lease_ended"
        assert json.loads(notice.payload)["code"] == "lease_expired"
        assert (await run_under(node, robot, token))["error"]["code"] == "lease_expired"
        told = await broker.ask(lease_topic("renew"), {"lease": token})
        assert told["error"]["code"] == "lease_expired"
        assert (await broker.ask(node.infer(), {"payload": "next"}))["result"] == "next"
        assert node.runtime.snapshot().leases == ()


async def test_renewing_keeps_a_lease_beyond_its_time_to_live(make_node, broker, make_robot):
    node, robot = make_node(), make_robot("reply/me")
    async with node.running():
        token = (await acquire(broker, ttl_ms=400))["lease"]
        for _ in range(8):
            robot.send(lease_topic("renew"), {"lease": token}, ResponseTopic="reply/me")
            assert (await robot.next_json())["lease"] == token
            assert (await run_under(node, robot, token))["result"] == 1
            await anyio.sleep(0.1)


async def test_tokens_grow_over_leases_and_over_runs_of_the_node(make_node, broker):
    tokens = []
    for _ in range(2):
        node = make_node()
        async with node.running():
            for _ in range(2):
                tokens.append((await acquire(broker))["lease"])
                await broker.ask(lease_topic("release"), {"lease": tokens[-1]})
        await anyio.sleep(0.3)  # no node starts again within a quarter of a second
    assert tokens == sorted(set(tokens))
    assert tokens[-1] < 2**53


async def test_a_token_of_an_earlier_run_is_refused(make_node, broker, make_robot):
    robot = make_robot("reply/me")
    node = make_node()
    async with node.running():
        old = (await acquire(broker))["lease"]
    await anyio.sleep(0.3)
    node = make_node()
    async with node.running():
        await acquire(broker)
        assert (await run_under(node, robot, old))["error"]["code"] == "lease_expired"


async def test_a_time_to_live_is_bounded_by_the_node(make_node, broker):
    node = make_node(lease_ttl="2s")
    async with node.running():
        assert (await acquire(broker, ttl_ms=60_000))["ttl_ms"] == 2000


async def test_a_lease_that_cannot_be_had_in_time_is_answered(make_node, broker, make_robot):
    node, robot = make_node(), make_robot("reply/me")
    async with node.running():
        await acquire(broker)
        said = {"ResponseTopic": "reply/me", "MessageExpiryInterval": 1}
        robot.send(lease_topic("acquire"), {"models": ["echo"]}, **said)
        assert (await robot.next_json())["error"]["outcome"] == "deadline_missed"


async def test_several_models_are_leased_together_and_named_in_requests(
    make_node, broker, make_robot
):
    node, robot = make_node("a", "b", "c"), make_robot("reply/me")
    async with node.running():
        token = (await acquire(broker, ("a", "b")))["lease"]
        assert (await run_under(node, robot, token, "x", "b"))["result"] == "x"
        error = (await run_under(node, robot, token, "x", "c"))["error"]
        assert error["code"] == "bad_request"
        assert "a, b" in error["message"]


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("acquire", {}),
        ("acquire", {"models": []}),
        ("acquire", {"models": "echo"}),
        ("acquire", {"models": ["echo", "echo"]}),
        ("acquire", {"models": ["echo"], "ttl_ms": 0}),
        ("acquire", {"models": ["echo"], "ttl_ms": True}),
        ("acquire", {"models": ["echo"], "priority": 101}),
        ("acquire", {"models": ["echo"], "ttl": 5}),
        ("renew", {}),
        ("release", {"lease": "5"}),
        ("grab", {"models": ["echo"]}),
    ],
    ids=str,
)
async def test_a_wrong_lease_message_is_refused(make_node, broker, verb, said):
    node = make_node()
    async with node.running():
        told = await broker.ask(lease_topic(verb), said)
    assert told["error"]["code"] == "bad_request"


async def test_a_lease_of_an_unknown_model_is_refused(make_node, broker):
    node = make_node()
    async with node.running():
        assert (await acquire(broker, ("nobody",)))["error"]["code"] == "unknown_model"


async def test_a_lease_taken_back_by_an_operator_ends_for_its_holder(
    make_node, make_robot, properties_of
):
    node, robot = make_node(), make_robot("reply/me")
    async with node.running():
        robot.send(lease_topic("acquire"), {"models": ["echo"]}, ResponseTopic="reply/me")
        await robot.next()
        [lease] = node.runtime.snapshot().leases
        node.runtime.revoke(lease.lease_id)
        notice = await robot.next()
        assert properties_of(notice)["notice"] == "lease_ended"
        assert json.loads(notice.payload)["code"] == "lease_revoked"
