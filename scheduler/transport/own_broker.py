"""A broker of one's own, for trying MQTT without setting one up.

It is mosquitto, where that is installed. iotcore, the one broker that pip installs and that speaks
MQTT 5, was tried and left out: version 0.4.0 passes a retained message on as if it were new, so
that a retained order would be carried out at every start.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from scheduler.config.mqtt import Broker, Mqtt
from scheduler.errors import ConfigError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

LOOPBACK = "127.0.0.1"

ELSEWHERE = "/usr/sbin:/usr/local/sbin"
"""Where Debian puts it, which is not on the path of everybody."""

HERE = {"localhost", LOOPBACK, "::1"}

START_S = 5.0

STOP_S = 3.0

LINES = """\
listener {port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
max_queued_messages 10000
"""

GUARD = """\
exec 3<&0
"$0" -c "$1" 3<&- & broker=$!
{ read -r _ <&3; kill $broker; } &
wait $broker
"""
"""Runs the broker until we close our end of its input, which we do even when we are killed."""


class OwnBroker:
    """A mosquitto of this process's own, on loopback, for as long as the context is open.

    It listens where the configuration says, or on a free port where it says nothing. `mqtt` is the
    configuration with its address. Raises ConfigError when there is no mosquitto, when the broker
    that is configured is another machine's or wants TLS, and when mosquitto does not start.
    """

    def __init__(self, mqtt: Mqtt | None) -> None:
        self._program = _program()
        mqtt = Mqtt() if mqtt is None else mqtt
        self.port = _port(mqtt)
        self.mqtt = mqtt.model_copy(update={"url": Broker(LOOPBACK, self.port)})
        self._folder = TemporaryDirectory(prefix="rota-broker-")
        self._process: subprocess.Popen[bytes] | None = None

    def __str__(self) -> str:
        return f"{self._program} at mqtt://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        """Start it, and wait until it answers."""
        folder = Path(self._folder.name)
        config, log = folder / "mosquitto.conf", folder / "mosquitto.log"
        config.write_text(LINES.format(port=self.port))
        folder.chmod(0o755)  # started by root, mosquitto reads it as somebody else
        with log.open("wb") as out:
            self._process = subprocess.Popen(  # noqa: S603 - the program that was found
                ["/bin/sh", "-c", GUARD, self._program, str(config)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for us: it goes when we have said goodbye
            )
        if not self._answers():
            said = log.read_text(errors="replace").strip().rpartition("\n")[2]
            self.__exit__(None, None, None)
            raise _wrong(f"mosquitto does not start on port {self.port}: {said or 'no word'}")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(STOP_S)
        self._folder.cleanup()

    def _answers(self) -> bool:
        assert self._process is not None  # noqa: S101 - it was just started
        ends = time.monotonic() + START_S
        while self._process.poll() is None and time.monotonic() < ends:
            try:
                socket.create_connection((LOOPBACK, self.port), START_S).close()
            except OSError:  # noqa: PERF203 - it comes up while we try
                time.sleep(0.01)
            else:
                return True
        return False


def _program() -> str:
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path=ELSEWHERE)
    if program is None:
        raise _wrong(
            "mosquitto is not installed; on Debian and Ubuntu: apt install mosquitto. (iotcore "
            "from pip is not used: it passes retained messages on as new ones.)"
        )
    return program


def _port(mqtt: Mqtt) -> int:
    if mqtt.url.uses_tls or mqtt.url.host not in HERE:
        raise _wrong(
            f"mqtt.url names the broker {mqtt.url.host}:{mqtt.url.port}, which is not one to be "
            "started here; leave --broker out, or write mqtt://localhost:PORT"
        )
    wanted = mqtt.url.port if "url" in mqtt.model_fields_set else 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError as error:
            raise _wrong(
                f"port {wanted} is not free ({error.strerror}); leave --broker out to use the "
                "broker there, or write another port in mqtt.url"
            ) from None
        port: int = probe.getsockname()[1]
    return port


def _wrong(text: str) -> ConfigError:
    return ConfigError([f"--broker: {text}"])
