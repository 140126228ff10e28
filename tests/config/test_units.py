from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.config.units import (
    DURATION_MAX_NS,
    SIZE_MAX_BYTES,
    Nanoseconds,
    quoted,
    read_duration,
    read_rate,
    read_size,
)

MIB = 1024**2


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("300MiB", 300 * MIB),
        ("1.5GiB", 1536 * MIB),
        ("512MB", 512_000_000),
        ("600kB", 600_000),
        ("1KiB", 1024),
        ("64B", 64),
        ("2TB", 2 * 10**12),
        ("300 MiB", 300 * MIB),
        ("2.8GiB", 3_006_477_107),
        ("0MiB", 0),
    ],
)
def test_a_size_is_read_in_its_unit(text, size_bytes):
    assert read_size(text, from_file=True) == size_bytes


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (512, "write 512MiB or 512MB"),
        ("512", "write 512MiB or 512MB"),
        ("512M", "write 512MiB or 512MB"),
        ("512Mi", "write 512MiB or 512MB"),
        ("1.5G", "write 1.5GiB or 1.5GB"),
        ("9k", "write 9KiB or 9kB"),
        ("9KB", "write 9KiB or 9kB"),
        ("1,5GB", 'write "1.5GB"'),
        (True, "write one like 300MiB"),
        ("0.1B", "not a whole number of bytes"),
        ("0.0001KiB", "not a whole number of bytes"),
        ("-1", "is negative"),
        (-1, "is negative"),
        ("99999999999TB", "no machine has that much"),
        ("9" * 30 + "MiB", "not a size"),
        ("٣MiB", "not a size"),
        ("1e3MiB", "not a size"),
        ("MiB", "not a size"),
        ("1MiB\n", "not a size"),
    ],
)
def test_a_size_in_a_file_needs_one_clear_unit(value, remedy):
    with pytest.raises(ValueError, match=remedy):
        read_size(value, from_file=True)


def test_in_a_program_an_int_is_bytes():
    assert read_size(512) == 512
    assert read_size("1KiB") == 1024


@pytest.mark.parametrize("value", [1.5, True, -1, math.nan, math.inf, 2**60, None, "512", [1]])
def test_in_a_program_a_size_is_a_whole_number_or_has_a_unit(value):
    with pytest.raises(ValueError, match=r"bytes|size|finite|unit|memory"):
        read_size(value)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("50us", 50_000),
        ("100ms", 100_000_000),
        ("1.5s", 1_500_000_000),
        ("5m", 300_000_000_000),
        ("1h", 3_600_000_000_000),
        ("7ns", 7),
        ("0s", 0),
    ],
)
def test_a_duration_is_read_in_its_unit(text, nanoseconds):
    assert read_duration(text, from_file=True) == nanoseconds


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (300, "write 300ms or 300s"),
        ("300", "write 300ms or 300s"),
        ("5 min", "write 5m"),
        ("5 minutes", "write 5m"),
        ("3 sec", "write 3s"),
        ("2 hours", "write 2h"),
        ("3msec", "write 3ms"),
        ("3millis", "write 3ms"),
        ("3micros", "write 3us"),
        ("-2m", "is negative"),
        (True, "not a duration"),
        ("1e308", "not a duration"),
        ("NaN", "not a duration"),
        ("0.5ns", "not a whole number of nanoseconds"),
        ("9000h", "at most a year"),
    ],
)
def test_a_duration_in_a_file_needs_one_clear_unit(value, remedy):
    with pytest.raises(ValueError, match=remedy):
        read_duration(value, from_file=True)


def test_in_a_program_a_number_is_seconds():
    assert read_duration(2) == 2_000_000_000
    assert read_duration(0.1) == 100_000_000
    assert read_duration(1e-9) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -5, -1e-9, 1e308, 10**400, True])
def test_in_a_program_a_duration_is_finite_and_not_negative(value):
    with pytest.raises(ValueError, match=r"finite|negative|at most|not a duration"):
        read_duration(value)


def test_a_duration_that_was_read_is_not_read_as_seconds():
    once = read_duration("100ms")
    assert read_duration(once) == read_duration(once, from_file=True) == 100_000_000
    assert isinstance(once, Nanoseconds)


def test_zero_is_refused_where_it_has_no_meaning():
    for value in ("0s", 0, Nanoseconds(0)):
        with pytest.raises(ValueError, match="no time at all"):
            read_duration(value, positive=True)
    with pytest.raises(ValueError, match="no memory at all"):
        read_size("0MiB", positive=True)


@pytest.mark.parametrize(("value", "hertz"), [("30Hz", 30.0), ("7.5Hz", 7.5), ("0.1 Hz", 0.1)])
def test_a_rate_is_in_hertz(value, hertz):
    assert read_rate(value, from_file=True) == hertz


@pytest.mark.parametrize("value", [30, "30", "0Hz", "-1Hz", "30kHz", "30 fps", True, "9999999Hz"])
def test_a_rate_in_a_file_is_more_than_0_hz(value):
    with pytest.raises(ValueError, match=r"rate|Hz"):
        read_rate(value, from_file=True)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.binary()))
def test_any_value_is_a_quantity_within_bounds_or_a_value_error(value):
    for read, most in (
        (read_size, SIZE_MAX_BYTES),
        (read_duration, DURATION_MAX_NS),
        (read_rate, 1e6),
    ):
        for from_file in (True, False):
            with suppress(ValueError):
                assert 0 <= read(value, from_file=from_file) <= most


def test_a_number_of_any_length_is_refused_in_one_line():
    for read in (read_size, read_duration, read_rate):
        with pytest.raises(ValueError, match="a number of that size") as caught:
            read(10**5000)
        assert len(str(caught.value).splitlines()) == 1


@given(st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,6})?(B|kB|MB|GB|KiB|MiB|GiB)", fullmatch=True))
def test_sizes_are_exact(text):
    number = text.rstrip("BkMGiK")
    factors = {"B": 1, "kB": 1000, "MB": 10**6, "GB": 10**9}
    factors |= {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
    whole, _, part = number.partition(".")
    scale = 10 ** len(part)
    exact, rest = divmod(int(whole + part) * factors[text[len(number) :]], scale)
    try:
        assert abs(read_size(text) - exact) <= (1 if rest else 0)
    except ValueError:
        assert exact > SIZE_MAX_BYTES or (rest and (exact == 0 or text[len(number) :] == "B"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", '"a"'),
        ('say "x"', '"say \\"x\\""'),
        ("é", '"é"'),
        ("a\nb", '"a\\nb"'),
        ("\ud800", '"\\ud800"'),
        (True, '"true"'),
        (10**100, "a number of that size"),
        ([1], "a list"),
        ({}, "a mapping"),
        ("x" * 99, '"' + "x" * 60 + '..."'),
    ],
)
def test_a_value_is_shown_short_and_on_one_line(value, shown):
    assert quoted(value) == shown
