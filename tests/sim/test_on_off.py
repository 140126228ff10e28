from __future__ import annotations

from itertools import takewhile

import pytest

from scheduler.config.source import Arrivals
from scheduler.core.model import SECOND_NS
from scheduler.sim.on_off import OnOff
from scheduler.source.arrivals import Schedule


def until(on_off: OnOff, end_s: float) -> list[float]:
    times = takewhile(lambda at: at < end_s * SECOND_NS, on_off.due_times())
    return [at / SECOND_NS for at in times]


def test_frames_come_only_while_it_is_on() -> None:
    on_off = OnOff(Schedule(2.0), on_ns=SECOND_NS, off_ns=3 * SECOND_NS)
    assert until(on_off, 9) == [0.0, 0.5, 4.0, 4.5, 8.0, 8.5]


@pytest.mark.parametrize("arrivals", list(Arrivals))
def test_every_kind_of_schedule_pauses_and_never_runs_backwards(arrivals: Arrivals) -> None:
    schedule = Schedule(20.0, arrivals, jitter_ns=SECOND_NS // 10, seed=3)
    times = until(OnOff(schedule, on_ns=2 * SECOND_NS, off_ns=5 * SECOND_NS), 70)
    assert times == sorted(times)
    assert all(at % 7 <= 2 for at in times)
    assert 320 < len(times) < 480, "20 Hz for two seconds in seven"


def test_without_a_pause_it_is_the_schedule_itself() -> None:
    on_off = OnOff(Schedule(10.0), on_ns=SECOND_NS, off_ns=0)
    assert until(on_off, 5) == [n / 10 for n in range(50)]


@pytest.mark.parametrize(("on_ns", "off_ns"), [(0, 1), (-1, 1), (1, -1)])
def test_no_time_at_all_is_refused(on_ns: int, off_ns: int) -> None:
    with pytest.raises(ValueError, match="give on_ns above 0"):
        OnOff(Schedule(1.0), on_ns=on_ns, off_ns=off_ns)
