"""`RotaClient` against a node and a real broker."""

from __future__ import annotations

import asyncio
import io
import json
import socket

import anyio
import numpy as np
import pytest
from anyio import to_thread

from scheduler.client import RotaClient
from scheduler.core.mode import Mode
from scheduler.errors import (
    BadInput,
    DeadlineMissed,
    InferenceFailed,
    LeaseRevoked,
    ModeRefused,
    NeverFits,
    QueueFull,
    Rejected,
    ShuttingDown,
    UnknownModel,
)
from scheduler.plugin.engine import EXAMPLE


@pytest.fixture
def make_client(broker):
    def make(on=broker, **options):
        options.setdefault("node", "n1")
        return RotaClient(f"mqtt://127.0.0.1:{on.port}", **options)

    return make


def shown(payload):
    """What an engine was given, as JSON can say it."""
    if isinstance(payload, dict):
        return {name: shown(part) for name, part in payload.items()}
    return [payload.dtype.name, list(payload.shape)] if hasattr(payload, "dtype") else payload


# -- what can be asked ------------------------------------------------------------------------


async def test_an_array_goes_there_and_comes_back(make_node, make_client):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    node = make_node()
    async with node.running(), make_client() as rota:
        result = await rota.infer("echo", array)
    assert result.dtype == np.float32
    assert np.array_equal(result, array)
    assert np.array_equal(node.scripts["echo"].runs[0], array)


async def test_every_form_of_payload_reaches_the_engine(make_node, make_client, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    photo = image_module.new("RGB", (40, 30))
    photo.save(tmp_path / "face.JPG", "JPEG")
    photo.save(tmp_path / "face.png")
    np.save(tmp_path / "scan.npy", np.zeros((2, 3), np.int64))
    (tmp_path / "ask.json").write_text('{"payload": [1, "two"]}')
    file = io.BytesIO()
    photo.save(file, "PNG")
    pixels = ["uint8", [30, 40, 3]]
    forms = [
        (tmp_path / "face.JPG", pixels),
        (tmp_path / "face.png", pixels),
        (file.getvalue(), pixels),
        (photo, pixels),
        (tmp_path / "scan.npy", ["int64", [2, 3]]),
        (tmp_path / "ask.json", [1, "two"]),
        (
            {"a": np.zeros(2, np.float32), "b": np.zeros(1, np.int32)},
            {"a": ["float32", [2]], "b": ["int32", [1]]},
        ),
        ({"image": np.zeros(2, np.int32), "text": "x"}, {"image": [0, 0], "text": "x"}),
        (np.array(["one", "two"]), ["str96", [2]]),
        ("a text", "a text"),
        (EXAMPLE, "example"),
    ]
    node = make_node()
    node.scripts["echo"].answer = shown
    async with node.running(), make_client() as rota:
        for payload, told in forms:
            assert await rota.infer("echo", payload) == told


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"neither", TypeError),
        (object(), TypeError),
        ({"a": np.zeros(1, np.complex64)}, TypeError),
        ({"a": np.array([np.nan])}, TypeError),
    ],
)
async def test_what_cannot_be_sent_is_said_before_it_is(make_node, make_client, payload, error):
    node = make_node()
    async with node.running(), make_client() as rota:
        with pytest.raises(error):
            await rota.infer("echo", payload)
        assert await rota.infer("echo", 1) == 1


async def test_a_file_of_another_kind_is_refused_with_those_that_are_taken(make_client, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    async with make_client() as rota:
        with pytest.raises(ValueError, match=r"notes\.txt: .* \.npy, \.jpg"):
            await rota.infer("echo", tmp_path / "notes.txt")
        with pytest.raises(FileNotFoundError):
            await rota.infer("echo", tmp_path / "none.npy")


async def test_terms_reach_the_scheduler(make_node, make_client):
    node = make_node()
    async with node.running(), make_client() as rota:
        await rota.infer("echo", 1, deadline=1.5, priority="high", stream="cam")
    [record] = [r for r in node.flight.records() if hasattr(r.event, "request")]
    request = record.event.request
    assert (request.priority, request.stream) == (75, "cam")
    assert 1.0e9 < request.deadline_ns - record.at_ns <= 1.5e9


async def test_a_result_in_json_where_that_is_asked_for(make_node, make_client, make_robot):
    node, robot = make_node(), make_robot("rota/n1/results/clients/+")
    async with node.running(), make_client() as rota:
        result = await rota.infer("echo", np.arange(3), accept="application/json")
        answer = await robot.next()
    assert np.array_equal(result, [0, 1, 2])
    assert json.loads(answer.payload)["outputs"][0]["datatype"] == "INT64"


# -- errors -----------------------------------------------------------------------------------


async def test_errors_are_those_of_a_runtime_in_the_same_process(make_node, make_client):
    node = make_node(budget_mib=300)
    node.add("huge", mib=500)
    node.add("picky").answer = lambda _: (_ for _ in ()).throw(BadInput("no such picture"))
    node.scripts["echo"].answer = lambda _: 1 / 0
    async with node.running(), make_client() as rota:
        with pytest.raises(UnknownModel, match="nobody"):
            await rota.infer("nobody", 1)
        with pytest.raises(NeverFits) as caught:
            await rota.infer("huge", 1)
        assert caught.value.reason.code == "never_fits"
        with pytest.raises(InferenceFailed, match="ZeroDivisionError"):
            await rota.infer("echo", 1)
        with pytest.raises(InferenceFailed, match="no such picture") as caught:
            await rota.infer("picky", 1)
        assert isinstance(caught.value.__cause__, BadInput)
        with pytest.raises(DeadlineMissed):
            await rota.infer("echo", 1, deadline=0)


async def test_what_the_edge_refuses_is_rejected_in_its_own_words(
    make_node, make_client, eventually
):
    node = make_node(max_request=1024)
    async with node.running(), make_client() as rota:
        await eventually(lambda: rota.node_status)
        for size in (200, 20_000):  # the broker would drop the larger one without a word
            with pytest.raises(Rejected) as caught:
                await rota.infer("echo", np.zeros(size))
            assert caught.value.reason.code.value == "too_large"
        with pytest.raises(Rejected, match="stream must be 1 to"):
            await rota.infer("echo", 1, stream="")


async def test_a_busy_node_is_a_full_queue(make_node, make_client, eventually):
    node = make_node(inbox={"in_flight": 1, "limit": 1})
    script = node.scripts["echo"]
    script.close_gate()
    async with node.running(), make_client() as rota:
        first = asyncio.ensure_future(rota.infer("echo", 1))
        await eventually(lambda: script.runs)
        second = asyncio.ensure_future(rota.infer("echo", 2))
        await eventually(lambda: len(node.transport.request_desk.remembered) == 2)
        with pytest.raises(QueueFull) as caught:
            await rota.infer("echo", 3)
        assert caught.value.reason.retry_after_ns
        script.open_gate()
        assert [await first, await second] == [1, 2]


async def test_a_priority_is_given_and_taken_back(make_node, make_client):
    node = make_node()
    async with node.running(), make_client() as rota:
        assert await rota.set_priority("echo", "high") == 75
        assert (await rota.models())["echo"]["priority"] == 75
        assert await rota.set_priority("echo", None) == 50
        with pytest.raises(UnknownModel):
            await rota.set_priority("nobody", 1)
        with pytest.raises(Rejected, match="urgent"):
            await rota.set_priority("echo", "urgent")


async def test_no_broker_is_a_connection_error_with_the_address(make_broker, make_client):
    broker = make_broker(name="gone")
    broker.kill()
    with pytest.raises(ConnectionError, match=rf"127\.0\.0\.1:{broker.port}"):
        async with make_client(on=broker, connect=0.3):
            pass


async def test_a_client_may_try_once_or_wait_for_its_broker(make_broker, make_client):
    broker = make_broker(name="late")
    broker.kill()
    with anyio.fail_after(5), pytest.raises(ConnectionError):
        async with make_client(on=broker, connect=0):
            pass
    async with anyio.create_task_group() as beside:
        beside.start_soon(to_thread.run_sync, broker.start)
        async with make_client(on=broker, connect=30) as rota:
            assert rota.is_connected


async def test_no_node_is_a_missed_deadline_that_says_so(make_client):
    async with make_client(node="n9") as rota:
        with pytest.raises(DeadlineMissed, match="no node has ever shown itself on rota/n9/status"):
            await rota.infer("echo", 1, deadline=0.1)


def test_what_cannot_be_right_is_refused_when_it_is_made():
    with pytest.raises(ValueError, match="is no broker"):
        RotaClient("http://x", node="n1")
    with pytest.raises(ValueError, match="needs tls"):
        RotaClient("mqtts://x", node="n1")
    with pytest.raises(ValueError, match="qos is 2"):
        RotaClient(node="n1", qos=2)


async def test_a_client_is_used_inside_its_block(make_client):
    with pytest.raises(RuntimeError, match="async with"):
        await make_client().infer("echo", 1)


# -- many at a time ---------------------------------------------------------------------------


async def test_many_tasks_share_one_connection_and_get_their_own_answers(make_node, make_client):
    node = make_node()
    node.add("twice", queue={"limit": 500}).answer = lambda number: 2 * number
    async with node.running(), make_client() as rota:
        told = await asyncio.gather(*(rota.infer("twice", number) for number in range(300)))
    assert told == [2 * number for number in range(300)]


async def test_no_more_than_in_flight_are_under_way(make_node, make_client, eventually):
    node = make_node()
    script = node.scripts["echo"]
    script.close_gate()
    async with node.running(), make_client(in_flight=2) as rota:
        asked = [asyncio.ensure_future(rota.infer("echo", number)) for number in range(4)]
        await eventually(lambda: len(node.transport.request_desk.remembered) == 2)
        with pytest.raises(DeadlineMissed, match="in_flight"):
            await rota.infer("echo", 9, deadline=0.05)
        assert len(node.transport.request_desk.remembered) == 2
        script.open_gate()
        assert await asyncio.gather(*asked) == [0, 1, 2, 3]


async def test_a_cancelled_wait_leaves_nothing_and_its_late_answer_hurts_nobody(
    make_node, make_client, eventually
):
    node = make_node()
    script = node.scripts["echo"]
    script.close_gate()
    async with node.running(), make_client(in_flight=1) as rota:
        with anyio.move_on_after(0.05):
            await rota.infer("echo", "never mind")
        asking = asyncio.ensure_future(rota.infer("echo", "wanted"))
        script.open_gate()
        assert await asking == "wanted"
        exchange = rota._exchange
        await eventually(lambda: exchange.late == 2)  # and the node's word on the cancel
        assert not exchange._open
        assert not exchange._sends


async def test_who_asks_to_be_told_is_told_where_he_stands(make_node, make_client, eventually):
    node = make_node()
    script = node.scripts["echo"]
    script.close_gate()
    told = []

    def note(notice):
        told.append(notice["message"])
        raise ValueError("the callback's own mistake")

    async with node.running(), make_client() as rota:
        first = asyncio.ensure_future(rota.infer("echo", 1))
        await eventually(lambda: script.runs)
        second = asyncio.ensure_future(rota.infer("echo", 2, notify=note))
        await eventually(lambda: told)
        script.open_gate()
        assert [await first, await second] == [1, 2]
    assert told[0].startswith("1st in line")


async def test_closing_ends_who_still_waits(make_node, make_client, eventually):
    node = make_node()
    node.scripts["echo"].close_gate()
    async with node.running():
        async with make_client() as rota:
            asking = asyncio.ensure_future(rota.infer("echo", 1))
            await eventually(lambda: node.scripts["echo"].runs)
        with pytest.raises(ShuttingDown, match="closed"):
            await asking


# -- coming back ------------------------------------------------------------------------------


async def test_a_broker_that_restarts_loses_nothing_and_nothing_runs_twice(
    make_node, make_client, broker, eventually
):
    node = make_node()
    script = node.scripts["echo"]
    script.close_gate()
    async with node.running(), make_client() as rota:
        asking = [asyncio.ensure_future(rota.infer("echo", number)) for number in range(5)]
        await eventually(lambda: len(node.transport.request_desk.remembered) == 5)
        await anyio.to_thread.run_sync(broker.restart)
        script.open_gate()
        with anyio.fail_after(20):
            assert await asyncio.gather(*asking) == [0, 1, 2, 3, 4]
        assert sorted(script.runs) == [0, 1, 2, 3, 4]
        assert rota.is_connected


async def test_a_question_waits_for_a_node_that_comes_later(make_node, make_client, eventually):
    node = make_node()
    async with make_client() as rota:
        asking = asyncio.ensure_future(rota.infer("echo", 1, deadline=20))
        await eventually(lambda: rota._exchange._open)
        assert rota.node_status == {}
        async with node.running():
            assert await asking == 1
            await eventually(lambda: rota.node_status.get("state") == "online")


async def test_what_is_asked_while_the_connection_is_away_goes_out_when_it_is_back(
    make_node, make_client, eventually
):
    node = make_node()
    async with node.running(), make_client() as rota:
        await eventually(lambda: rota.node_status.get("state") == "online")
        rota._exchange._connection._wire._client.socket().shutdown(socket.SHUT_RDWR)
        await eventually(lambda: not rota.is_connected)
        assert await rota.infer("echo", 1, deadline=5) == 1
    assert node.scripts["echo"].runs == [1]


# -- leases -----------------------------------------------------------------------------------


def leases_of(node):
    return [lease for lease in node.runtime.snapshot().leases if lease.holds]


async def test_a_lease_is_renewed_while_its_block_lasts(make_node, make_client, eventually):
    node = make_node()
    async with node.running(), make_client() as rota:
        async with rota.lease("echo", ttl=0.15, priority=90) as engine:
            await anyio.sleep(0.5)
            assert await engine.infer([1]) == [1]
            [held] = leases_of(node)
            assert held.priority == 90
            assert str(engine.token) in repr(engine)
        await eventually(lambda: not leases_of(node))


async def test_a_lease_that_is_taken_back_raises_at_the_next_use(
    make_node, make_client, eventually
):
    node = make_node()
    async with node.running(), make_client() as rota, rota.lease("echo") as engine:
        [held] = leases_of(node)
        node.runtime.revoke(held.lease_id)
        await eventually(lambda: engine._error is not None)
        with pytest.raises(LeaseRevoked):
            await engine.infer(1)
        with pytest.raises(LeaseRevoked):
            await engine.renew()


async def test_who_stops_waiting_for_a_lease_does_not_keep_it(make_node, make_client, eventually):
    node = make_node()
    async with node.running(), make_client() as rota:
        async with rota.lease("echo"):
            waiting = asyncio.ensure_future(rota.lease("echo").__aenter__())
            await eventually(lambda: node.runtime.snapshot().waiting)
            waiting.cancel()
            await asyncio.wait([waiting])
        await eventually(lambda: not leases_of(node) and not node.runtime.snapshot().waiting)


async def test_a_lease_is_let_go_when_the_client_closes_with_it(make_node, make_client, eventually):
    node = make_node()
    async with node.running():
        async with make_client() as rota, rota.lease("echo", ttl=30):
            assert leases_of(node)
        await eventually(lambda: not leases_of(node))


async def test_a_lease_says_what_is_wrong_with_its_use(make_node, make_client):
    node = make_node("echo", "other")
    async with node.running(), make_client() as rota:
        with pytest.raises(ValueError, match="each named once"):
            rota.lease("echo", "echo")
        with pytest.raises(RuntimeError, match="async with"):
            await rota.lease("echo").infer(1)
        async with rota.lease("echo", "other") as both:
            assert await both.infer(1, model="other") == 1
            with pytest.raises(ValueError, match="which model"):
                await both.infer(1)
            with pytest.raises(ValueError, match="not on third"):
                await both.infer(1, model="third")
            with pytest.raises(RuntimeError, match="already"):
                await both.__aenter__()
        with pytest.raises(UnknownModel):
            async with rota.lease("nobody"):
                pass


# -- control ----------------------------------------------------------------------------------


async def test_control_by_method(make_node, make_client):
    node = make_node()
    async with node.running(), make_client() as rota:
        await rota.load("echo")
        assert (await rota.models())["echo"]["state"] == "ready"
        await rota.pin("echo")
        with pytest.raises(Rejected) as caught:
            await rota.unload("echo")
        assert caught.value.reason.code == "model_pinned"
        await rota.unpin("echo")
        await rota.unload("echo")
        assert (await rota.models())["echo"]["state"] == "unloaded"
        assert (await rota.status())["pools"][0]["name"] == "unified"
        assert b'"rota-trace"' in (await rota.dump()).splitlines()[0]
        with pytest.raises(UnknownModel):
            await rota.load("nobody")
        assert await rota.drain(5) is True
        with pytest.raises(ShuttingDown):
            await rota.infer("echo", 1)


async def test_a_mode_is_switched_to_or_refused(make_node, make_client):
    node = make_node(modes=[Mode(name="quiet", disable=("echo",))])
    async with node.running(), make_client() as rota:
        assert (await rota.switch("quiet"))["mode"] == "quiet"
        with pytest.raises(Rejected) as caught:
            await rota.infer("echo", 1)
        assert caught.value.reason.code == "model_disabled"
        with pytest.raises(ModeRefused, match="loud"):
            await rota.switch("loud")
        assert (await rota.switch(None))["mode"] is None
        assert await rota.infer("echo", 1) == 1


async def test_who_gives_up_connecting_leaves_nothing_running():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        before = asyncio.all_tasks()
        url = f"mqtt://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(RotaClient(url, node="n1").__aenter__(), 0.2)
        assert asyncio.all_tasks() == before
