"""`rota run --broker`: a broker that begins and ends with the run."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

from scheduler.config.mqtt import Mqtt
from scheduler.errors import ConfigError
from scheduler.transport.own_broker import OwnBroker

CONFIG = """
node: n1
memory: {budget: 300MiB}
models:
  echo:
    engine: synthetic
    options: {load: 10ms, infer: 1ms, memory: 1MiB}
    footprint: 2MiB
"""


@contextmanager
def rota_run(folder, text):
    config, log = folder / "rover.yaml", folder / "rover.log"
    config.write_text(text)
    command = [sys.executable, "-m", "scheduler", "run", str(config), "--broker"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield process, log
    finally:
        process.kill()
        process.wait(10)


def address(log):
    """What the command says of its broker."""
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        found = re.search(r"the broker of this run is (\S+) at mqtt://(\S+):(\d+)", log.read_text())
        if found:
            return found.group(1), int(found.group(3))
        time.sleep(0.02)
    raise AssertionError(log.read_text())


def is_gone(port):
    ends = time.monotonic() + 5
    while time.monotonic() < ends:
        with socket.socket() as line:
            if line.connect_ex(("127.0.0.1", port)):
                return True
        time.sleep(0.02)
    return False


def ask(port):
    asked = ["-t", "rota/n1/models/echo/infer", "-e", "r", "-m", '{"example": true}', "-W", "8"]
    command = ["mosquitto_rr", "-V", "5", "-p", str(port), *asked]
    return subprocess.run(command, capture_output=True, check=True).stdout


def wait_until_online(port):
    """It is degraded while requests are not subscribed to yet."""
    command = ["mosquitto_sub", "-p", str(port), "-t", "rota/n1/status", "-C", "1", "-W", "10"]
    ends, told = time.monotonic() + 20, b""
    while b'"online"' not in told:
        assert time.monotonic() < ends, told
        told = subprocess.run(command, check=True, capture_output=True).stdout


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_it_serves_on_a_free_port_and_is_gone_with_the_run_however_that_ends(tmp_path, end):
    with rota_run(tmp_path, CONFIG) as (process, log):
        program, port = address(log)
        assert program.endswith("mosquitto")
        wait_until_online(port)
        assert json.loads(ask(port))["outputs"][0]["shape"] == [16]
        children = psutil.Process(process.pid).children(recursive=True)
        assert any(child.name() == "mosquitto" for child in children)
        process.send_signal(end)
        process.wait(10)
        assert is_gone(port)
        psutil.wait_procs(children, timeout=5)
        assert not any(child.is_running() for child in children)
    if end is not signal.SIGKILL:
        assert process.returncode == 128 + end
        assert "no connection" not in log.read_text()


def test_it_listens_where_the_configuration_says(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = CONFIG + f'mqtt: {{url: "mqtt://localhost:{port}", prefix: rota}}\n'
    with rota_run(tmp_path, text) as (_, log):
        assert address(log)[1] == port


@pytest.mark.parametrize("url", ["mqtt://broker.example:1883", "mqtts://localhost:8883"])
def test_another_machines_broker_is_not_started_here(url):
    with pytest.raises(ConfigError, match="leave --broker out"):
        OwnBroker(Mqtt(url=url))


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is not free"):
            OwnBroker(Mqtt(url=f"mqtt://127.0.0.1:{port}"))


def test_without_mosquitto_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(ConfigError, match="apt install mosquitto"):
        OwnBroker(None)


def test_one_that_does_not_start_is_told_in_its_own_words(monkeypatch, tmp_path):
    broken = tmp_path / "mosquitto"
    broken.write_text("#!/bin/sh\necho it is broken\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: str(broken))
    own = OwnBroker(None)
    with pytest.raises(ConfigError, match=r"does not start on port .*: it is broken"):
        own.__enter__()
    assert own._process.poll() is not None
