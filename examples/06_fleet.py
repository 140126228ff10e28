"""Three nodes share one stream of requests on one broker; one of them is killed, none is lost."""

import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import aiomqtt
import anyio
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from scheduler.errors import ConfigError
from scheduler.transport.own_broker import OwnBroker

NODE = """
node: {name}
memory: {{budget: 100MiB}}
models:
  faces: {{engine: synthetic, options: {{load: 50ms, infer: 20ms, memory: 1MiB}}, footprint: 2MiB}}
mqtt: {{url: "mqtt://127.0.0.1:{port}", fleet: {{name: rovers}}}}
"""
REQUESTS = 120


def start(folder: Path, name: str, port: int) -> "subprocess.Popen[bytes]":
    config = folder / f"{name}.yaml"
    config.write_text(NODE.format(name=name, port=port))
    with (folder / f"{name}.log").open("wb") as log:
        command = [sys.executable, "-m", "scheduler", "run", config]
        return subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own command


async def wait_for_members(client: aiomqtt.Client, names: set[str]) -> None:
    """A node says what it can run on a retained topic of its own."""
    await client.subscribe("rota/fleet/rovers/nodes/+")
    async for message in client.messages:
        if b'"faces"' in message.payload:
            names.discard(str(message.topic).split("/")[-1].split("-")[0])
        if not names:
            return


async def ask(client: aiomqtt.Client, number: int) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "answers/me"
    properties.CorrelationData = str(number).encode()
    topic = "rota/fleet/rovers/models/faces/infer"
    await client.publish(topic, b'{"example": true}', qos=1, properties=properties)


async def ask_all(port: int, victim: "subprocess.Popen[bytes]") -> None:
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await wait_for_members(client, {"n1", "n2", "n3"})
        await client.subscribe("answers/me", qos=1)
        for number in range(REQUESTS // 2):
            await ask(client, number)
        victim.kill()
        for number in range(REQUESTS // 2, REQUESTS):
            await ask(client, number)
        answered: dict[bytes, str] = {}  # by correlation data: a second answer changes nothing
        async for message in client.messages:
            if str(message.topic) == "answers/me":
                told = dict(message.properties.UserProperty)
                answered.setdefault(message.properties.CorrelationData, told["id"].split("-")[0])
            if len(answered) == REQUESTS:
                break
        print(f"{len(answered)} of {REQUESTS} answered, one node was killed:")
        for name, count in sorted(Counter(answered.values()).items()):
            print(f"  {name} answered {count}")


def main() -> None:
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(OwnBroker(None))
        except ConfigError as error:
            print(error)
            return
        folder = Path(stack.enter_context(TemporaryDirectory()))
        nodes = [start(folder, name, broker.port) for name in ("n1", "n2", "n3")]
        for node in nodes:
            stack.callback(node.wait)
            stack.callback(node.terminate)
        anyio.run(ask_all, broker.port, nodes[0])


if __name__ == "__main__":
    main()
