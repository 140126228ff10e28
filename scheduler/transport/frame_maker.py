"""Who lays frames, and who clears up after it.

A frame outlives the process that laid it. So each such process has a mark, of which there is an
empty file, locked for as long as the process lives: the system gives the lock back however it ends,
and in whatever container it was. Whoever can take the lock may take the frames away.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections import defaultdict
from contextlib import suppress

from scheduler.transport.shelf import START, Shelf

TRIES = 8

_MARKED = re.compile(rf"({START}[0-9a-f]{{16}})(-[0-9a-f]{{32}})?", re.ASCII)
"""The mark of a maker, or a frame of it. Files that others lay there are theirs to take away."""


class FrameMaker:
    """This process's mark. Names of frames cannot be guessed: who knows one knows no other."""

    def __init__(self, shelf: Shelf) -> None:
        """Raises OSError where nothing can be laid."""
        self.shelf = shelf
        self.mark, self._lock = _locked_mark(shelf)

    def name(self) -> str:
        """A name for a frame that is nobody's yet."""
        return f"{self.mark}-{secrets.token_hex(16)}"

    def close(self) -> None:
        """Take away what is left of the frames, and the mark."""
        _remove_all(self.shelf, self.mark)
        os.close(self._lock)


def sweep(shelf: Shelf) -> None:
    """Take away what makers have left that are gone."""
    frames = defaultdict(list)
    for name in shelf.names():
        match = _MARKED.fullmatch(name)
        if match is not None:
            frames[match[1]].append(name)
    for mark in frames:
        _sweep_after(shelf, mark)


def _locked_mark(shelf: Shelf) -> tuple[str, int]:
    """A new mark, and its open file; a sweep may find it before it is locked."""
    for _ in range(TRIES):
        mark = START + secrets.token_hex(8)
        shelf.write(mark, b"")
        with suppress(FileNotFoundError):
            lock = shelf.open(mark)
            if _takes(lock) and os.fstat(lock).st_nlink:
                return mark, lock
            os.close(lock)
    raise OSError(f"no mark in {shelf.folder} could be locked; can files be locked there?")


def _sweep_after(shelf: Shelf, mark: str) -> None:
    try:
        lock = shelf.open(mark)
    except FileNotFoundError:
        _remove_all(shelf, mark)
        return
    except OSError:
        return  # another user's
    try:
        if _takes(lock):
            _remove_all(shelf, mark)
    finally:
        os.close(lock)


def _takes(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_all(shelf: Shelf, mark: str) -> None:
    """The frames first: a frame without its mark is one that nobody needs."""
    for name in shelf.names():
        if name.startswith(f"{mark}-"):
            shelf.remove(name)
    shelf.remove(mark)
