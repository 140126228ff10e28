"""Quantities with their units: sizes, durations and rates."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Annotated, TypeVar

from pydantic import PlainValidator, ValidationInfo

SIZE_MAX_BYTES = 2**50
"""1 PiB: more than any machine has; a larger size is a slip of the pen."""
DURATION_MAX_NS = 366 * 24 * 3600 * 1_000_000_000
"""A leap year: whoever means longer means `none` or `forever`."""
RATE_MAX_HZ = 1_000_000.0

_QUANTITY = re.compile(r"(-?)([0-9]{1,24}(?:\.[0-9]{1,24})?) ?([A-Za-z]*)", re.ASCII)
_SHOWN_MAX = 60


def quoted(value: object) -> str:
    """Show a value in a message: short, on one line, in double quotes."""
    if isinstance(value, (Mapping, list, tuple)):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    if isinstance(value, bool):
        return f'"{str(value).lower()}"'
    if isinstance(value, int) and abs(value) >= 10**_SHOWN_MAX:
        return "a number of that size"
    text = str(value)
    text = text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."
    return json.dumps(text, ensure_ascii=not text.isprintable())


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of quantity is written. `factors` turns a unit into `whole`s."""

    noun: str
    whole: str
    factors: Mapping[str, int]
    usual: Mapping[str, tuple[str, ...]]
    most: int
    most_text: str

    def hint(self, number: str, unit: str = "") -> str:
        """Say how `number` could be written, guessing from the start of a wrong `unit`."""
        for start, units in self.usual.items():
            if unit.lower().startswith(start):
                return "write " + " or ".join(number + unit for unit in units)
        raise AssertionError(unit)  # the last start of `usual` is "", which fits all

    def read(self, text: str) -> int:
        """Read `text` as a whole number of `whole`s. Raises ValueError."""
        match = _QUANTITY.fullmatch(text.strip(" "))
        if not match:
            raise ValueError(self._not_this_kind(text))
        sign, number, unit = match.groups()
        if sign:
            raise ValueError(f"{quoted(text)} is negative; a {self.noun} is at least 0")
        if not unit:
            raise ValueError(f"{quoted(text)} has no unit; {self.hint(number)}")
        if unit not in self.factors:
            raise ValueError(f'{quoted(text)}: "{unit}" is no unit; {self.hint(number, unit)}')
        amount = Fraction(number) * self.factors[unit]
        if amount % 1 and (amount < 1 or self.factors[unit] == 1):
            raise ValueError(f"{quoted(text)} is not a whole number of {self.whole}")
        return self.within(round(amount), text)

    def within(self, amount: int, value: object) -> int:
        """Return `amount` if it is not absurdly large. Raises ValueError."""
        if amount > self.most:
            raise ValueError(f"{quoted(value)} is too large; {self.most_text}")
        return amount

    def _not_this_kind(self, text: str) -> str:
        if re.fullmatch(r"[0-9]+,[0-9]+ ?[A-Za-z]*", text, re.ASCII):
            point = text.replace(",", ".")
            return f'{quoted(text)} has a comma; write "{point}"'
        return f"{quoted(text)} is not a {self.noun}; write one like {_EXAMPLES[self.noun]}"


_EXAMPLES = {"size": "300MiB or 1.5GB", "duration": "100ms or 2s", "rate": "30Hz"}

_SIZE = _Kind(
    noun="size",
    whole="bytes",
    factors={"B": 1}
    | {f"{letter}iB": 1024**n for n, letter in enumerate("KMGT", 1)}
    | {f"{letter}B": 1000**n for n, letter in enumerate("kMGT", 1)},
    usual={
        "k": ("KiB", "kB"),
        "g": ("GiB", "GB"),
        "t": ("TiB", "TB"),
        "b": ("B",),
        "": ("MiB", "MB"),
    },
    most=SIZE_MAX_BYTES,
    most_text="no machine has that much memory",
)
_DURATION = _Kind(
    noun="duration",
    whole="nanoseconds",
    factors={
        "ns": 1,
        "us": 1000,
        "ms": 1_000_000,
        "s": 1_000_000_000,
        "m": 60_000_000_000,
        "h": 3_600_000_000_000,
    },
    usual={
        "n": ("ns",),
        "u": ("us",),
        "ms": ("ms",),
        "mil": ("ms",),
        "mic": ("us",),
        "m": ("m",),
        "h": ("h",),
        "s": ("s",),
        "": ("ms", "s"),
    },
    most=DURATION_MAX_NS,
    most_text="a duration is at most a year",
)
_RATE = _Kind(
    noun="rate",
    whole="nanohertz",
    factors={"Hz": 1_000_000_000},
    usual={"": ("Hz",)},
    most=int(RATE_MAX_HZ) * 1_000_000_000,
    most_text="a rate is at most 1000000Hz",
)


class Nanoseconds(int):
    """A duration that has been read. Read again it stays what it is, where 5 would mean 5 s."""

    __slots__ = ()


def _read_number(value: object, kind: _Kind, *, from_file: bool) -> float:
    """Return a program's plain number, or say why it is none. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(  # noqa: TRY004 - pydantic gathers ValueErrors
            f"{quoted(value)} is not a {kind.noun}; write one like {_EXAMPLES[kind.noun]}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{quoted(value)} is not a finite number")
    if value < 0:
        raise ValueError(f"{quoted(value)} is negative; a {kind.noun} is at least 0")
    if from_file:
        raise ValueError(f"{quoted(value)} has no unit; {kind.hint(str(value))}")
    return value


def read_size(value: object, *, from_file: bool = False, positive: bool = False) -> int:
    """Read a size such as `300MiB` (1024-based) or `512MB` (1000-based) as bytes.

    From a program (`from_file` false) a plain int is bytes. `positive` refuses 0. Raises
    ValueError.
    """
    amount = _SIZE.read(value) if isinstance(value, str) else _bytes(value, from_file=from_file)
    if positive and amount == 0:
        raise ValueError(f"{quoted(value)} is no memory at all; write more than 0")
    return amount


def _bytes(value: object, *, from_file: bool) -> int:
    number = _read_number(value, _SIZE, from_file=from_file)
    if not isinstance(number, int):
        raise ValueError(f"{quoted(value)} is not a whole number of bytes")  # noqa: TRY004 - pydantic gathers ValueErrors
    return _SIZE.within(number, value)


def _billions(number: float) -> int:
    exact = number if isinstance(number, int) else Fraction(str(number))
    return round(exact * 1_000_000_000)


def read_duration(value: object, *, from_file: bool = False, positive: bool = False) -> Nanoseconds:
    """Read a duration such as `100ms` or `5m` as nanoseconds.

    From a program (`from_file` false) a plain number is seconds. `positive` refuses 0. Raises
    ValueError.
    """
    if isinstance(value, Nanoseconds):
        amount = int(value)
    elif isinstance(value, str):
        amount = _DURATION.read(value)
    else:
        number = _read_number(value, _DURATION, from_file=from_file)
        amount = _DURATION.within(_billions(number), value)
    if positive and amount == 0:
        raise ValueError(f"{quoted(value)} is no time at all; write more than 0")
    return Nanoseconds(amount)


def read_rate(value: object, *, from_file: bool = False) -> float:
    """Read a rate such as `30Hz` as hertz; from a program a plain number is hertz.

    Raises ValueError.
    """
    if isinstance(value, str):
        hertz = _RATE.read(value) / 1_000_000_000
    else:
        number = _read_number(value, _RATE, from_file=from_file)
        hertz = _RATE.within(_billions(number), value) / 1_000_000_000
    if hertz <= 0:
        raise ValueError(f"{quoted(value)} is no rate; write more than 0Hz")
    return hertz


T = TypeVar("T")


def _validator(read: Callable[..., T]) -> PlainValidator:
    def validate(value: object, info: ValidationInfo) -> T:
        return read(value, from_file=info.context is not None)

    return PlainValidator(validate)


def _or_none(read: Callable[..., T], word: str) -> PlainValidator:
    """Read `word` as None too; in a file only the word, for an empty value is a slip."""

    def validate(value: object, *, from_file: bool) -> T | None:
        if value == word or (value is None and not from_file):
            return None
        if value is None:
            raise ValueError(f"has no value; write {word}, or remove the key")
        if str(value) == "-1":
            raise ValueError(f'"-1" is negative; write {word}')
        return read(value, from_file=from_file)

    return _validator(validate)


_read_positive = partial(read_duration, positive=True)

Size = Annotated[int, _validator(read_size)]
"""Bytes. `300MiB`, `1.5GiB`, `512MB`, `600kB`, `64B`; in a program also an int of bytes."""
PositiveSize = Annotated[int, _validator(partial(read_size, positive=True))]
"""Bytes, more than 0."""
SizeOrNone = Annotated[int | None, _or_none(read_size, "none")]
"""Bytes, or `none`."""
Duration = Annotated[int, _validator(read_duration)]
"""Nanoseconds. `50us`, `100ms`, `2s`, `5m`, `1h`; in a program also a number of seconds."""
PositiveDuration = Annotated[int, _validator(_read_positive)]
"""Nanoseconds, more than 0."""
PositiveDurationOrNone = Annotated[int | None, _or_none(_read_positive, "none")]
"""Nanoseconds, more than 0, or `none`."""
DurationOrForever = Annotated[int | None, _or_none(read_duration, "forever")]
"""Nanoseconds, or `forever`, which is None."""
PositiveDurationOrOff = Annotated[int | None, _or_none(_read_positive, "off")]
"""Nanoseconds, more than 0, or `off`, which is None."""
Rate = Annotated[float, _validator(read_rate)]
"""Hertz. `30Hz`, `7.5Hz`; in a program also a number of hertz."""
