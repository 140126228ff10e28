"""Requests over a real broker, asked by clients that this project did not write."""

from __future__ import annotations

import io
import json

import anyio
import numpy as np
import pytest

TENSOR = {"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2.5]}]}


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


async def test_mosquitto_rr_asks_and_is_answered(make_node, broker):
    node = make_node()
    async with node.running():
        told = await broker.ask(node.infer(), TENSOR)
    assert told["model_name"] == "echo"
    assert told["outputs"] == [
        {"name": "output", "shape": [2], "datatype": "FP32", "data": [1, 2.5]}
    ]
    assert node.scripts["echo"].runs[0].dtype == np.float32


async def test_an_answer_has_correlation_content_type_and_outcome(
    make_node, make_robot, properties_of
):
    node, robot = make_node(), make_robot("reply/me")
    async with node.running():
        robot.send(node.infer(), TENSOR, ResponseTopic="reply/me", CorrelationData=b"\x00\xff7")
        answer = await robot.next()
    assert answer.properties.CorrelationData == b"\x00\xff7"
    assert answer.properties.ContentType == "application/json"
    assert properties_of(answer)["outcome"] == "completed"
    assert answer.qos == 1


@pytest.mark.parametrize("version", [4, 5])
async def test_by_topic_alone_as_in_3_1_1(make_node, make_robot, version):
    node, robot = make_node(), make_robot("rota/n1/models/echo/result/+", version=version)
    async with node.running():
        robot.send(node.infer() + "/job-7", {"payload": [1], "id": "x"})
        answer = await robot.next()
        assert answer.topic == "rota/n1/models/echo/result/job-7"
        assert json.loads(answer.payload)["result"] == [1]
        robot.send(node.infer())
        assert (await robot.next()).topic.startswith("rota/n1/models/echo/result/")


async def test_parameters_stand_in_the_json_of_clients_without_properties(make_node, broker):
    node = make_node()
    async with node.running():
        said = {"payload": 1, "parameters": {"deadline_ms": 0}}
        told = await broker.ask(node.infer(), said)
    assert told["error"]["outcome"] == "deadline_missed"
    assert node.scripts["echo"].runs == []


async def test_arrays_images_and_sound(make_node, make_robot):
    image_module = pytest.importorskip("PIL.Image")
    import soundfile

    node, robot = make_node(), make_robot("reply/me")
    node.scripts["echo"].answer = lambda payload: [payload.dtype.name, list(payload.shape)]
    photo, sound = io.BytesIO(), io.BytesIO()
    image_module.new("RGB", (40, 30)).save(photo, "JPEG")
    soundfile.write(sound, np.zeros(16_000, np.float32), 16_000, format="WAV")
    forms = [
        ("application/x-npy", npy(np.zeros((2, 3), np.int64)), ["int64", [2, 3]]),
        ("image/jpeg", photo.getvalue(), ["uint8", [30, 40, 3]]),
        ("audio/wav", sound.getvalue(), ["float32", [16_000]]),
        ("", photo.getvalue(), ["uint8", [30, 40, 3]]),
    ]
    async with node.running():
        for kind, payload, told in forms:
            said = {"ContentType": kind} if kind else {}
            robot.send(node.infer(), payload, ResponseTopic="reply/me", **said)
            assert (await robot.next_json())["result"] == told


async def test_an_array_comes_back_as_a_file_where_it_is_asked_for(make_node, make_robot):
    node, robot = make_node(), make_robot("reply/me")
    mask = np.arange(120_000, dtype=np.float32).reshape(300, 400)
    async with node.running():
        user = [("accept", "application/x-npy")]
        robot.send(node.infer(), npy(mask), ResponseTopic="reply/me", user=user)
        answer = await robot.next()
    assert answer.properties.ContentType == "application/x-npy"
    assert np.array_equal(np.load(io.BytesIO(answer.payload)), mask)


async def test_priority_stream_and_deadline_reach_the_scheduler(make_node, make_robot):
    node, robot = make_node(), make_robot("reply/me")
    user = [("priority", "high"), ("deadline-ms", "1500"), ("stream", "cam")]
    async with node.running():
        robot.send(node.infer(), ResponseTopic="reply/me", user=user, MessageExpiryInterval=60)
        await robot.next()
    [request] = [r.event.request for r in node.flight.records() if hasattr(r.event, "request")]
    at_ns = next(r.at_ns for r in node.flight.records() if hasattr(r.event, "request"))
    assert (request.priority, request.stream) == (75, "cam")
    assert 1.0e9 < request.deadline_ns - at_ns <= 1.5e9


async def test_errors_say_code_outcome_and_what_to_do(make_node, broker):
    node = make_node()
    node.scripts["echo"].answer = lambda _: 1 / 0
    async with node.running():
        told = (await broker.ask(node.infer("nobody"), TENSOR))["error"]
        assert (told["code"], told["outcome"]) == ("unknown_model", "rejected")
        told = (await broker.ask(node.infer(), TENSOR))["error"]
        assert (told["code"], told["outcome"]) == ("run_failed", "failed")
        assert "ZeroDivisionError" in told["message"]


async def test_what_the_engine_does_not_take_is_bad_input(make_node, broker):
    from scheduler.errors import BadInput

    node = make_node()
    node.scripts["echo"].answer = lambda _: BadInput("the frame has 5 samples; give 512")
    async with node.running():
        told = (await broker.ask(node.infer(), TENSOR))["error"]
    assert told["code"] == "bad_input"
    assert "give 512" in told["message"]


async def test_strict_json_whatever_the_engine_returns(make_node, broker):
    node = make_node()
    node.scripts["echo"].answer = lambda _: {"a": float("nan"), "b": b"\xff", "c": object()}
    async with node.running():
        told = await broker.ask(node.infer(), TENSOR)
    assert told["result"]["a"] is None
    assert told["non_finite"] is True


BAD = [
    b"",
    b"\x80abc",
    b"1" * 5000,
    b"[" * 100_000,
    '{"payload": 1}'.encode("utf-16"),
    b"null",
    b"[1]",
    b'"x"',
    b'{"payload": 1, "payload": 2}',
    b'"\\ud800"',
    b'{"payload": NaN}',
    b'{"payload": 1e999}',
]


async def test_each_malformed_payload_is_refused_once_and_the_next_is_served(
    make_node, make_robot, code_of
):
    node, robot = make_node(), make_robot("reply/me")
    async with node.running():
        for number, payload in enumerate(BAD):
            key = str(number).encode()
            robot.send(node.infer(), payload, ResponseTopic="reply/me", CorrelationData=key)
            answer = await robot.next()
            assert (answer.properties.CorrelationData, code_of(answer)) == (key, "bad_request")
        robot.send(node.infer(), {"payload": "good"}, ResponseTopic="reply/me")
        assert (await robot.next_json())["result"] == "good"
        assert node.transport.requests.losses == 0
    assert node.scripts["echo"].runs == ["good"]


@pytest.mark.parametrize(
    "user",
    [
        [("deadline-ms", "NaN")],
        [("deadline-ms", "-5")],
        [("priority", "true")],
        [("priority", "1" * 30)],
        [("prioritty", "5")],
        [("stream", "a"), ("stream", "b")],
    ],
    ids=str,
)
async def test_wrong_terms_are_refused(make_node, make_robot, code_of, user):
    node, robot = make_node(), make_robot("reply/me")
    async with node.running():
        robot.send(node.infer(), ResponseTopic="reply/me", user=user)
        assert code_of(await robot.next()) == "bad_request"


@pytest.mark.parametrize(
    "topic", ["a/#", "rota/n1/control/unload", "rota/n2/models/x/infer", "$SYS/x"]
)
async def test_a_forbidden_response_topic_is_refused_on_the_nodes_own(
    make_node, make_robot, code_of, topic
):
    node, robot = make_node(), make_robot("rota/n1/models/echo/result/+", "a/+", "rota/n2/#")
    async with node.running():
        robot.send(node.infer(), ResponseTopic=topic)
        answer = await robot.next()
        assert code_of(answer) == "bad_request"
        assert answer.topic.startswith("rota/n1/models/echo/result/")
    assert node.scripts["echo"].runs == []


async def test_response_topics_can_be_bounded(make_node, make_robot):
    node = make_node(response_topics=["robots"])
    robot = make_robot("robots/1", "rota/n1/models/echo/result/+")
    async with node.running():
        robot.send(node.infer(), ResponseTopic="robots/1")
        assert (await robot.next()).topic == "robots/1"
        robot.send(node.infer(), ResponseTopic="elsewhere")
        assert "must begin with" in (await robot.next_json())["error"]["message"]


async def test_odd_model_names_are_unknown_models(make_node, make_robot, code_of):
    node, robot = make_node(), make_robot("reply/me")
    async with node.running():
        for name in ("", "a b", "🤖", "caf\u00e9", "cafe\u0301", "x" * 500, "\ufeff"):
            robot.send(node.infer(name), ResponseTopic="reply/me")
            assert code_of(await robot.next()) == "unknown_model"
        robot.send("rota/n1/models/a//b/infer")
        robot.send(node.infer(), ResponseTopic="reply/me")
        assert (await robot.next_json())["result"] == 1


# -- duplicates -------------------------------------------------------------------------------


async def test_a_request_sent_again_while_it_runs_runs_once(make_node, make_robot, eventually):
    node, robot = make_node(), make_robot("reply/me")
    script = node.scripts["echo"]
    script.close_gate()
    async with node.running():
        for _ in range(3):
            robot.send(node.infer(), ResponseTopic="reply/me", CorrelationData=b"7")
        await eventually(lambda: node.transport.request_desk.remembered.duplicates == 2)
        script.open_gate()
        await robot.next()
        robot.send(node.infer(), ResponseTopic="reply/me", CorrelationData=b"7")
        assert json.loads((await robot.next()).payload)["result"] == 1
        assert robot.counts == {b"7": 2}
    assert len(script.runs) == 1


async def test_a_request_id_counts_at_qos_0_too_and_correlation_data_do_not(make_node, make_robot):
    node, robot = make_node(), make_robot("reply/me")
    said = {"ResponseTopic": "reply/me", "CorrelationData": b"always"}
    async with node.running():
        for _ in range(2):
            robot.send(node.infer(), qos=0, user=[("request-id", "r1")], **said)
            await robot.next()
        assert len(node.scripts["echo"].runs) == 1
        for _ in range(2):
            robot.send(node.infer(), qos=0, **said)
            await robot.next()
        assert len(node.scripts["echo"].runs) == 3


async def test_the_same_id_for_something_else_is_a_conflict(make_node, make_robot, code_of):
    node, robot = make_node(), make_robot("reply/me")
    user = [("request-id", "r1")]
    async with node.running():
        robot.send(node.infer(), {"payload": 1}, ResponseTopic="reply/me", user=user)
        await robot.next()
        robot.send(node.infer(), {"payload": 2}, ResponseTopic="reply/me", user=user)
        assert code_of(await robot.next()) == "id_conflict"


async def test_what_was_refused_for_now_is_tried_again_under_the_same_id(
    make_node, make_robot, code_of
):
    node, robot = make_node("echo"), make_robot("reply/me")
    async with node.running():
        said = {"ResponseTopic": "reply/me", "user": [("request-id", "r1")]}
        robot.send(node.infer("late"), **said)
        assert code_of(await robot.next()) == "unknown_model"
        node.add("late")
        robot.send(node.infer("late"), **said)
        assert (await robot.next_json())["result"] == 1


async def test_what_ran_and_came_too_late_does_not_run_again_under_the_same_id(
    make_node, make_robot, code_of
):
    node, robot = make_node(), make_robot("reply/me")
    script = node.scripts["echo"]
    script.close_gate()
    said = {"ResponseTopic": "reply/me"}
    async with node.running():
        for name, deadline_ms in (("runs", "200"), ("waits", "300")):
            user = [("request-id", name), ("deadline-ms", deadline_ms)]
            robot.send(node.infer(), **said, user=user)
        for _ in range(2):
            assert code_of(await robot.next()) == "deadline_passed"
        robot.send(node.infer(), **said, user=[("request-id", "runs")])
        assert code_of(await robot.next()) == "deadline_passed"
        script.open_gate()
        robot.send(node.infer(), **said, user=[("request-id", "waits")])
        assert (await robot.next_json())["result"] == 1
    assert len(script.runs) == 2


# -- retained, expired, too large, too many ------------------------------------------------------


async def test_retained_requests_never_run(make_broker, make_node, make_robot, caplog):
    broker = make_broker(name="own")
    broker.run("pub", "-t", "rota/n1/models/echo/infer", "-r", "-q", "1", "-m", '{"payload": 1}')
    broker.run("pub", "-t", "rota/n1/control/unload", "-r", "-q", "1", "-m", "echo")
    robot = make_robot("reply/me", on=broker)
    for _ in range(3):
        node = make_node(on=broker)
        async with node.running():
            robot.send(node.infer(), {"payload": "good"}, ResponseTopic="reply/me")
            assert (await robot.next_json())["result"] == "good"
            await node.broker.call("pub", "-t", node.infer(), "-r", "-n")
            robot.send(node.infer(), b"", retain=True)
            robot.send(node.infer(), {"payload": 1}, retain=True)
            robot.send("rota/n1/control/unload", b"echo", retain=True)
            robot.send(node.infer(), {"payload": "good"}, ResponseTopic="reply/me")
            await robot.next()
            runs = node.scripts["echo"].runs
        assert runs == ["good", "good"]
        assert node.scripts["echo"].unloads <= 1
    assert caplog.text.count("a retained request on 'rota/n1/models/echo/infer'") == 3
    assert caplog.text.count("a retained order on 'rota/n1/control/unload'") == 3


async def test_expired_requests_of_a_session_cost_no_load(make_node, make_robot):
    node, robot = make_node("a", "b", "c", "d"), make_robot("reply/me")
    async with node.running():
        for number in range(50):
            model = "abcd"[number % 4]
            user = [("deadline-ms", "0")]
            robot.send(node.infer(model), ResponseTopic="reply/me", user=user)
        for _ in range(50):
            assert (await robot.next_json())["error"]["outcome"] == "deadline_missed"
        assert [script.loads for script in node.scripts.values()] == [0, 0, 0, 0]


async def test_requests_larger_than_allowed_are_told_so(make_node, make_robot):
    node, robot = make_node(max_request=10_000), make_robot("reply/me")
    async with node.running():
        robot.send(node.infer(), b"x" * 20_000, ResponseTopic="reply/me")
        error = (await robot.next_json())["error"]
        assert error["code"] == "too_large"
        assert "at most 10000" in error["message"]
        robot.send(node.infer(), b"x" * 5_000_000, ResponseTopic="reply/me")
        robot.send(node.infer(), ResponseTopic="reply/me")
        assert (await robot.next_json())["result"] == 1


@pytest.mark.parametrize(
    ("limit", "node_limit"),
    [("message_size_limit 100000", "16MiB"), ("max_packet_size 100000", "16MiB"), ("", "100kB")],
)
async def test_a_result_too_large_is_told_in_a_small_answer(
    make_broker, make_node, make_robot, limit, node_limit
):
    broker = make_broker(limit, name="own")
    node, robot = make_node(on=broker, max_response=node_limit), make_robot("reply/me", on=broker)
    node.scripts["echo"].answer = lambda payload: np.zeros(payload, np.uint8)
    async with node.running():
        for qos in (0, 1):
            user = [("accept", "application/x-npy")]
            robot.send(
                node.infer(), {"payload": 200_000}, qos=qos, ResponseTopic="reply/me", user=user
            )
            error = (await robot.next_json())["error"]
            assert (error["code"], error["outcome"]) == ("too_large", "failed")
            robot.send(node.infer(), {"payload": 3}, ResponseTopic="reply/me")
            assert (await robot.next_json())["outputs"][0]["data"] == [0, 0, 0]
        assert node.transport.requests.losses == 0


async def test_too_many_requests_are_told_to_come_later(make_node, make_robot):
    node = make_node(inbox={"in_flight": 2, "limit": 3})
    robot = make_robot("reply/me")
    node.scripts["echo"].close_gate()
    async with node.running():
        for number in range(8):
            robot.send(node.infer(), {"payload": number}, ResponseTopic="reply/me")
        for _ in range(3):
            error = (await robot.next_json())["error"]
            assert (error["code"], error["retry_after_ms"]) == ("busy", 100)
        node.scripts["echo"].open_gate()
        told = [(await robot.next_json())["result"] for _ in range(5)]
    assert sorted(told) == [0, 1, 2, 3, 4]


async def test_stale_requests_make_room_for_fresh_ones(make_node, make_robot, eventually):
    node = make_node(inbox={"in_flight": 1, "limit": 2})
    robot = make_robot("reply/me")
    node.scripts["echo"].close_gate()
    async with node.running():
        robot.send(node.infer(), {"payload": "first"}, ResponseTopic="reply/me")
        for _ in range(2):
            user = [("deadline-ms", "50")]
            robot.send(node.infer(), ResponseTopic="reply/me", user=user)
        await eventually(lambda: len(node.transport.request_desk.inbox) == 2, "waiting")
        await anyio.sleep(0.1)
        robot.send(node.infer(), {"payload": "fresh"}, ResponseTopic="reply/me")
        for _ in range(2):
            assert (await robot.next_json())["error"]["outcome"] == "deadline_missed"
        node.scripts["echo"].open_gate()
        assert [(await robot.next_json())["result"] for _ in range(2)] == ["first", "fresh"]
        assert node.transport.request_desk.inbox.stale == 2


async def test_a_request_that_comes_stale_is_late_and_not_busy(make_node, make_robot):
    node, robot = make_node(inbox={"in_flight": 1, "limit": 1}), make_robot("reply/me")
    node.scripts["echo"].close_gate()
    async with node.running():
        for deadline_ms in ("60000", "60000", "0"):
            user = [("deadline-ms", deadline_ms)]
            robot.send(node.infer(), ResponseTopic="reply/me", user=user)
        assert (await robot.next_json())["error"]["outcome"] == "deadline_missed"


async def test_the_queue_of_a_model_says_when_to_come_again(make_node, make_robot):
    node = make_node()
    node.add("narrow", queue={"limit": 1})
    robot = make_robot("reply/me")
    node.scripts["narrow"].close_gate()
    async with node.running():
        for _ in range(3):
            robot.send(node.infer("narrow"), ResponseTopic="reply/me")
        assert (await robot.next_json())["error"]["code"] == "queue_full"
        node.scripts["narrow"].open_gate()
        await robot.next()
        await robot.next()


async def test_a_burst_at_qos_0_is_answered_whole(make_node, make_robot):
    node, robot = make_node(), make_robot("reply/me")
    async with node.running():
        for number in range(5):
            robot.send(node.infer(), {"payload": number}, qos=0, ResponseTopic="reply/me")
        told = {(await robot.next_json())["result"] for _ in range(5)}
    assert told == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("in_flight", [1, 2, 10])
async def test_who_waits_when_the_node_stops_is_told(
    make_node, make_robot, code_of, eventually, in_flight
):
    node, robot = make_node(inbox={"in_flight": in_flight}), make_robot("reply/me")
    node.scripts["echo"].close_gate()
    async with node.running():
        for _ in range(5):
            robot.send(node.infer(), ResponseTopic="reply/me")
        await eventually(lambda: node.scripts["echo"].runs, "a run")
        await anyio.sleep(0.05)
    codes = [code_of(await robot.next()) for _ in range(5)]
    assert codes == ["shutting_down"] * 5
    assert robot.messages.empty()
