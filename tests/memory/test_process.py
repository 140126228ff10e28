import os
from pathlib import Path

import numpy as np

from scheduler.memory.process import Baseline, resident_bytes

MIB = 1024**2


def test_it_is_the_resident_set_of_statm():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert abs(resident_bytes() - pages * os.sysconf("SC_PAGE_SIZE")) < 8 * MIB


def test_what_was_added_since_the_baseline_is_told():
    baseline = Baseline()
    added = np.ones(100 * MIB, np.uint8)
    assert 80 * MIB < baseline.above_bytes() < 130 * MIB
    assert added[0] == 1


def test_less_than_the_baseline_is_zero():
    assert Baseline(2**50).above_bytes() == 0
