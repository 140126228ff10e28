"""A program asks a node over MQTT: state, a model with a deadline, a lease, loads; a refusal."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import numpy as np

from scheduler import EXAMPLE
from scheduler.client import RotaClient
from scheduler.errors import ConfigError, RequestError
from scheduler.transport.own_broker import OwnBroker

NODE = """
node: rover-1
memory: {{budget: 100MiB}}
models:
  faces: {{engine: synthetic, options: {{load: 50ms, infer: 20ms, memory: 1MiB}}, footprint: 2MiB}}
  slam: {{engine: synthetic, options: {{load: 50ms, infer: 5ms, memory: 1MiB}}, footprint: 2MiB}}
mqtt: {{url: "mqtt://127.0.0.1:{port}", frames: {{}}}}
"""
PICTURE = np.zeros((480, 640, 3), np.uint8)


async def ask(port: int) -> None:
    # With frames, what is large passes through shared memory: the node is on this machine.
    async with RotaClient(f"mqtt://127.0.0.1:{port}", node="rover-1", frames=True) as rota:
        models = await rota.models()  # waits until the node is there
        print("the node has", ", ".join(sorted(models)))

        await rota.infer("faces", PICTURE, deadline=5.0)
        print("faces answered; frames:", rota.frames_fault or "through shared memory")

        try:
            await rota.infer("faces", EXAMPLE, deadline=0.001)
        except RequestError as error:
            print(f"refused as {error.reason.code.value}: {error}")

        async with rota.lease("slam", priority="high", ttl=2.0) as slam:  # renewed by itself
            for _ in range(3):
                await slam.infer(EXAMPLE)
        print("slam answered three times under a lease")

        await rota.unload("faces")
        print("faces is", (await rota.models())["faces"]["state"])
        await rota.load("faces")
        print("faces is", (await rota.models())["faces"]["state"])


def main() -> None:
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(OwnBroker(None))
        except ConfigError as error:
            print(error)
            return
        folder = Path(stack.enter_context(TemporaryDirectory()))
        config = folder / "rover-1.yaml"
        config.write_text(NODE.format(port=broker.port))
        with (folder / "rover-1.log").open("wb") as log:
            command = [sys.executable, "-m", "scheduler", "run", config]
            node = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own command
        stack.callback(node.wait)
        stack.callback(node.terminate)
        anyio.run(ask, broker.port)


if __name__ == "__main__":
    main()
