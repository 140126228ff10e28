"""An engine in a process of its own, seen from outside."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from pydantic import ValidationError

from scheduler.profile.step import Act, Order, Step

if TYPE_CHECKING:
    from typing_extensions import Self

LAST_WORDS = 3
"""So many lines of what a process said before it died are told."""


class EngineProcess:
    """Give it orders with `do`. Leaving the `with` ends it.

    A step that takes longer than `limit_s` ends it too.
    """

    def __init__(
        self, config: Path, model: str, variant: str = "", *, limit_s: float = 120.0
    ) -> None:
        self._limit_s = limit_s
        self._words = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed on exit
        self._child = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "scheduler.profile.child", str(config), model, variant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            encoding="utf-8",
        )
        self._late = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the process, at once."""
        self.close()

    def close(self) -> None:
        """End the process, at once."""
        self._child.kill()
        self._child.communicate()
        self._words.close()

    def do(self, act: Act, items: int = 1) -> Step:
        """Give an order and wait for what came of it; a process that dies is a failed step."""
        assert self._child.stdin is not None  # noqa: S101 - pipes were asked for
        assert self._child.stdout is not None  # noqa: S101
        order = Order(act=act, items=items)
        timer = threading.Timer(self._limit_s, self._give_up)
        timer.start()
        try:
            self._child.stdin.write(order.model_dump_json() + "\n")
            self._child.stdin.flush()
            return Step.model_validate_json(self._child.stdout.readline())
        except (OSError, ValidationError):
            self._child.wait()
            return self._death(order)
        finally:
            timer.cancel()

    def _give_up(self) -> None:
        self._late = True
        self._child.kill()

    def _death(self, order: Order) -> Step:
        status = self._child.returncode
        killed = status == -signal.SIGKILL and not self._late
        if self._late:
            text = f"it took longer than {self._limit_s:.0f} s and was ended"
        elif killed:
            text = "it was killed (SIGKILL), as the kernel does when memory is out"
        elif status < 0:
            text = f"it died of {signal.Signals(-status).name}"
        else:
            text = f"it ended with status {status}"
        said = self._last_words()
        error = f"{text}: {said}" if said else text
        return Step(act=order.act, items=order.items, error=error, out_of_memory=killed)

    def _last_words(self) -> str:
        self._words.seek(0)
        lines = [line.strip() for line in self._words.read()[-4000:].splitlines()]
        return " / ".join([line for line in lines if line][-LAST_WORDS:])
