"""The device memory in use by NVML, watched from a process of its own, which no engine slows down.

As a program it polls as fast as NVML answers and, for each line on its input, writes what is in use
now, the most since the line before, and how many times it looked meanwhile.
"""

import os
import select
import subprocess
import sys
from typing import NamedTuple


class Seen(NamedTuple):
    """Bytes in use now, the most since the last look, and the number of polls meanwhile."""

    now_bytes: int
    most_bytes: int
    polls: int


class Watch:
    """Watches device `number` until it is closed."""

    def __init__(self, number: int = 0) -> None:
        command = [sys.executable, __file__, str(number)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.look()

    def look(self) -> Seen:
        """What was seen since the last look."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: PT018
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Seen(*map(int, self._process.stdout.readline().split()))

    def close(self) -> None:
        """Stop watching."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: PT018
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def main(number: int) -> None:
    """Poll until the input ends."""
    import pynvml

    pynvml.nvmlInit()
    device = pynvml.nvmlDeviceGetHandleByIndex(number)
    most = polls = 0
    while True:
        used = pynvml.nvmlDeviceGetMemoryInfo(device).used
        most, polls = max(most, used), polls + 1
        if select.select([0], [], [], 0.0005)[0]:
            if not os.read(0, 1):
                return
            print(used, most, polls, flush=True)
            most, polls = used, 0


if __name__ == "__main__":
    main(int(sys.argv[1]))
