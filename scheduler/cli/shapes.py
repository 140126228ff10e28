"""The shapes of a model's inputs, as they are written on a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.plugin.builder import BuildRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.plugin.builder import Shape

_LARGEST = 2**31 - 1
_FORMS = 3


def read_shapes(texts: Sequence[str]) -> dict[str, tuple[Shape, Shape, Shape]]:
    """Read `name=LEAST,USUAL,LARGEST` (or one shape for all three), each as `1x3x480x640`.

    Raises:
        BuildRefused: one is not written so; the sentence says which.
    """
    shapes = {}
    for text in texts:
        name, given, sizes = text.rpartition("=")
        if not given or not name:
            raise _wrong(text)
        spans = [_shape(text, part) for part in sizes.split(",")]
        if len(spans) == 1:
            spans *= _FORMS
        if len(spans) != _FORMS:
            raise _wrong(text)
        if name in shapes:
            raise BuildRefused(f"--shapes: input {name} is given twice")
        shapes[name] = (spans[0], spans[1], spans[2])
    return shapes


def _shape(text: str, part: str) -> Shape:
    sizes = part.strip().split("x")
    if not all(size.isascii() and size.isdecimal() and 0 < int(size) <= _LARGEST for size in sizes):
        raise _wrong(text)
    return tuple(int(size) for size in sizes)


def _wrong(text: str) -> BuildRefused:
    example = "x=1x3x32x32,1x3x480x640,4x3x480x640"
    return BuildRefused(f'--shapes "{text}": write NAME=LEAST,USUAL,LARGEST, as "{example}"')
