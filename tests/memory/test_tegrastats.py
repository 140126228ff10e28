"""tegrastats as a child that speaks, falls silent, dies and comes back: a script in its place."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from scheduler.memory.probe import is_fresh
from scheduler.memory.tegrastats import TegrastatsProbe, find_tegrastats

MIB = 1024**2
PERIOD_NS = 1_000_000_000


def until(holds, what):
    """Poll for a moment; fail with `what` when it does not come."""
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.005)


@pytest.fixture
def board(tmp_path):
    """A program that says the lines of a file, then stays silent; it notes its number and words."""
    program = tmp_path / "tegrastats"
    program.write_text(
        f"#!/bin/sh\necho $$ $* >> {tmp_path}/started\ncat {tmp_path}/lines\nexec sleep 600\n"
    )
    program.chmod(0o755)
    (tmp_path / "lines").write_text("garbage\n\nRAM 1000/4000MB (lfb 3x2MB)\nRAM 10")
    return tmp_path


@pytest.fixture
def probe(board):
    found = find_tegrastats(board.parent)
    assert found is None
    probe = TegrastatsProbe(str(board / "tegrastats"), first_pause_s=0.01)
    yield probe
    probe.close()


def starts(board):
    file = board / "started"
    return file.read_text().splitlines() if file.exists() else []


def test_the_last_whole_line_counts_and_has_its_own_time(board, probe):
    (first,) = probe.sample()
    assert first.available_bytes is None
    before_ns = time.monotonic_ns()
    until(lambda: probe.sample()[0].total_bytes, "no line")
    (sample,) = probe.sample()
    assert (sample.pool, sample.source) == ("unified", "tegrastats")
    assert (sample.total_bytes, sample.available_bytes) == (4000 * MIB, 3000 * MIB)
    assert sample.largest_block_bytes == 2 * MIB
    assert sample.trouble == ""
    assert before_ns <= sample.taken_at_ns <= time.monotonic_ns()
    assert probe.sample()[0].taken_at_ns == sample.taken_at_ns, "silent: it is as old as it is"
    assert starts(board)[0].split()[1:] == ["--interval", "1000"]
    assert is_fresh(sample, sample.taken_at_ns + 3 * PERIOD_NS, 50_000_000)
    assert not is_fresh(sample, sample.taken_at_ns + 3 * PERIOD_NS + 1, 50_000_000)


def test_killed_it_is_said_and_started_again(board, probe):
    probe.sample()
    until(lambda: probe.sample()[0].total_bytes, "no line")
    (board / "lines").write_text("RAM 2000/4000MB\n")
    os.kill(int(starts(board)[0].split()[0]), signal.SIGKILL)
    until(lambda: probe.sample()[0].available_bytes == 2000 * MIB, "it was not started again")
    assert len(starts(board)) == 2


def test_one_that_cannot_start_is_unknown_and_says_why(board, probe):
    (board / "tegrastats").unlink()
    probe.sample()
    until(lambda: "No such file" in probe.sample()[0].trouble, "no reason")
    (sample,) = probe.sample()
    assert (sample.total_bytes, sample.available_bytes) == (None, None)


def test_closed_no_child_is_left(board, probe):
    probe.sample()
    until(lambda: probe.sample()[0].total_bytes, "no line")
    pid = int(starts(board)[0].split()[0])
    probe.close()
    until(lambda: not psutil.pid_exists(pid), "the child lives on")
    assert len(starts(board)) == 1


@pytest.mark.parametrize("place", ["usr/bin", "home/nvidia"])
def test_it_is_found_where_each_release_has_it(tmp_path, place):
    assert find_tegrastats(tmp_path) is None
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "tegrastats").touch()
    assert find_tegrastats(tmp_path) == str(Path(tmp_path) / place / "tegrastats")
