"""Whom a request is handed to, who inherits, and what a request says on its way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.model import SECOND_NS
from scheduler.transport.journey import handed_on, not_again, path_of, with_rest
from scheduler.transport.member import GONE, SILENT_NS, Members, Record, read_record
from scheduler.transport.message import Message
from scheduler.transport.receipt import Receipt


def members(*records, me="m"):
    known = Members(me)
    for record in records:
        known.take(record.member, record, 0)
    return known


def record(name, room=1, *, loaded=False, **said):
    return Record(name, f"rota-{name}-fleet", room=room, models={"faces": loaded}, **said)


def chosen(known, past=(), now_ns=0, **said):
    return known.choose("faces", past, now_ns, needs_room=said.get("needs_room", True))


def test_who_has_the_model_in_memory_comes_before_who_has_more_room():
    assert chosen(members(record("a", room=9), record("b", room=1, loaded=True))) == "b"
    assert chosen(members(record("a", room=2), record("b", room=3))) == "b"


def test_who_has_no_room_is_asked_only_for_what_is_refused():
    known = members(record("a", room=0))
    assert chosen(known) is None
    assert chosen(known, needs_room=False) == "a"


def test_what_was_given_counts_until_the_member_speaks_again():
    known = members(record("a", room=1))
    known.gave("a")
    assert chosen(known) is None
    known.take("a", record("a", room=1), 0)
    assert chosen(known) == "a"


def test_who_does_not_get_what_is_handed_over_gets_nothing_until_it_speaks():
    known = members(record("a"))
    known.shut("a")
    assert chosen(known, needs_room=False) is None
    known.take("a", record("a"), 0)
    assert chosen(known) == "a"


def test_nobody_is_asked_twice_or_for_what_it_cannot_run():
    known = members(record("a"), record("b"))
    assert chosen(known, past={"a"}) == "b"
    assert chosen(known, past={"a", "b"}) is None
    assert known.choose("speech", (), 0, needs_room=False) is None


def test_the_silent_and_the_gone_get_nothing():
    known = members(record("a"), record("b", state=GONE))
    assert chosen(known) == "a"
    assert chosen(known, now_ns=SILENT_NS + 1) is None


def test_the_first_by_name_inherits_from_the_gone():
    gone = record("z", state=GONE)
    assert [r.member for r in members(gone, record("n")).to_inherit(0)] == ["z"]
    assert members(gone, record("a")).to_inherit(0) == []


def test_silence_makes_an_heir_only_of_who_hears_itself():
    known, late_ns = members(record("z")), SILENT_NS + SECOND_NS
    assert known.to_inherit(late_ns) == []
    known.take("m", record("m"), late_ns)
    assert [r.member for r in known.to_inherit(late_ns)] == ["z"]
    assert known.to_inherit(0) == []


def test_a_will_says_what_was_known_when_the_connection_was_made_so_the_later_counts_as_well():
    known = members(record("a"))
    known.take("a", Record("a", "rota-a", GONE, models={"speech": False}), 0)
    (gone,) = known.to_inherit(0)
    assert set(gone.models) == {"faces", "speech"}


def test_a_record_that_is_taken_away_is_forgotten():
    known = members(record("a", state=GONE))
    known.take("a", None, 0)
    assert known.to_inherit(0) == []


def test_a_record_is_read_back_as_it_was_written():
    said = record("a", room=3, loaded=True, taken=7)
    assert read_record("a", said.to_bytes()) == Record(
        "a", "rota-a-fleet", room=3, models={"faces": True}
    )


def test_a_record_cannot_have_others_thrown_out_of_the_broker():
    assert read_record("a", Record("a", "rota-a", state=GONE).to_bytes()) is None


@given(st.one_of(st.binary(), st.from_regex(rb'\{"state": ?"here".{0,40}\}')))
def test_whatever_stands_there_is_a_record_or_none(payload):
    read = read_record("a", payload)
    assert read is None or read.room >= 0


def test_a_request_takes_its_path_and_what_is_left_of_its_time_along():
    message = Message(topic="t", expiry_s=9, user=(("deadline-ms", "500"), ("stream", "s")))
    rest = with_rest(message, 250_500_000, 3 * SECOND_NS)
    assert (rest.expiry_s, rest.user) == (6, (("stream", "s"), ("deadline-ms", "250.500")))
    once = handed_on(rest, "u", "n1+")
    twice = handed_on(once, "v", "n2")
    assert (twice.topic, path_of(twice)) == ("v", ("n1+", "n2"))
    assert [key for key, _ in twice.user] == ["stream", "deadline-ms", "fleet-path"]


def test_who_had_no_room_may_be_asked_again_for_what_others_refuse():
    assert not_again(("n1+", "n2"), is_refused=False) == {"n1", "n2"}
    assert not_again(("n1+", "n2"), is_refused=True) == {"n2"}


def test_a_receipt_is_given_once():
    given_to = []
    receipt = Receipt(lambda: given_to.append(1))
    assert not receipt.is_given
    receipt.give()
    receipt.give()
    assert receipt.is_given
    assert given_to == [1]
