"""`rota top`: nodes as they show themselves over a real broker."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest
from anyio import to_thread
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from scheduler.cli.app import app
from scheduler.cli.top_table import render_nodes
from scheduler.client.watch import EVENTS_KEPT, MODELS_MAX, NODES_MAX, Watch, WatchedNode, read_told
from scheduler.transport.message import Message

S = 1_000_000_000


def url(broker):
    return f"mqtt://127.0.0.1:{broker.port}"


def shown(nodes, now_ns=0, fault=None):
    console = Console(width=160, highlight=False)
    with console.capture() as captured:
        console.print(render_nodes(nodes, now_ns, fault))
    return captured.get()


def row(text, first):
    """The words of the line that begins so."""
    return next(line.split() for line in text.splitlines() if line.startswith(first))


async def once(*words):
    """The command as a user runs it, its output in a pipe, without stopping the test's node."""
    command = [sys.executable, "-m", "scheduler", "top", *words]
    return await to_thread.run_sync(
        lambda: subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    )


async def test_in_a_pipe_it_prints_memory_models_and_mode_once(make_node, broker, eventually):
    node = make_node("echo", "other", on=broker)
    async with node.running():
        await node.runtime.load("echo")
        node.runtime.pin("echo")
        async with Watch(url(broker)) as watch:  # a node tells what changed within a second or so
            await watch.settle(5)
            pinned = watch.nodes["n1"].models
            await eventually(lambda: pinned["echo"]["pinned"] is True, "being told")
        done = await once(url(broker))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("n1 online\n")
    assert "100.0 MiB of 1000.0 MiB" in done.stdout
    assert " ".join(row(done.stdout, "echo")) == "echo pinned ready 50 100.0 MiB - - -"
    assert " ".join(row(done.stdout, "other")) == "other unloaded 50 - - - -"
    assert "\x1b" not in done.stdout


async def test_all_nodes_are_shown_or_the_one_that_is_asked_for(make_node, broker):
    one, two = make_node(on=broker), make_node(on=broker, node="n2")
    async with one.running(), two.running():
        seen = []
        for node in (None, "n2"):
            async with Watch(url(broker), node=node) as watch:
                await watch.settle(5)
                seen.append(sorted(watch.nodes))
    assert seen == [["n1", "n2"], ["n2"]]


async def test_what_waits_runs_and_is_missed_is_seen_as_it_happens(make_node, broker, eventually):
    node = make_node(on=broker)
    async with node.running(), Watch(url(broker)) as watch:
        script = node.scripts["echo"]
        script.close_gate()

        async def ask(deadline):
            await broker.call(
                *("pub", "-t", node.infer(), "-m", '{"payload": 1}', "-q", "1"),
                *("-D", "publish", "user-property", "deadline-ms", deadline),
            )

        def told(key):
            return watch.nodes["n1"].models.get("echo", {}).get(key) if watch.nodes else None

        await ask("9000")
        await eventually(lambda: told("running") == 1, "a run")
        for deadline in ("60", "9000"):
            await ask(deadline)
        await eventually(lambda: told("waiting") == 1, "a wait")
        await eventually(lambda: watch.nodes["n1"].missed["echo"] == 1, "a missed deadline")
        text = shown(watch.nodes, watch.clock.now_ns())
        assert row(text, "echo")[1] == "running"
        assert row(text, "echo")[-3:] == ["1", "1", "1"]
        assert "missed 1 echo its deadline passed while waiting" in text
        script.open_gate()


async def test_a_node_that_goes_is_offline_and_says_why(make_node, broker, eventually):
    node = make_node(on=broker)
    async with Watch(url(broker)) as watch:
        async with node.running():
            await watch.settle(5)
            assert watch.nodes["n1"].is_there
        await eventually(lambda: not watch.nodes["n1"].is_there, "going")
        assert shown(watch.nodes).startswith("n1 offline, the node was stopped\n")
    at_a_terminal = {"FORCE_COLOR": "1"}
    gone = await to_thread.run_sync(lambda: here(url(broker), "--once", env=at_a_terminal))
    assert (gone.exit_code, plain(gone.stdout).startswith("n1 offline")) == (1, True)


async def test_a_broker_that_went_is_told_and_it_comes_back_by_itself(
    make_node, broker, eventually
):
    node = make_node(on=broker)
    async with node.running(), Watch(url(broker)) as watch:
        await watch.settle(5)
        broker.kill()
        await eventually(lambda: watch.fault is not None, "noticing")
        assert "no connection to the broker" in shown(watch.nodes, 0, watch.fault)
        broker.start()
        await eventually(lambda: watch.fault is None, "coming back")


def here(*words, **options):
    return CliRunner().invoke(app, ["top", *words], **options)


def test_where_there_is_no_node_or_no_broker_it_ends_with_1(broker, monkeypatch):
    monkeypatch.setattr("scheduler.cli.top.SETTLE_S", 0.3)
    silent = here(url(broker), "--prefix", "robots")
    assert (silent.exit_code, "robots/+/status" in silent.stderr) == (1, True)
    broker.kill()
    closed = here(url(broker))
    assert (closed.exit_code, f"127.0.0.1:{broker.port}" in closed.stderr) == (1, True)


@pytest.mark.parametrize(
    "words", [("http://x",), ("--tls-ca", "none"), ("--password-file", "none")]
)
def test_wrong_usage_ends_with_2(words):
    assert here(*words).exit_code == 2


async def test_on_a_terminal_it_stays_until_ctrl_c(make_node, broker):
    node = make_node(on=broker)
    async with node.running():
        seen, status = await to_thread.run_sync(lambda: at_a_terminal(url(broker)))
    assert "n1 online" in seen
    assert status == 0


def at_a_terminal(address):
    """What the command writes to a terminal until the node is seen and somebody types Ctrl-C."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "scheduler", "top", address]
    env = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    seen, ends = "", time.monotonic() + 30
    is_told = False
    try:
        # A terminal reads to the end: a program that nobody reads cannot write, nor then end.
        while process.poll() is None and time.monotonic() < ends:
            if select.select([ours], [], [], 0.2)[0]:
                seen += os.read(ours, 65536).decode(errors="replace")
            if "online" in seen and not is_told:
                process.send_signal(signal.SIGINT)
                is_told = True
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
    return plain(seen), process.returncode


def plain(text):
    """Without the codes that move a cursor or set a colour."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


# -- what anybody may write there ---------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
KEYS = (
    *("state", "why", "mode", "fleet", "counts", "pools", "reserved_bytes", "budget_bytes"),
    *("measured_bytes", "priority", "waiting", "running", "variant", "event", "model", "count"),
)
TOLD = st.dictionaries(st.sampled_from(KEYS), JSON | st.dictionaries(st.sampled_from(KEYS), JSON))
TOPICS = st.sampled_from(
    ["rota/n/status", "rota/n/memory", "rota/n/events", "rota/n/models/m/state", "rota/n", "rota"]
)
PAYLOADS = st.binary(max_size=40) | TOLD.map(lambda told: json.dumps(told).encode())


@settings(max_examples=40)
@given(st.lists(st.tuples(TOPICS, PAYLOADS), max_size=8))
def test_whatever_stands_on_the_topics_it_is_shown(messages):
    watch = Watch()
    for topic, payload in messages:
        watch._take(Message(topic=topic, payload=payload))
    shown(watch.nodes)


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{", b"9" * 5000, b"[" * 9000, b'{"a": "' + b"x" * 17000 + b'"}']
)
def test_what_is_no_object_says_nothing(payload):
    assert read_told(payload) == {}


def test_of_everything_there_is_a_most():
    watch = Watch()
    for number in range(NODES_MAX + 5):
        watch._take(Message(topic=f"rota/n{number}/status", payload=b'{"state": "online"}'))
    assert len(watch.nodes) == NODES_MAX
    node = WatchedNode()
    for number in range(MODELS_MAX + 5):
        node.take(["models", f"m{number}", "state"], b'{"priority": 1}', 0)
        node.take(["events"], b'{"event": "loaded"}', 0)
    node.take(["models", "m0", "state"], b'{"priority": 2}', 0)
    assert (len(node.models), node.models["m0"]) == (MODELS_MAX, {"priority": 2})
    assert len(node.events) == EVENTS_KEPT


def test_a_model_that_was_removed_is_gone():
    node = WatchedNode()
    node.take(["models", "m", "state"], b'{"state": "ready"}', 0)
    node.take(["models", "m", "state"], b"", 0)
    assert node.models == {}


def test_all_that_a_node_says_is_shown():
    node = WatchedNode()
    status = {
        "state": "degraded",
        "why": ["it drains"],
        "mode": "docking",
        "fleet": "rovers",
        "counts": {"requests_refused": 3, "requests_busy": 0},
    }
    hung = {"state": "ready", "why": "no answer", "variant": "int8", "device": "cuda:0"}
    for levels, told in (
        (["status"], status),
        (["memory"], {"pools": {"gpu": {"budget_bytes": 2**30, "reserved_bytes": 2**29}}}),
        (["models", "a", "state"], hung),
        (["models", "b", "state"], {"state": "ready", "is_held": True}),
    ):
        node.take(levels, json.dumps(told).encode(), 0)
    node.take(["events"], b'{"event": "evicted", "model": "a", "message": "room for b"}', 2 * S)
    text = shown({"n": node}, 5 * S)
    assert text.startswith(
        "n degraded, mode docking, of the fleet rovers, it drains, requests refused 3\n"
    )
    assert " ".join(row(text, "gpu")).startswith("gpu ████████········ 512.0 MiB of 1.00 GiB unkn")
    assert "a int8 cuda:0  hung: no answer" in text
    assert row(text, "b")[1] == "held"
    assert "3 s ago evicted a room for b" in text
