"""A real broker, a node beside it, and clients that this project did not write."""

from __future__ import annotations

import json
import queue
import random
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from anyio import to_thread
from paho.mqtt import client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from scheduler.config import Model
from scheduler.config.mqtt import Mqtt
from scheduler.core.settings import PoolBudget, Settings
from scheduler.plugin.engine import EnginePlugin
from scheduler.runtime.runtime import Runtime
from scheduler.trace.flight import FlightRecorder
from scheduler.trace.header import Header
from scheduler.transport.mqtt import MqttTransport
from scheduler.transport.news import News

MIB = 1024 * 1024
LIMIT_S = 10.0
NODE = "n1"


@pytest.fixture
def anyio_backend():
    """The MQTT edge lives in asyncio, as aiomqtt does."""
    return "asyncio"


async def until(condition, what="it", limit_s=LIMIT_S):
    """Wait until `condition()` holds: a broker has no clock of ours."""
    with anyio.move_on_after(limit_s):
        while not condition():  # noqa: ASYNC110 - a broker sets no event of ours
            await anyio.sleep(0.005)
        return
    raise AssertionError(f"{what} did not happen in {limit_s} s")


def free_port():
    """One that Linux gives to no connection while a broker is restarted: theirs are higher."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Broker:
    """A mosquitto on a loopback port of its own."""

    def __init__(self, folder, *lines, listener=""):
        mosquitto = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self.port = free_port()
        self.folder = folder
        self._config = folder / "mosquitto.conf"
        anonymous = (
            [] if any("allow_anonymous" in line for line in lines) else ["allow_anonymous true"]
        )
        text = [f"listener {self.port} 127.0.0.1", "set_tcp_nodelay true", *anonymous, *lines]
        self._config.write_text("\n".join([*text, listener, ""]))
        self._command = [mosquitto, "-c", str(self._config)]
        self._process = None

    def start(self):
        log = (self.folder / "broker.log").open("ab")
        with log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        ends = time.monotonic() + LIMIT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:  # noqa: PERF203 - it comes up while we try
                assert time.monotonic() < ends, (self.folder / "broker.log").read_text()
                time.sleep(0.01)
            else:
                return self

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self):
        self.kill()
        self.start()

    def run(self, tool, *args, limit_s=LIMIT_S, check=True, said=None):
        """One of mosquitto's own clients, speaking MQTT 5 unless told otherwise."""
        version = [] if "-V" in args else ["-V", "5"]
        done = subprocess.run(
            [f"mosquitto_{tool}", "-h", "127.0.0.1", "-p", str(self.port), *version, *args],
            capture_output=True,
            input=None if said is None else said.encode(),
            timeout=limit_s,
            check=False,
        )
        if check:
            assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    async def call(self, tool, *args, **options):
        return await to_thread.run_sync(lambda: self.run(tool, *args, **options))

    async def ask(self, topic, payload, *args):
        """What mosquitto_rr gets for an answer, as JSON."""
        said = payload if isinstance(payload, str) else json.dumps(payload)
        told = await self.call("rr", "-t", topic, "-e", "reply/rr", "-m", said, "-W", "8", *args)
        return json.loads(told)


@pytest.fixture
def make_broker(tmp_path):
    made = []

    def make(*lines, name="broker", **options):
        folder = tmp_path / name
        folder.mkdir()
        made.append(Broker(folder, *lines, **options))
        return made[-1].start()

    yield make
    for broker in made:
        broker.kill()


@pytest.fixture
def broker(make_broker):
    """A broker of the test's own: nothing retained is left from another."""
    return make_broker()


class Script:
    """What an engine does: `runs` are its payloads; a closed gate holds its runs up."""

    def __init__(self):
        self.runs = []
        self.loads = 0
        self.unloads = 0
        self.cancels = 0
        self.answer = lambda payload: payload
        self._open = threading.Event()
        self._open.set()

    def close_gate(self):
        self._open.clear()

    def open_gate(self):
        self._open.set()

    def plugin(self):
        script = self

        class Scripted(EnginePlugin):
            def load(self):
                script.loads += 1

            def infer(self, batch):
                script.runs.extend(batch)
                assert script._open.wait(LIMIT_S), "nobody opened the gate"
                return [script.answer(payload) for payload in batch]

            def cancel(self):
                script.cancels += 1

            def unload(self):
                script.unloads += 1

            def example(self):
                return "example"

        return Scripted


class Node:
    """A runtime with scripted models, and its MQTT side."""

    def __init__(self, broker, budget_mib=1000, node=NODE, modes=(), **mqtt):
        self.broker = broker
        self.scripts = {}
        self.root = f"rota/{node}"
        self.news = News()
        settings = Settings(pools={"unified": PoolBudget(budget_bytes=budget_mib * MIB)})
        header = Header(node=node, started_at="", started_ns=0, settings=settings)
        self.flight = FlightRecorder(header)
        observers = [self.flight, self.news]
        self.runtime = Runtime(settings, observers=observers, drain_limit_s=5, modes=modes)
        mqtt.setdefault("url", f"mqtt://127.0.0.1:{broker.port}")
        self.transport = MqttTransport(
            self.runtime, Mqtt(**mqtt), node=node, news=self.news, flight=self.flight
        )

    def add(self, name="echo", mib=100, **rules):
        script = self.scripts[name] = Script()
        self.runtime.register(Model(name=name, footprint=mib * MIB, **rules), script.plugin())
        return script

    def infer(self, model="echo"):
        return f"{self.root}/models/{model}/infer"

    @property
    def is_up(self):
        return self.transport.requests.is_up and self.transport.orders.is_up

    @asynccontextmanager
    async def running(self):
        async with self.runtime, anyio.create_task_group() as beside:
            beside.start_soon(self.transport.run)
            await until(lambda: self.is_up, "connecting")
            try:
                yield self
            finally:
                for script in self.scripts.values():
                    script.open_gate()
                beside.cancel_scope.cancel()


@pytest.fixture
def make_node(broker):
    def make(*models, on=None, **options):
        node = Node(on or broker, **options)
        for model in models or ("echo",):
            node.add(model)
        return node

    return make


class Robot:
    """A client on paho alone, in its own thread. `answers` are by correlation data."""

    def __init__(self, broker, *topics, version=5):
        self.messages = queue.SimpleQueue()
        self.answers = {}
        self.counts = Counter()
        self._subscribed = threading.Event()
        self._topics = topics
        self._is_5 = version == 5
        protocol = paho.MQTTv5 if self._is_5 else paho.MQTTv311
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=protocol)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = self._on_message
        self.client.reconnect_delay_set(1, 1)
        self._port = broker.port

    def _on_connect(self, *_):
        if self._topics:
            self.client.subscribe([(topic, 1) for topic in self._topics])
        else:
            self._subscribed.set()

    def _on_message(self, _client, _userdata, message):
        key = getattr(getattr(message, "properties", None), "CorrelationData", None)
        if key is not None:
            self.answers[key] = message
            self.counts[key] += 1
        self.messages.put(message)

    def __enter__(self):
        self.client.connect("127.0.0.1", self._port)
        self.client.loop_start()
        assert self._subscribed.wait(LIMIT_S)
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()

    def send(self, topic, payload=b'{"payload": 1}', *, qos=1, retain=False, user=(), **said):
        properties = None
        if self._is_5:
            properties = Properties(PacketTypes.PUBLISH)
            for name, value in said.items():
                setattr(properties, name, value)
            if user:
                properties.UserProperty = list(user)
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self.client.publish(topic, body, qos, retain, properties)

    async def next(self, limit_s=LIMIT_S):
        """The next message."""
        return await to_thread.run_sync(lambda: self.messages.get(timeout=limit_s))

    async def next_json(self):
        return json.loads((await self.next()).payload)


def user_of(message):
    return dict(getattr(message.properties, "UserProperty", []))


def error_code(message):
    return json.loads(message.payload).get("error", {}).get("code")


@pytest.fixture
def make_robot(broker):
    robots = []

    def make(*topics, on=None, **options):
        robot = Robot(on or broker, *topics, **options)
        robots.append(robot)
        return robot.__enter__()

    yield make
    for robot in robots:
        robot.__exit__()


@pytest.fixture
def code_of():
    return error_code


@pytest.fixture
def properties_of():
    return user_of


@pytest.fixture
def eventually():
    return until
