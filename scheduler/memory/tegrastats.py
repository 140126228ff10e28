"""NVIDIA's `tegrastats`, which every Jetson has, as a source of the unified memory."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from scheduler.memory.follower import FIRST_PAUSE_S, Follower
from scheduler.memory.machine import UNIFIED
from scheduler.memory.probe import PoolSample
from scheduler.memory.tegra_line import TegraLine, read_tegra_line

SOURCE = "tegrastats"
INTERVAL_MS = 1000

PLACES = ("usr/bin/tegrastats", "home/nvidia/tegrastats", "home/ubuntu/tegrastats")
"""Where it lies when it is not on the path: JetPack 4.1 and earlier had it in the user's home."""

LONGEST_LINE = 4096


class TegrastatsProbe:
    """Runs `tegrastats` and keeps its last line; runs it again when it dies.

    What is available is what is not used: free memory and page cache. The child dies with this
    process, as nobody reads what it writes.
    """

    name = SOURCE

    def __init__(
        self,
        program: str,
        *,
        pool: str = UNIFIED,
        now_ns: Callable[[], int] = time.monotonic_ns,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._program = program
        self._pool = pool
        self._now_ns = now_ns
        self._child: subprocess.Popen[str] | None = None
        self._follower = Follower(
            self._lines, stop=self._end, now_ns=now_ns, first_pause_s=first_pause_s
        )

    def sample(self) -> tuple[PoolSample, ...]:
        """One sample, as old as the last line; an unknown one before the first."""
        last = self._follower.last()
        if last is None:
            return (self._unknown(),)
        line, taken_at_ns = last
        return (
            PoolSample(
                pool=self._pool,
                total_bytes=line.total_bytes,
                available_bytes=line.total_bytes - line.used_bytes,
                largest_block_bytes=line.block_bytes,
                source=SOURCE,
                taken_at_ns=taken_at_ns,
                period_ns=INTERVAL_MS * 1_000_000,
                trouble=self._follower.trouble,
            ),
        )

    def close(self) -> None:
        """End the child."""
        self._follower.close()

    def _unknown(self) -> PoolSample:
        return PoolSample(
            pool=self._pool,
            total_bytes=None,
            available_bytes=None,
            source=SOURCE,
            taken_at_ns=self._now_ns(),
            trouble=self._follower.trouble,
        )

    def _lines(self) -> Iterator[TegraLine]:
        command = [self._program, "--interval", str(INTERVAL_MS)]
        with subprocess.Popen(  # noqa: S603 - the program that was found on this machine
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
        ) as child:
            self._child = child
            assert child.stdout is not None  # noqa: S101 - a pipe was asked for
            while text := child.stdout.readline(LONGEST_LINE):
                line = read_tegra_line(text)
                if line is not None:
                    yield line
        raise OSError(f"{self._program} ended with status {child.returncode}")

    def _end(self) -> None:
        if self._child is not None:
            with suppress(OSError):
                self._child.terminate()


def find_tegrastats(root: Path = Path("/")) -> str | None:
    """Return where tegrastats is on this machine, or None."""
    on_path = shutil.which("tegrastats") if root == Path("/") else None
    places = [str(root / place) for place in PLACES if (root / place).is_file()]
    return on_path or next(iter(places), None)
