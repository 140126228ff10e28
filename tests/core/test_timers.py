"""Alarms by key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.timers import TimerKind, Timers


def due(timers, now):
    return [subject for _, subject in timers.pop_due(now)]


def test_alarms_go_off_earliest_first_and_ties_in_the_order_of_setting():
    timers = Timers()
    for subject, at in ((1, 20), (2, 10), (3, 20)):
        timers.set(TimerKind.LEASE, subject, at)
    assert timers.next_ns() == 10
    assert due(timers, 20) == [2, 1, 3]
    assert timers.next_ns() is None


def test_an_alarm_that_is_moved_goes_off_once_and_at_its_new_time():
    timers = Timers()
    timers.set(TimerKind.RUN, 1, 10)
    timers.set(TimerKind.RUN, 1, 30)
    assert due(timers, 29) == []
    assert due(timers, 30) == [1]
    assert due(timers, 99) == []


def test_a_cleared_alarm_is_silent_and_clearing_it_again_is_no_error():
    timers = Timers()
    timers.set(TimerKind.RUN, 1, 10)
    timers.clear(TimerKind.RUN, 1)
    timers.clear(TimerKind.RUN, 1)
    assert timers.next_ns() is None
    assert due(timers, 99) == []


def test_an_alarm_set_while_others_go_off_is_heard_in_the_same_round():
    timers = Timers()
    timers.set(TimerKind.RUN, 1, 10)
    heard = []
    for _, subject in timers.pop_due(20):
        heard.append(subject)
        if subject == 1:
            timers.set(TimerKind.RUN, 2, 15)
    assert heard == [1, 2]


def test_alarms_that_were_moved_a_thousand_times_do_not_pile_up():
    timers = Timers()
    for at in range(1000):
        timers.set(TimerKind.LEASE, 1, at)
    assert len(timers._heap) < 100
    assert due(timers, 998) == []
    assert due(timers, 999) == [1]


@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 50)))))
def test_alarms_behave_like_a_dictionary_that_is_searched(steps):
    timers, model = Timers(), {}
    for subject, at in steps:
        if at is None:
            timers.clear(TimerKind.LOAD, str(subject))
            model.pop(str(subject), None)
        else:
            timers.set(TimerKind.LOAD, str(subject), at)
            model[str(subject)] = at
        assert timers.next_ns() == min(model.values(), default=None)
    assert sorted(due(timers, 25)) == sorted(s for s, at in model.items() if at <= 25)
