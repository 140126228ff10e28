"""Where frames lie: the files of /dev/shm that are called rota-...

They are plain files, so that any program can lay one there, and so that nothing but ourselves takes
them away (the resource tracker of `multiprocessing.shared_memory` does, before Python 3.13).
Frames are copied out by `read`, never mapped: who shortens a file while it is mapped ends the
process that looks at it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from scheduler.transport.frame import Frame
from scheduler.transport.refusal import bad_request, too_large, unsupported

FOLDER = "/dev/shm"  # noqa: S108 - where POSIX shared memory is on Linux

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

START = "rota-"

_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
"""A link is not followed, and a pipe does not wait for its writer."""

_WRITING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW

_OURS_ALONE = 0o600


class Shelf:
    """This machine's shared memory. `place` says which it is, to tell it from another machine's."""

    def __init__(self) -> None:
        """Raises OSError where there is none."""
        self.folder = FOLDER
        self.place = f"{BOOT_ID.read_text('ascii').strip()}:{Path(FOLDER).stat().st_dev}"

    def read(self, frame: Frame, limit_bytes: int) -> bytes:
        """Copy out what a message says is there, behind the frame's head.

        Nobody's word is taken for it: it must be a file by this name alone, of that size, and of
        this process's own user unless everybody may read it.

        Raises:
            Refusal: it is none of that, is larger than `limit_bytes`, or shrinks meanwhile.
        """
        if frame.place != self.place:
            raise unsupported(
                f"the frame is at {frame.place}, this node at {self.place}: another machine, or a "
                "container without the same /dev/shm; send the payload itself"
            )
        if frame.size_bytes > limit_bytes:
            raise too_large(
                f"the frame has {frame.size_bytes} bytes; at most {limit_bytes} are read"
            )
        try:
            file = os.open(self._path(frame.name), _READING)
        except OSError as error:
            raise bad_request(
                f"the frame {frame.name} cannot be opened: {error.strerror}; leave it there until "
                "the answer has come"
            ) from None
        try:
            return _copied(file, frame)
        finally:
            os.close(file)

    def write(self, name: str, content: bytes) -> None:
        """Lay a file there that this user alone may read.

        Raises OSError, and leaves nothing, where there is no room or it is there already.
        """
        file = os.open(self._path(name), _WRITING, _OURS_ALONE)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(file, rest) :]
        except OSError:
            self.remove(name)
            raise
        finally:
            os.close(file)

    def open(self, name: str) -> int:
        """Open a file there to look at it or to lock it. Raises OSError."""
        return os.open(self._path(name), _READING)

    def has(self, name: str) -> bool:
        """Whether there is anything of this name."""
        return os.path.lexists(self._path(name))

    def remove(self, name: str) -> None:
        """Take a file away; it may be gone, or another user's."""
        with suppress(OSError):
            Path(self._path(name)).unlink()

    def names(self) -> list[str]:
        """All that is there of Rota's."""
        return [path.name for path in Path(self.folder).iterdir() if path.name.startswith(START)]

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}"


def _copied(file: int, frame: Frame) -> bytes:
    status = os.fstat(file)
    fault = _fault(status)
    if fault is None and status.st_size != frame.size_bytes:
        fault = f"has {status.st_size} bytes, not {frame.size_bytes}"
    if fault is not None:
        raise bad_request(f"the frame {frame.name} {fault}")
    parts, rest = [frame.head] if frame.head else [], frame.size_bytes
    while rest:
        part = os.read(file, rest)
        if not part:
            raise bad_request(f"the frame {frame.name} shrank while it was read")
        parts.append(part)
        rest -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _fault(status: os.stat_result) -> str | None:
    """What makes a file one that is not read on the word of a message."""
    if not stat.S_ISREG(status.st_mode):
        return "is no plain file"
    if status.st_nlink != 1:
        return "has other names as well, or is being taken away"
    if status.st_uid != os.geteuid() and not status.st_mode & stat.S_IROTH:
        return (
            "belongs to another user; run both as the same user, or let everybody read it (chmod "
            "o+r)"
        )
    return None
