"""What it takes to simulate an hour of a rover that is asked for 100 things a second."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from goal import CONSOLE, judge

CONFIG = Path(__file__).with_name("rover_100.yaml")
MIB = 2**20
MINUTE_S, HOUR_S = 60, 3600
LIMIT_S = 30.0
LOOK_S = 0.05
GROWTH_LIMIT = 1.25
REQUESTS_PER_S = 100


@dataclass(frozen=True)
class Effort:
    """What one `rota simulate` took, and how many frames its sources sent."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    frames: int


def simulate(duration_s: int, folder: Path) -> Effort:
    command = [sys.executable, "-m", "scheduler", "simulate", str(CONFIG), "--json"]
    report = folder / f"{duration_s}.json"
    began = time.monotonic()
    with report.open("wb") as file:
        process = psutil.Popen([*command, "--duration", f"{duration_s}s"], stdout=file)
        peak_bytes, cpu_s = 0, 0.0
        while process.poll() is None:
            try:  # What the system says at the end counts what this process had before it started.
                peak_bytes = max(peak_bytes, process.memory_info().rss)
                cpu_s = sum(process.cpu_times()[:2])
            except psutil.NoSuchProcess:
                break
            time.sleep(LOOK_S)
        assert process.wait() == 0
    sent = [source["sent"] for source in json.loads(report.read_bytes())["sources"].values()]
    return Effort(time.monotonic() - began, cpu_s, peak_bytes, sum(sent))


@pytest.fixture(scope="module")
def minutes(tmp_path_factory: pytest.TempPathFactory) -> Effort:
    return simulate(10 * MINUTE_S, tmp_path_factory.mktemp("minutes"))


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Effort:
    return simulate(HOUR_S, tmp_path_factory.mktemp("hour"))


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
