from itertools import islice, pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.config.source import SourceConfig
from scheduler.source.arrivals import Arrivals, Schedule, schedule_of

MS = 1_000_000
S = 1_000_000_000


def first(schedule, number):
    return list(islice(schedule.due_times(), number))


def test_periodic_frames_do_not_drift_at_a_rate_without_a_whole_period():
    times = first(Schedule(30), 3001)
    assert times[:3] == [0, 33_333_333, 66_666_667]
    assert times[3000] == 100 * S


def test_jitter_moves_each_frame_from_its_own_place_and_not_from_the_one_before():
    times = first(Schedule(10, jitter_ns=20 * MS), 1001)
    moved = [at - n * 100 * MS for n, at in enumerate(times)]
    assert max(map(abs, moved)) <= 20 * MS
    assert min(moved) < -15 * MS
    assert max(moved) > 15 * MS


def test_the_seed_decides():
    for arrivals in (Arrivals.PERIODIC, Arrivals.POISSON):
        one, same = (first(Schedule(10, arrivals, 5 * MS, seed=1), 50) for _ in range(2))
        other = first(Schedule(10, arrivals, 5 * MS, seed=2), 50)
        assert one == same != other


def test_poisson_gaps_have_the_period_as_mean_and_as_deviation():
    times = first(Schedule(20, Arrivals.POISSON, seed=3), 20_001)
    gaps = [b - a for a, b in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(50 * MS, rel=0.03)
    assert deviation == pytest.approx(mean, rel=0.05)


def test_bursts_keep_the_mean_rate():
    times = first(Schedule(10, Arrivals.BURST, burst_frames=4), 9)
    assert times == [0] * 4 + [400 * MS] * 4 + [800 * MS]


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_without_a_period_is_refused(rate):
    with pytest.raises(ValueError, match="give one above 0"):
        Schedule(rate)


@given(
    arrivals=st.sampled_from(Arrivals),
    rate=st.floats(0.01, 10_000),
    jitter=st.integers(0, S),
    seed=st.integers(0, 2**63 - 1),
)
def test_times_never_decrease(arrivals, rate, jitter, seed):
    times = first(Schedule(rate, arrivals, jitter, seed), 50)
    assert times == sorted(times)
    assert times[0] >= 0


def until(schedule, end_s):
    return [at / S for at in takewhile(lambda at: at < end_s * S, schedule.due_times())]


def test_frames_come_only_while_their_source_is_active():
    schedule = Schedule(2.0, active_ns=S, idle_ns=3 * S)
    assert until(schedule, 9) == [0.0, 0.5, 4.0, 4.5, 8.0, 8.5]


@pytest.mark.parametrize("arrivals", list(Arrivals))
def test_every_kind_of_schedule_pauses_and_never_runs_backwards(arrivals):
    schedule = Schedule(20.0, arrivals, jitter_ns=S // 10, seed=3, active_ns=2 * S, idle_ns=5 * S)
    times = until(schedule, 70)
    assert times == sorted(times)
    assert all(at % 7 <= 2 for at in times)
    assert 320 < len(times) < 480, "20 Hz for two seconds in seven"


def test_without_a_pause_it_is_the_schedule_itself():
    assert until(Schedule(10.0, active_ns=S), 5) == [n / 10 for n in range(50)]


@pytest.mark.parametrize(("active_ns", "idle_ns"), [(0, 1), (-1, 1), (1, -1), (None, -1)])
def test_no_time_at_all_is_refused(active_ns, idle_ns):
    with pytest.raises(ValueError, match="give active_ns above 0"):
        Schedule(1.0, active_ns=active_ns, idle_ns=idle_ns)


def test_what_a_configuration_says_of_a_source_is_in_its_schedule():
    said = {"model": "a", "from": "synthetic", "rate": "4Hz", "arrivals": "burst", "size": 2}
    source = SourceConfig.model_validate({**said, "cycle": {"active": "1s", "idle": "2s"}})
    assert until(schedule_of(source, 0), 4) == [0.0, 0.0, 0.5, 0.5, 3.0, 3.0, 3.5, 3.5]
    assert schedule_of(SourceConfig.model_validate({"model": "a", "from": "microphone"}), 0) is None
