"""What it takes to simulate an hour of a rover that is asked for 100 things a second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from goal import CONSOLE, judge

CONFIG = Path(__file__).with_name("rover_100.yaml")
MIB = 2**20
MINUTE_S, HOUR_S = 60, 3600
LIMIT_S = 30.0
GROWTH_LIMIT = 1.25
REQUESTS_PER_S = 100


@dataclass(frozen=True)
class Effort:
    """What one `rota simulate` took, and how many frames its sources sent."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    frames: int


def simulate(duration_s: int) -> Effort:
    command = [sys.executable, "-m", "scheduler", "simulate", str(CONFIG)]
    began = time.monotonic()
    with subprocess.Popen(
        [*command, "--duration", f"{duration_s}s", "--json"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        report = json.load(process.stdout)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Effort(
        wall_s=time.monotonic() - began,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
        frames=sum(source["sent"] for source in report["sources"].values()),
    )


@pytest.fixture(scope="module")
def minutes() -> Effort:
    return simulate(10 * MINUTE_S)


@pytest.fixture(scope="module")
def hour() -> Effort:
    return simulate(HOUR_S)


def test_an_hour_takes_half_a_minute(hour: Effort) -> None:
    rate_hz = hour.frames / HOUR_S
    assert rate_hz > 0.95 * REQUESTS_PER_S
    CONSOLE.print(f"\n{hour.frames:,} requests, {rate_hz:.0f} a second")
    found = f"{hour.cpu_s:.1f} s of processor, {hour.wall_s:.1f} s by the clock"
    judge(f"an hour is simulated in {LIMIT_S:g} s", found, is_met=hour.cpu_s <= LIMIT_S)


def test_memory_is_flat(minutes: Effort, hour: Effort) -> None:
    goal = f"an hour takes at most {GROWTH_LIMIT:g} x the memory of ten minutes"
    found = f"{hour.peak_bytes / MIB:.0f} and {minutes.peak_bytes / MIB:.0f} MiB"
    judge(goal, found, is_met=hour.peak_bytes <= GROWTH_LIMIT * minutes.peak_bytes)
