"""The topic tree, and which response topics are open to clients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.transport.fleet_topics import FleetTopics
from scheduler.transport.refusal import Refusal
from scheduler.transport.topics import Address, ReplyRule, Topics, read_id

TOPICS = Topics("rota", "rover-1")


@pytest.mark.parametrize(
    ("topic", "address"),
    [
        ("rota/rover-1/models/faces/infer", Address("infer", "faces")),
        ("rota/rover-1/models/faces/infer/7", Address("infer", "faces", "7")),
        ("rota/rover-1/models//infer", Address("infer", "")),
        ("rota/rover-1/models/gesicht é/infer", Address("infer", "gesicht é")),
        ("rota/rover-1/control/load", Address("control", "load")),
        ("rota/rover-1/leases/acquire/9", Address("leases", "acquire", "9")),
        ("rota/rover-1/models/faces/infer/7/8", None),
        ("rota/rover-1/models/faces/result/7", None),
        ("rota/rover-1/models/a//b/infer", None),
        ("/rota/rover-1/models/faces/infer", None),
        ("rota/rover-10/models/faces/infer", None),
        ("rota/rover-1", None),
        ("", None),
    ],
)
def test_a_topic_is_read_by_its_levels(topic, address):
    assert TOPICS.read(topic) == address


def test_what_is_made_is_read_back():
    assert TOPICS.read(TOPICS.infer("faces", "7")) == Address("infer", "faces", "7")
    assert TOPICS.read(TOPICS.control("load")) == Address("control", "load")
    assert TOPICS.read(TOPICS.lease("renew")) == Address("leases", "renew")


def test_answers_never_come_in_as_requests_or_orders():
    for address in (Address("infer", "faces"), Address("control", "load"), Address("leases", "x")):
        assert TOPICS.read(TOPICS.result(address, "7")) is None


@given(st.text())
def test_any_text_is_an_address_or_none(topic):
    address = TOPICS.read(topic)
    assert address is None or address.kind in {"infer", "control", "leases"}


FLEET = FleetTopics("rota", "rovers", "rover-1-12")


@pytest.mark.parametrize(
    ("topic", "address"),
    [
        (FLEET.infer("faces"), Address("infer", "faces")),
        (FLEET.infer("faces", "7"), Address("infer", "faces", "7")),
        (FLEET.handed_to("x", Address("infer", "faces", "7")), Address("infer", "faces", "7")),
        (FLEET.record("x"), None),
        (FLEET.end("x"), None),
        (FLEET.result(Address("infer", "faces"), "7"), None),
        ("rota/fleet/others/models/faces/infer", None),
        ("rota/fleet/rovers/models/faces/infer/7/8", None),
    ],
)
def test_what_is_asked_of_a_fleet_is_read_by_its_levels(topic, address):
    assert FLEET.read(topic) == address


@given(st.text())
def test_any_text_is_a_request_to_a_fleet_or_none(text):
    for topic in (text, f"rota/fleet/rovers/{text}", f"rota/fleet/rovers/nodes/{text}"):
        address = FLEET.read(topic)
        assert address is None or address.kind == "infer"
        assert not (address and FLEET.member_of(topic))


OPEN = [
    "reply/me",
    "x",
    "robots/arm/1",
    "rota/rover-1/models/faces/result/7",
    "rota/fleet/rovers/models/faces/result/7",
    "rotas/x",
]
CLOSED = [
    "",
    "a/#",
    "a/+/b",
    "a\0b",
    "a\x1fb",
    "a\ufeffb",
    "a\ud800b",
    "$SYS/broker",
    "$share/g/x",
    "x" * 1025,
    "rota",
    "rota/rover-1/models/faces/infer",
    "rota/rover-2/models/faces/infer",
    "rota/rover-1/control/unload",
    "rota/rover-1/leases/acquire",
    "rota/rover-1/status",
    "rota/rover-1/models/faces/state",
    "rota/rover-1/models/faces/infer/result/7",
    "rota/fleet/rovers/models/faces/infer",
    "rota/fleet/rovers/nodes/rover-1-1234",
    "rota/fleet/rovers/nodes/rover-1-1234/models/faces/infer",
    "rota/fleet/results/nodes/rover-1-1234",
    "rota/fleet/models/nodes/result/1",
]


@pytest.mark.parametrize("topic", OPEN)
def test_a_response_topic_elsewhere_or_for_results_is_open(topic):
    ReplyRule("rota").check(topic)


@pytest.mark.parametrize("topic", CLOSED)
def test_a_response_topic_cannot_pose_as_something_else(topic):
    with pytest.raises(Refusal) as caught:
        ReplyRule("rota").check(topic)
    assert caught.value.code == "bad_request"


def test_an_allowed_beginning_is_one_of_whole_levels():
    rule = ReplyRule("rota", ("robots",))
    rule.check("robots/arm")
    rule.check("rota/rover-1/models/faces/result/7")
    for topic in ("robotsX/arm", "reply/me"):
        with pytest.raises(Refusal, match="must begin with one of: robots"):
            rule.check(topic)


@pytest.mark.parametrize("text", ["", "a/b", "a+", "#", "a\0", "\ud800", "x" * 65])
def test_an_id_can_be_part_of_a_topic(text):
    with pytest.raises(Refusal):
        read_id(text, "the id")


def test_an_id_may_be_any_other_text():
    assert read_id("é 7", "the id") == "é 7"
