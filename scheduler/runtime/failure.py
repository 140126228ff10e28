"""What went wrong in a plugin, without anything that keeps its engine alive."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.errors import EngineError, EngineOutOfMemory


@dataclass(frozen=True, slots=True)
class Failure:
    """A plugin's exception without its frames, and what to tell people of it."""

    text: str
    exception: BaseException
    out_of_memory: bool = False

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Turn `error` into text and strip its frames, whose locals keep the engine alive."""
        strip_frames(error)
        return cls(describe(error), error, is_out_of_memory(error))


def is_out_of_memory(error: object) -> bool:
    """Whether it was raised as memory was short."""
    return isinstance(error, (EngineOutOfMemory, MemoryError))


def describe(error: BaseException) -> str:
    """One line: the sentence of an error that was raised on purpose, else type and text."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - a plugin's own exception class may be broken as well
        return name
    if isinstance(error, EngineError) and text:
        return text
    return f"{name}: {text}" if text else name


def strip_frames(error: BaseException) -> None:
    """Take the traceback off `error` and off every exception that it leads to."""
    seen: set[int] = set()
    open_ends: list[BaseException | None] = [error]
    while open_ends:
        current = open_ends.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        current.__traceback__ = None
        open_ends += (current.__cause__, current.__context__)
        members = getattr(current, "exceptions", ())  # an exception group's, from Python 3.11 on
        if isinstance(members, tuple):
            open_ends += [member for member in members if isinstance(member, BaseException)]
