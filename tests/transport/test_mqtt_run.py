"""`rota run` with a broker in its configuration."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

CONFIG = """
node: n1
memory: {{budget: 300MiB}}
models:
  echo:
    engine: synthetic
    options: {{load: 10ms, infer: 1ms, memory: 1MiB}}
    footprint: 2MiB
mqtt: {{url: "mqtt://127.0.0.1:{port}"}}
"""


def status(broker):
    return json.loads(broker.run("sub", "-t", "rota/n1/status", "-C", "1", "-W", "10"))


@pytest.fixture
def config(tmp_path, broker):
    file = tmp_path / "rover.yaml"
    file.write_text(CONFIG.format(port=broker.port))
    return file


@contextmanager
def rota_run(config):
    """The command at work; what it says goes beside its configuration."""
    with config.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "scheduler", "run", str(config)], stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def test_a_node_serves_until_it_is_stopped_and_says_goodbye(config, broker):
    with rota_run(config) as process:
        assert status(broker)["state"] in {"online", "degraded"}
        asked = ["-t", "rota/n1/models/echo/infer", "-e", "r", "-m", '{"example": true}']
        told = broker.run("rr", *asked, "-W", "8")
        assert json.loads(told)["outputs"][0]["shape"] == [16]
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 128 + signal.SIGTERM, config.with_suffix(".log").read_text()
    assert status(broker)["why"] == ["the node was stopped"]


def test_a_node_that_is_killed_is_offline_by_its_will(config, broker):
    with rota_run(config):
        assert status(broker)["state"] in {"online", "degraded"}
    ends = time.monotonic() + 5
    while status(broker)["state"] != "offline" and time.monotonic() < ends:
        time.sleep(0.05)
    said = status(broker)
    assert (said["state"], said["why"]) == ("offline", ["the connection broke"])
