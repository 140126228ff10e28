"""`rota call` and `rota doctor mqtt`, as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from anyio import to_thread
from typer.testing import CliRunner

from scheduler.cli.app import app
from scheduler.client import broker_checkup
from scheduler.client.broker_checkup import OURS, PLAIN, PROMPT, BrokerCheckup, examine
from scheduler.transport.backoff import Backoff

WAYS = (PLAIN, PROMPT, OURS)


async def rota(*words):
    """The command, without stopping the node of the test."""

    def run():
        return subprocess.run(
            [sys.executable, "-m", "scheduler", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return await to_thread.run_sync(run)


def here(*words):
    """The command in this process, where no node is in its way."""
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def call(broker):
    async def ask(*words):
        return await rota("call", *words, "--url", f"mqtt://127.0.0.1:{broker.port}")

    return ask


async def test_a_file_is_asked_and_the_answer_shown(make_node, call, tmp_path):
    np.save(tmp_path / "scan.npy", np.arange(3))
    node = make_node()
    async with node.running():
        done = await call("n1", "echo", tmp_path / "scan.npy", "--priority", "high")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, 1, 2]
    assert "echo answered in" in done.stderr
    [request] = [r.event.request for r in node.flight.records() if hasattr(r.event, "request")]
    assert request.priority == 75


async def test_without_a_file_the_engine_takes_its_own_example(make_node, call):
    node = make_node()
    async with node.running():
        done = await call("n1", "echo")
    assert json.loads(done.stdout) == "example"


async def test_a_result_is_written_whole(make_node, call, tmp_path):
    np.save(tmp_path / "in.npy", np.arange(5000))
    node = make_node()
    async with node.running():
        done = await call("n1", "echo", tmp_path / "in.npy", "--output", tmp_path / "out.npy")
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(tmp_path / "out.npy"), np.arange(5000))


async def test_what_keeps_frames_from_being_used_is_said(make_node, call, tmp_path):
    np.save(tmp_path / "in.npy", np.arange(100_000))
    out = ("--frames", "--output", tmp_path / "out.npy")
    plain, framed = make_node(), make_node(node="n2", frames={})
    async with plain.running(), framed.running():
        by_message = await call("n1", "echo", tmp_path / "in.npy", *out)
        assert "all goes by message: the node reads no frames" in by_message.stderr
        by_frame = await call("n2", "echo", tmp_path / "in.npy", *out)
    assert (by_message.returncode, by_frame.returncode) == (0, 0)
    assert "by message" not in by_frame.stderr
    assert np.array_equal(np.load(tmp_path / "out.npy"), np.arange(100_000))


async def test_a_refusal_ends_with_1(make_node, call):
    node = make_node()
    async with node.running():
        refused = await call("n1", "nobody")
    assert (refused.returncode, "nobody" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("n1", "echo", "notes.txt"), "notes.txt"),
        (("n1", "echo", "none.npy"), "none.npy"),
        (("n1", "echo", "--deadline", "soon"), "soon"),
        (("n1", "echo", "--priority", "urgent"), "urgent"),
    ],
)
def test_wrong_usage_ends_with_2(broker, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("x")
    wrong = here("call", *words, "--url", f"mqtt://127.0.0.1:{broker.port}")
    assert (wrong.exit_code, wrong.stdout, said in wrong.stderr) == (2, "", True), wrong.output


def test_what_is_no_broker_is_wrong_usage():
    assert here("call", "n1", "echo", "--url", "http://127.0.0.1:9").exit_code == 2


def test_where_nothing_listens_it_ends_at_once(broker, monkeypatch):
    """It never tries a second time: whoever types a command is there to do that."""
    broker.kill()
    tries = []
    monkeypatch.setattr(Backoff, "delay_s", lambda *_, **__: tries.append(1) or 0.2)
    closed = here("call", "n1", "echo", "--url", f"mqtt://127.0.0.1:{broker.port}")
    assert (closed.exit_code, f"127.0.0.1:{broker.port}" in closed.stderr) == (1, True)
    assert "refused" in closed.stderr
    assert len(tries) == 1


def test_a_node_that_is_not_there_is_named(broker):
    url = f"mqtt://127.0.0.1:{broker.port}"
    silent = here("call", "n9", "echo", "--deadline", "100ms", "--url", url)
    assert (silent.exit_code, "rota/n9/status" in silent.stderr) == (1, True)


# -- the broker -------------------------------------------------------------------------------


async def test_a_broker_is_measured_and_tried(make_broker):
    broker = make_broker("max_packet_size 200000", name="limited")
    found = await examine("127.0.0.1", broker.port)
    assert found.is_mqtt5
    assert found.packet_max_bytes == 200_000
    assert "mosquitto version" in found.version
    assert (found.retains, found.shares) == (True, True)
    assert set(found.trip_ms) == {(qos, way) for qos in (0, 1) for way in WAYS}
    assert all(ms is not None and ms > 0 for ms in found.trip_ms.values())


async def test_what_a_broker_does_not_allow_is_found(make_broker, monkeypatch):
    monkeypatch.setattr(broker_checkup, "TRIPS", 2)
    broker = make_broker("retain_available false", name="plain")
    found = await examine("127.0.0.1", broker.port)
    assert not found.retains
    assert any("retain_available true" in finding for finding in found.findings())


async def test_the_command_prints_it_and_says_whether_all_is_well(broker):
    done = await rota("doctor", "mqtt", f"mqtt://127.0.0.1:{broker.port}")
    assert done.returncode == ("to mend" in done.stdout), done.stderr
    assert "QoS 1 round trip, as Rota does" in done.stdout


def test_without_a_broker_there_is_nothing_to_measure(broker):
    assert here("doctor", "mqtt", "http://x").exit_code == 2
    broker.kill()
    gone = here("doctor", "mqtt", f"mqtt://127.0.0.1:{broker.port}")
    assert (gone.exit_code, "no connection to a broker" in gone.stderr) == (1, True)


QUICK = dict.fromkeys(((qos, way) for qos in (0, 1) for way in WAYS), 0.5)
WELL = BrokerCheckup(
    host="h", port=1, connect_ms=0.1, trip_ms=dict(QUICK), retains=True, shares=True
)


def test_when_all_is_well_nothing_is_said():
    assert WELL.findings() == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"is_mqtt5": False}, "no MQTT 5"),
        ({"retains": False}, "retained messages are not kept"),
        ({"shares": False}, r"\$share"),
        ({"trip_ms": {**QUICK, (1, OURS): None}}, "QoS 1 do not come back"),
        ({"trip_ms": {**QUICK, (1, PLAIN): 44.0}}, "clients without TCP_NODELAY wait 44.0 ms"),
        ({"trip_ms": {**QUICK, (1, PLAIN): 88.0, (1, PROMPT): 44.0}}, "set_tcp_nodelay true"),
        ({"trip_ms": {**QUICK, (1, OURS): 60.0}}, "is busy"),
    ],
)
def test_each_fault_is_said_with_what_would_mend_it(changed, said):
    with pytest.raises(AssertionError, match=said):
        assert not replace(WELL, **changed).findings(), replace(WELL, **changed).findings()


def test_a_slow_network_is_not_taken_for_a_delay():
    far = dict.fromkeys(QUICK, 70.0)
    assert replace(WELL, connect_ms=30.0, trip_ms=far).findings() == []
