"""Large payloads and results through shared memory: a node, a real broker, and clients."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from scheduler.client import RotaClient
from scheduler.client.exchange import Exchange
from scheduler.errors import DeadlineMissed, InferenceFailed
from scheduler.transport import frames as frames_module
from scheduler.transport import shelf as shelf_module
from scheduler.transport.frame import Frame
from scheduler.transport.payload import FRAME
from scheduler.transport.shelf import Shelf

PHOTO = np.arange(640 * 480 * 3, dtype=np.uint32).astype(np.uint8).reshape(480, 640, 3)


@pytest.fixture
def make_client(broker):
    def make(**options):
        options = {"node": "n1", "frames": True, **options}
        return RotaClient(f"mqtt://127.0.0.1:{broker.port}", **options)

    return make


@pytest.fixture(autouse=True)
def folder(monkeypatch):
    """Real shared memory of the test's own, in which nothing is left behind."""
    with TemporaryDirectory(prefix="rota-test-", dir="/dev/shm") as name:
        monkeypatch.setattr(shelf_module, "FOLDER", name)
        yield Path(name)
        assert os.listdir(name) == []  # noqa: PTH208 - names alone


@pytest.fixture
def lain(folder):
    """The names of all that lies there."""
    return lambda: sorted(path.name for path in folder.iterdir())


def frames_of(names):
    """Frames among them, without the marks of their makers."""
    return [name for name in names if name.count("-") == 2]


async def test_a_large_array_goes_there_and_comes_back(make_node, make_client, make_robot, lain):
    node = make_node(frames={})
    robot = make_robot("rota/n1/models/echo/infer", "rota/n1/results/clients/+")
    seen = []
    node.scripts["echo"].answer = lambda payload: seen.append(lain()) or payload[::-1]
    async with node.running(), make_client() as rota:
        result = await rota.infer("echo", PHOTO)
        assert np.array_equal(result, PHOTO[::-1])
        assert rota.frames_fault is None
        assert frames_of(lain()) == []
        asked, answered = await robot.next(), await robot.next()
    assert [len(frames_of(names)) for names in seen] == [1]
    for message in (asked, answered):
        assert message.properties.ContentType == FRAME
        told = json.loads(message.payload)
        assert told["content_type"] == "application/x-npy"
        assert told["size_bytes"] == PHOTO.nbytes + 128


async def test_the_first_request_waits_for_what_the_node_says_of_itself(
    make_node, make_client, make_robot, monkeypatch
):
    real, robot = Exchange._take_status, make_robot("rota/n1/models/echo/infer")

    def comes_late(exchange, message):
        asyncio.get_running_loop().call_later(0.1, real, exchange, message)

    monkeypatch.setattr(Exchange, "_take_status", comes_late)
    async with make_node(frames={}).running(), make_client() as rota:
        assert np.array_equal(await rota.infer("echo", PHOTO), PHOTO)
        assert (await robot.next()).properties.ContentType == FRAME


async def test_what_is_small_goes_by_message(make_node, make_client, make_robot):
    robot = make_robot("rota/n1/models/echo/infer", "rota/n1/results/clients/+")
    async with make_node(frames={}).running(), make_client() as rota:
        assert (await rota.infer("echo", np.arange(3))).tolist() == [0, 1, 2]
        for _ in range(2):
            assert (await robot.next()).properties.ContentType == "application/x-npy"


async def test_every_form_of_payload_may_lie_there(make_node, make_client, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    noise = np.random.default_rng(1).integers(0, 255, (400, 500, 3), np.uint8)
    photo = image_module.fromarray(noise)
    photo.save(tmp_path / "photo.png")
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=95)
    scans = {"a": np.zeros(30_000, np.float32), "b": np.zeros(1, np.int32)}
    node = make_node(frames={})
    node.scripts["echo"].answer = lambda payload: {name: a.nbytes for name, a in payload.items()}
    node.add("shape").answer = lambda payload: [payload.dtype.name, list(payload.shape)]
    async with node.running(), make_client() as rota:
        for payload in (tmp_path / "photo.png", file.getvalue(), photo):
            assert await rota.infer("shape", payload) == ["uint8", [400, 500, 3]]
        assert await rota.infer("echo", scans) == {"a": 120_000, "b": 4}


async def test_a_large_result_in_json_lies_there_as_well(make_node, make_client):
    node = make_node(frames={})
    node.scripts["echo"].answer = lambda _: {"text": "x" * 200_000}
    async with node.running(), make_client() as rota:
        assert await rota.infer("echo", 1) == {"text": "x" * 200_000}


async def test_without_frames_on_either_side_all_goes_by_message(
    make_node, make_client, make_robot, lain
):
    robot = make_robot("rota/+/models/echo/infer", "rota/+/results/clients/+")
    plain, framed = make_node(node="n1"), make_node(node="n2", frames={})
    clients = make_client(), make_client(node="n2", frames=False)
    async with plain.running(), framed.running(), clients[0] as one, clients[1] as other:
        for rota in (one, other):
            assert np.array_equal(await rota.infer("echo", PHOTO), PHOTO)
            for _ in range(2):
                assert (await robot.next()).properties.ContentType == "application/x-npy"
        assert "set mqtt.frames" in one.frames_fault
        assert "frames=True" in other.frames_fault
        assert len(lain()) == 2


@pytest.mark.parametrize(
    ("fact", "why"),
    [
        ({"place": "another:1"}, "another machine"),
        ({"uid": 99}, "another user"),
        ({"max_bytes": "many"}, "reads no frames"),
    ],
)
async def test_a_node_that_cannot_see_our_frames_gets_the_payload(
    make_node, make_client, monkeypatch, fact, why
):
    real = frames_module.Frames.facts
    monkeypatch.setattr(frames_module.Frames, "facts", lambda self: {**real(self), **fact})
    async with make_node(frames={}).running(), make_client() as rota:
        assert np.array_equal(await rota.infer("echo", PHOTO), PHOTO)
        assert why in rota.frames_fault


async def test_what_is_larger_than_the_node_reads_goes_by_message(make_node, make_client):
    async with make_node(frames={"max": "100KiB"}).running(), make_client() as rota:
        assert np.array_equal(await rota.infer("echo", PHOTO), PHOTO)
        assert rota.frames_fault is None


async def test_a_full_shared_memory_is_no_failure(make_node, make_client, monkeypatch, caplog):
    real = Shelf.write

    def full(shelf, name, content):
        if content:
            raise OSError(28, "No space left on device")
        real(shelf, name, content)

    monkeypatch.setattr(Shelf, "write", full)
    async with make_node(frames={}).running(), make_client() as rota:
        assert np.array_equal(await rota.infer("echo", PHOTO), PHOTO)
    assert "goes by message: [Errno 28]" in caplog.text


async def test_without_shared_memory_both_say_so(make_node, make_client, monkeypatch, caplog):
    def missing(_):
        raise FileNotFoundError(2, "No such file or directory", "/dev/shm")

    monkeypatch.setattr(Shelf, "__init__", missing)
    async with make_node(frames={}).running(), make_client() as rota:
        assert np.array_equal(await rota.infer("echo", PHOTO), PHOTO)
        assert "no shared memory here" in rota.frames_fault
    assert "mqtt.frames: [Errno 2]" in caplog.text


# -- clients that are not ours ----------------------------------------------------------------


@pytest.fixture
def laid(folder):
    """A frame of a camera's own, and what a message says of it."""
    place, path = Shelf().place, folder / "rota-camera"
    path.write_bytes(PHOTO.tobytes())
    yield {
        "place": place,
        "name": path.name,
        "size_bytes": PHOTO.nbytes,
        "content_type": "application/octet-stream",
        "datatype": "UINT8",
        "shape": [480, 640, 3],
    }
    path.unlink(missing_ok=True)


async def test_a_camera_lays_raw_pixels_and_may_use_them_again(
    broker, make_node, make_robot, laid, folder
):
    node, robot = make_node(frames={}), make_robot("reply/me")
    async with node.running():
        for number in range(2):
            await broker.call(
                *("pub", "-t", node.infer(), "-m", json.dumps(laid)),
                *("-D", "publish", "content-type", FRAME),
                *("-D", "publish", "response-topic", "reply/me"),
                *("-D", "publish", "user-property", "accept", FRAME),
            )
            answer = await robot.next()
            assert answer.properties.ContentType == FRAME
            told = json.loads(answer.payload)
            assert np.array_equal(np.load(folder / told["name"]), PHOTO + np.uint8(number))
            (folder / told["name"]).unlink()
            (folder / laid["name"]).write_bytes((PHOTO + np.uint8(1)).tobytes())


async def test_what_is_wrong_with_a_frame_is_answered(make_node, make_robot, laid, code_of):
    node, robot = make_node(frames={"max": "1MiB"}), make_robot("reply/me")
    wrong = [
        ({"place": "another:1"}, "unsupported"),
        ({"name": "../../etc/passwd"}, "bad_request"),
        ({"name": "rota-nothing"}, "bad_request"),
        ({"shape": [480, 640, 4]}, "bad_request"),
        ({"size_bytes": 2**40, "shape": [2**40]}, "too_large"),
        ({"size_bytes": 2**21, "shape": [2**21]}, "too_large"),
    ]
    async with node.running():
        for said, code in wrong:
            robot.send(node.infer(), {**laid, **said}, ContentType=FRAME, ResponseTopic="reply/me")
            assert code_of(await robot.next()) == code
        robot.send(node.infer(), laid, ContentType=FRAME, ResponseTopic="reply/me")
        assert code_of(await robot.next()) is None
    assert len(node.scripts["echo"].runs) == 1


async def test_a_node_without_frames_and_a_fleet_refuse_them(make_node, make_robot, laid, code_of):
    node, robot = make_node(fleet={"name": "rovers"}), make_robot("reply/me")
    framed = make_node(node="n2", fleet={"name": "rovers"}, frames={})
    shared = "rota/fleet/rovers/models/echo/infer"
    async with node.running(), framed.running():
        for topic in (node.infer(), shared, shared):
            robot.send(topic, laid, ContentType=FRAME, ResponseTopic="reply/me")
            answer = await robot.next()
            assert code_of(answer) == "unsupported"
            assert b"send the payload itself" in answer.payload


async def test_a_request_that_is_delivered_twice_reads_its_frame_once(
    make_node, make_robot, laid, folder
):
    node, robot = make_node(frames={}), make_robot("reply/me")
    said = {"ContentType": FRAME, "ResponseTopic": "reply/me", "CorrelationData": b"1"}
    async with node.running():
        robot.send(node.infer(), laid, **said)
        first = await robot.next()
        (folder / laid["name"]).unlink()
        robot.send(node.infer(), laid, **said)
        assert (await robot.next()).payload == first.payload
    assert len(node.scripts["echo"].runs) == 1


# -- bounds -----------------------------------------------------------------------------------


async def test_frames_of_requests_count_among_what_is_in_hand(
    make_node, make_robot, laid, code_of, monkeypatch
):
    real, reads = Shelf.read, []
    monkeypatch.setattr(Shelf, "read", lambda *said: reads.append(said) or real(*said))
    node = make_node(frames={}, inbox={"bytes": PHOTO.nbytes + 1000})
    robot, script = make_robot("reply/me"), node.scripts["echo"]
    script.close_gate()
    said = {"ContentType": FRAME, "ResponseTopic": "reply/me"}
    async with node.running():
        robot.send(node.infer(), laid, **said)
        robot.send(node.infer(), laid, **said)
        assert code_of(await robot.next()) == "busy"
        assert node.transport.request_desk.inbox.held_bytes == PHOTO.nbytes + 128
        assert len(reads) == 1
        script.open_gate()
        assert code_of(await robot.next()) is None


async def test_results_that_nobody_fetches_are_bounded_and_removed(
    make_node, make_robot, lain, monkeypatch, eventually
):
    monkeypatch.setattr(frames_module, "KEEP_NS", 300_000_000)
    size = PHOTO.nbytes + 128
    node, robot = make_node(frames={"results": 2 * size}), make_robot("reply/me")
    node.scripts["echo"].answer = lambda _: PHOTO
    async with node.running():
        kinds = []
        for _ in range(3):
            robot.send(node.infer(), ResponseTopic="reply/me", user=[("accept", FRAME)])
            kinds.append((await robot.next()).properties.ContentType)
        assert kinds == [FRAME, FRAME, "application/x-npy"]
        assert len(frames_of(lain())) == 2
        await eventually(lambda: not frames_of(lain()), "removing what nobody fetched")
        robot.send(node.infer(), ResponseTopic="reply/me", user=[("accept", FRAME)])
        assert (await robot.next()).properties.ContentType == FRAME


async def test_what_clients_have_fetched_makes_room_at_once(make_node, make_client, make_robot):
    robot = make_robot("rota/n1/results/clients/+")
    node = make_node(frames={"results": PHOTO.nbytes + 128})
    async with node.running(), make_client() as rota:
        for _ in range(5):
            assert np.array_equal(await rota.infer("echo", PHOTO), PHOTO)
            assert (await robot.next()).properties.ContentType == FRAME


# -- who has gone -----------------------------------------------------------------------------


async def test_a_wait_that_is_given_up_leaves_nothing(make_node, make_client, lain, eventually):
    node = make_node(frames={})
    script = node.scripts["echo"]
    async with node.running(), make_client() as rota:
        await rota.infer("echo", PHOTO)
        script.close_gate()
        with pytest.raises(DeadlineMissed):
            await rota.infer("echo", PHOTO, deadline=0.1)
        waiting = asyncio.create_task(rota.infer("echo", PHOTO))
        await eventually(lambda: node.runtime.snapshot().waiting, "the request")
        waiting.cancel()
        await asyncio.wait([waiting])
        assert frames_of(lain()) == []
        script.open_gate()
        await eventually(lambda: rota._exchange.late, "the late answer")
        await eventually(lambda: frames_of(lain()) == [], "taking its frame away")


async def test_a_result_that_is_gone_is_a_failure_with_its_reason(
    make_node, make_client, monkeypatch
):
    node = make_node(frames={})
    monkeypatch.setattr(frames_module.Frames, "lay", lay_and_lose)
    async with node.running(), make_client() as rota:
        with pytest.raises(InferenceFailed, match=r"cannot be fetched: the frame rota-lost"):
            await rota.infer("echo", PHOTO)


async def lay_and_lose(_self, answer):
    frame = Frame(
        place=Shelf().place, name="rota-lost", size_bytes=9, content_type=answer.content_type
    )
    return type(answer)(frame.to_bytes(), FRAME, answer.user)


@contextmanager
def started(*command):
    """Another process, which is killed in the end."""
    words = [sys.executable, *map(str, command)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


CRASHING = """
import asyncio, sys
import numpy as np
from scheduler.client import RotaClient
from scheduler.transport import shelf

shelf.FOLDER = sys.argv[2]

async def ask():
    async with RotaClient(sys.argv[1], node="n1", frames=True) as rota:
        await rota.infer("echo", np.zeros(600_000, np.uint8))

asyncio.run(ask())
"""


async def test_what_a_killed_client_leaves_is_swept(make_node, lain, eventually, monkeypatch):
    monkeypatch.setattr(frames_module, "SWEEP_NS", 0)
    node = make_node(frames={})
    url, script = f"mqtt://127.0.0.1:{node.broker.port}", node.scripts["echo"]
    script.close_gate()
    async with node.running():
        with started("-c", CRASHING, url, shelf_module.FOLDER):
            await eventually(lambda: script.runs, "the client's request")
            assert len(frames_of(lain())) == 1
        await eventually(lambda: len(lain()) == 1, "sweeping")  # the node's own mark


async def test_a_client_sweeps_as_well_for_where_no_node_does(make_client, folder, lain):
    (folder / f"rota-{'0' * 16}-{'1' * 32}").write_bytes(b"left behind")
    async with make_client():
        assert frames_of(lain()) == []


async def test_a_node_that_stops_waits_a_moment_for_its_results_to_be_fetched(
    make_node, make_robot, lain, folder, monkeypatch
):
    node, robot = make_node(frames={}), make_robot("reply/me")
    node.scripts["echo"].answer = lambda _: PHOTO
    real, left = frames_module.Frames.close, []
    monkeypatch.setattr(
        frames_module.Frames, "close", lambda self: left.append(frames_of(lain())) or real(self)
    )
    async with node.running():
        robot.send(node.infer(), ResponseTopic="reply/me", user=[("accept", FRAME)])
        name = json.loads((await robot.next()).payload)["name"]
        fetching = threading.Timer(0.2, (folder / name).unlink)
        fetching.start()
    fetching.join()
    assert left == [[]]


async def test_a_node_that_stops_takes_away_what_nobody_fetches(make_node, make_robot, lain):
    node, robot = make_node(frames={}), make_robot("reply/me")
    node.scripts["echo"].answer = lambda _: PHOTO
    async with node.running():
        robot.send(node.infer(), ResponseTopic="reply/me", user=[("accept", FRAME)])
        await robot.next()
        assert len(frames_of(lain())) == 1


RUNNING = """
import sys
from scheduler.cli import main
from scheduler.transport import shelf

shelf.FOLDER = sys.argv.pop(1)
main()
"""
NODE = """
node: n1
memory: {{budget: 100MiB}}
models: {{echo: {{engine: synthetic, options: {{memory: 1MiB}}, footprint: 2MiB}}}}
mqtt: {{url: "mqtt://127.0.0.1:{port}", frames: {{}}}}
"""


async def test_what_a_killed_node_leaves_is_swept_by_the_next(
    make_node, make_robot, laid, lain, tmp_path
):
    node, robot = make_node(frames={}), make_robot("reply/me", "rota/n1/status")
    config = tmp_path / "node.yaml"
    config.write_text(NODE.format(port=node.broker.port))
    said = {"ContentType": FRAME, "ResponseTopic": "reply/me", "user": [("accept", FRAME)]}
    with started("-c", RUNNING, shelf_module.FOLDER, "run", config):
        while b"frames" not in (await robot.next()).payload:
            pass
        robot.send("rota/n1/models/echo/infer", laid, **said)
        while (answer := await robot.next()).topic != "reply/me":
            pass
    [name] = frames_of(lain())
    assert json.loads(answer.payload)["name"] == name
    async with node.running():
        assert name not in lain()
