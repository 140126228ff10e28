"""`rota call` and `rota doctor mqtt` against a real broker."""

import json
import subprocess
import sys

import numpy as np
from anyio import to_thread


async def rota(*words):
    command = [sys.executable, "-m", "scheduler", *map(str, words)]
    run = subprocess.run
    return await to_thread.run_sync(
        lambda: run(command, capture_output=True, text=True, timeout=60, check=False)
    )


async def test_a_model_is_asked_with_a_file_and_its_answer_is_printed(make_node, broker, tmp_path):
    node = make_node()
    node.scripts["echo"].answer = lambda item: {"sum": float(np.sum(item))}
    np.save(tmp_path / "frame.npy", np.arange(4.0))
    url = f"mqtt://127.0.0.1:{broker.port}"
    async with node.running():
        done = await rota("call", "n1", "echo", tmp_path / "frame.npy", "--url", url)
        assert (done.returncode, json.loads(done.stdout)) == (0, {"sum": 6.0}), done.stderr
        assert "echo answered in" in done.stderr
        unknown = await rota("call", "n1", "ecko", tmp_path / "frame.npy", "--url", url)
        assert unknown.returncode == 1
        assert "ecko of n1: " in unknown.stderr
        missing = await rota("call", "n1", "echo", tmp_path / "no.npy", "--url", url)
        assert missing.returncode == 2
        assert "no.npy" in missing.stderr


async def test_where_nobody_is_that_is_said(broker):
    url = f"mqtt://127.0.0.1:{broker.port}"
    done = await rota("call", "nobody", "echo", "--url", url, "--deadline", "300ms")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    gone = await rota("call", "n1", "echo", "--url", "mqtt://127.0.0.1:9")
    assert gone.returncode == 1
    assert "Traceback" not in gone.stderr
    wrong = await rota("call", "n1", "echo", "--url", "http://127.0.0.1:9")
    assert wrong.returncode == 2


async def test_a_broker_is_measured(broker):
    done = await rota("doctor", "mqtt", f"mqtt://127.0.0.1:{broker.port}")
    assert "Traceback" not in done.stderr
    assert "mosquitto version 2" in done.stdout
    assert "QoS 1 there and back" in done.stdout
    assert "does not come back" not in done.stdout
    assert done.returncode == (1 if "to mend:" in done.stdout else 0)
    gone = await rota("doctor", "mqtt", "mqtt://127.0.0.1:9")
    assert gone.returncode == 1
    assert "no broker at 127.0.0.1:9" in gone.stderr
