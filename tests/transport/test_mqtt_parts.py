"""The parts between the broker and the scheduler, each on its own, without a broker."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.transport.answer import Answer
from scheduler.transport.backoff import (
    FIRST_S,
    MOST_S,
    RIVAL_CLOSES,
    RIVAL_FIRST_S,
    STEADY_S,
    Backoff,
)
from scheduler.transport.board import ordinal
from scheduler.transport.inbox import Inbox, Work
from scheduler.transport.message import Message
from scheduler.transport.outbox import Outbox
from scheduler.transport.presence import Presence
from scheduler.transport.refusal import Refusal
from scheduler.transport.remembered import Remembered
from scheduler.transport.replies import Reply
from scheduler.transport.terms import Terms

MS_NS = 1_000_000
REPLY = Reply("reply/me", "7")


# -- Backoff ----------------------------------------------------------------------------------


def test_attempts_come_ever_later_up_to_a_bound():
    backoff = Backoff(draw=lambda: 0.0)
    delays = [backoff.delay_s(None) for _ in range(12)]
    assert delays[:3] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert delays[-1] == MOST_S
    assert not backoff.has_rival


def test_each_wait_is_shortened_at_random_by_up_to_half():
    assert Backoff(draw=lambda: 1.0).delay_s(None) == FIRST_S / 2


def test_a_connection_ends_a_row_of_failures():
    backoff = Backoff(draw=lambda: 0.0)
    for _ in range(5):
        backoff.delay_s(None)
    assert backoff.delay_s(0.5) == FIRST_S


def test_two_that_throw_each_other_out_do_so_ever_more_slowly():
    backoff = Backoff(draw=lambda: 0.0)
    delays = [backoff.delay_s(0.1) for _ in range(RIVAL_CLOSES - 1)]
    assert not backoff.has_rival
    assert max(delays) < 0.1
    delays = [backoff.delay_s(4.0) for _ in range(8)]
    assert backoff.has_rival
    assert delays[:3] == [RIVAL_FIRST_S, 10.0, 20.0]
    assert delays[-1] == 300.0
    backoff.delay_s(STEADY_S)
    assert not backoff.has_rival


def test_a_broker_that_was_away_is_no_rival():
    backoff = Backoff(draw=lambda: 0.0)
    for _ in range(20):
        backoff.delay_s(3.0)
        backoff.delay_s(None)
        assert not backoff.has_rival


def test_a_broker_that_tells_of_a_rival_is_believed_at_once():
    assert Backoff(draw=lambda: 0.0).delay_s(0.1, taken_over=True) == RIVAL_FIRST_S


# -- Remembered -------------------------------------------------------------------------------


def test_a_request_under_way_is_not_run_again_and_all_who_ask_are_answered():
    seen = Remembered()
    assert seen.find("k", 1, REPLY, 0) is None
    seen.add("k", 1, REPLY, 0)
    again = Reply("reply/me", "7", correlation=b"2")
    assert seen.find("k", 1, Reply("reply/me", "8"), 1).answer is None
    assert seen.find("k", 1, again, 1).answer is None
    assert seen.answered("k", Answer(b"x")) == [REPLY, again]
    assert seen.find("k", 1, REPLY, 2).answer == Answer(b"x")
    assert seen.duplicates == 3


def test_another_body_under_the_same_id_is_a_conflict():
    seen = Remembered()
    seen.add("k", 1, REPLY, 0)
    with pytest.raises(Refusal) as caught:
        seen.find("k", 2, REPLY, 0)
    assert caught.value.code == "id_conflict"


def test_what_was_refused_for_now_may_be_tried_again():
    seen = Remembered()
    seen.add("k", 1, REPLY, 0)
    seen.answered("k", Answer(b"x"))
    seen.forget("k")
    assert seen.find("k", 1, REPLY, 0) is None


def test_memory_of_requests_is_bounded_by_count_time_and_bytes():
    seen = Remembered(keep_ns=1000, limit=100, limit_bytes=500)
    for number in range(100_000):
        seen.add(number, number, REPLY, 0)
    assert len(seen) == 100
    for number in range(99_900, 100_000):
        seen.answered(number, Answer(b"x" * 10))
    assert len(seen) == 50
    assert seen.find(99_999, 99_999, REPLY, 999) is not None
    assert seen.find(99_999, 99_999, REPLY, 1000) is None
    assert len(seen) == 0
    seen.add("new", 1, REPLY, 1000)
    assert seen.answered("new", Answer(b"x" * 500)) == [REPLY]
    assert len(seen) == 1


# -- Inbox ------------------------------------------------------------------------------------


class Tray:
    """An inbox with what it has started and dropped."""

    def __init__(self, **limits):
        self.started, self.dropped = [], []
        limits = {"in_flight": 2, "limit": 3, "limit_bytes": 1000, **limits}
        self.inbox = Inbox(start=self.started.append, drop=self.dropped.append, **limits)

    def put(self, name="r", deadline_ms=None, size=10, now_ns=0):
        deadline_ns = None if deadline_ms is None else deadline_ms * MS_NS
        work = Work(
            model=name,
            message=Message(topic="t"),
            content_type="x",
            terms=Terms(deadline_ns=deadline_ns),
            reply=REPLY,
            arrived_ns=now_ns,
            held_bytes=size,
        )
        self.inbox.put(work, now_ns)
        return work


def test_some_are_handled_some_wait_and_the_rest_is_busy():
    tray = Tray()
    works = [tray.put() for _ in range(5)]
    with pytest.raises(Refusal) as caught:
        tray.put()
    assert (caught.value.code, caught.value.retry_after_ms) == ("busy", 100)
    assert tray.started == works[:2]
    tray.inbox.done(works[0], 0)
    assert tray.started == works[:3]
    assert (len(tray.inbox), tray.inbox.busy) == (2, 1)
    tray.put()


def test_what_has_gone_stale_makes_room_oldest_first():
    tray = Tray()
    running = [tray.put(), tray.put()]
    stale = [tray.put(deadline_ms=20), tray.put(deadline_ms=10)]
    fresh = tray.put()
    tray.put(now_ns=30 * MS_NS)
    assert tray.dropped == stale
    assert tray.inbox.stale == 2
    tray.inbox.done(running[0], 30 * MS_NS)
    assert tray.started[-1] is fresh


def test_stale_requests_are_not_started_when_their_turn_comes():
    tray = Tray(in_flight=1)
    first, stale, fresh = tray.put(), tray.put(deadline_ms=5), tray.put()
    tray.inbox.done(first, 5 * MS_NS)
    assert tray.started == [first, fresh]
    assert tray.dropped == [stale]


def test_bytes_are_bounded_over_all_in_hand():
    tray = Tray()
    first = tray.put(size=600)
    with pytest.raises(Refusal, match="try later"):
        tray.put(size=600)
    tray.inbox.done(first, 0)
    tray.put(size=600)
    with pytest.raises(Refusal) as caught:
        tray.put(size=1001)
    assert caught.value.code == "too_large"


steps = st.lists(
    st.tuples(st.sampled_from(["put", "done"]), st.integers(0, 400), st.integers(1, 50)),
    max_size=60,
)


@given(steps)
def test_every_request_is_started_once_dropped_or_refused(moves):
    tray, now_ns, taken, done = Tray(), 0, [], 0
    for move, size, ms in moves:
        now_ns += ms * MS_NS
        if move == "put":
            try:
                taken.append(tray.put(deadline_ms=ms, size=size, now_ns=now_ns))
            except Refusal:
                continue
        elif done < len(tray.started):
            tray.inbox.done(tray.started[done], now_ns)
            done += 1
        running = tray.started[done:]
        assert len(running) <= 2
        assert len(tray.inbox) <= 3
        assert tray.inbox.held_bytes <= 1000
    while done < len(tray.started):
        tray.inbox.done(tray.started[done], now_ns)
        done += 1
    ends = Counter(map(id, tray.started + tray.dropped))
    assert ends == Counter(map(id, taken))
    assert (tray.inbox.held_bytes, len(tray.inbox)) == (0, 0)


# -- Outbox -----------------------------------------------------------------------------------


def letter(outbox, name, now_ns=0, size=0):
    return outbox.letter(Message(topic=name, payload=b"x" * size), now_ns)


def names(letters):
    return [one.message.topic for one in letters]


def test_what_was_not_acknowledged_goes_again_before_what_came_later():
    outbox = Outbox()
    outbox.sent(1, letter(outbox, "a"))
    outbox.sent(2, letter(outbox, "b"))
    outbox.keep(letter(outbox, "c"))
    assert outbox.acknowledged(1).message.topic == "a"
    assert outbox.acknowledged(1) is None
    outbox.connection_lost()
    assert names(outbox.take(0)) == ["b", "c"]
    assert len(outbox) == 0


def test_what_breaks_every_connection_is_given_up():
    outbox = Outbox()
    outbox.keep(letter(outbox, "poison", size=10))
    for attempt in range(3):
        [poison] = outbox.take(0)
        outbox.sent(attempt, poison)
        given_up = outbox.connection_lost()
    assert names(given_up) == ["poison"]
    assert (len(outbox), outbox.lost) == (0, 1)


def test_an_answer_that_is_too_old_is_given_up_and_counted():
    outbox = Outbox(keep_ns=100)
    outbox.keep(letter(outbox, "a", 0))
    outbox.keep(letter(outbox, "b", 50))
    assert names(outbox.take(100)) == ["b"]
    assert outbox.lost == 1


def test_the_outbox_is_bounded_by_count_and_bytes():
    outbox = Outbox(limit=3, limit_bytes=1000)
    for number in range(5):
        outbox.keep(letter(outbox, str(number)))
    assert names(outbox.take(0)) == ["2", "3", "4"]
    outbox.sent(1, letter(outbox, "a", size=600))
    outbox.keep(letter(outbox, "b", size=600))
    assert outbox.lost == 3
    outbox.connection_lost()
    assert names(outbox.take(0)) == ["a"]
    for number in range(50):
        outbox.sent(number, letter(outbox, "a", size=400))
        outbox.acknowledged(number)
    assert (len(outbox), outbox.lost) == (0, 3)


# -- Presence ---------------------------------------------------------------------------------


class Line:
    """A connection that keeps what is sent."""

    is_up = True

    def __init__(self):
        self.states = []

    def send(self, message, *, keeps):
        assert message.retain
        assert not keeps
        self.states.append(message)


def presence(session="s1"):
    line, faults = Line(), []
    there = Presence("rota/n/status", session, says=lambda: (list(faults), {}))
    there.speak_through(line)
    return there, line, faults


def test_a_status_is_published_when_it_changes():
    there, line, faults = presence()
    there.will()
    there.came_up()
    there.refresh()
    faults.append("the scheduler does not get on")
    there.refresh()
    assert [b'"online"' in m.payload for m in line.states] == [True, False]
    assert b"does not get on" in line.states[1].payload


def test_an_old_will_is_answered_and_ones_own_words_are_not():
    there, line, _ = presence()
    old_will = there.will()
    there.will()
    there.came_up()
    there.take(line.states[-1])
    assert len(line.states) == 1
    there.take(old_will)
    other, other_line, _ = presence("s0")
    other.will()
    other.leave()
    there.take(other_line.states[-1])
    there.take(Message(topic="rota/n/status", payload=b"", retain=True))
    assert len(line.states) == 4


def test_another_node_of_the_same_name_is_complained_about_once(caplog):
    there, line, _ = presence()
    other, other_line, _ = presence("s0")
    other.came_up()
    there.came_up()
    for _ in range(3):
        there.take(other_line.states[-1])
    assert caplog.text.count("another node calls itself rota/n") == 1
    assert len(line.states) == 1


@given(st.binary(max_size=60) | st.sampled_from([b"[" * 9000, b"null", b'{"state": []}']))
def test_anything_may_stand_on_the_status_topic(payload):
    there, line, _ = presence()
    there.take(Message(topic="rota/n/status", payload=payload))
    assert len(line.states) <= 1


def test_places_in_line_have_their_endings():
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 102, 111)] == (
        ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"]
    )
