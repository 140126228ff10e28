"""User properties and parameters: read, or refused with a reason."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.transport.refusal import Refusal
from scheduler.transport.terms import KNOWN, Terms, read_parameters, read_terms

MS_NS = 1_000_000


def test_all_properties_are_read():
    user = [
        ("priority", "70"),
        ("deadline-ms", "2.5"),
        ("stream", "cam"),
        ("accept", "application/x-npy"),
        ("notify", "position"),
        ("request-id", "r7"),
        ("lease", "123"),
        ("traceparent", "00-1-2-3"),
    ]
    assert read_terms(user) == Terms(
        priority=70,
        deadline_ns=2_500_000,
        stream="cam",
        accept="application/x-npy",
        tells_position=True,
        request_id="r7",
        lease=123,
    )


def test_priorities_have_words_too():
    assert read_terms([("priority", "high")]).priority == 75


def test_the_earlier_of_expiry_and_deadline_holds():
    assert read_terms([("deadline-ms", "100")], expiry_s=2).deadline_ns == 100 * MS_NS
    assert read_terms([("deadline-ms", "5000")], expiry_s=2).deadline_ns == 2000 * MS_NS
    assert read_terms([], expiry_s=2).deadline_ns == 2000 * MS_NS
    assert read_terms([("deadline-ms", "0")]).deadline_ns == 0


WRONG = [
    [("deadline-ms", text)]
    for text in ("NaN", "Infinity", "-5", "1e308", "", "1e3", "1_0", "٣", "99999999999999")
] + [
    [("priority", "NaN")],
    [("priority", "true")],
    [("priority", "2.5")],
    [("priority", "-1")],
    [("priority", "101")],
    [("priority", "9" * 31)],
    [("stream", "")],
    [("stream", "x" * 257)],
    [("notify", "everything")],
    [("request-id", "a/b")],
    [("lease", "x")],
    [("stream", "a"), ("stream", "b")],
    [("prioritty", "9")],
    [("deadline_ms", "100")],
    [("x", "y")] * 33,
]


@pytest.mark.parametrize("user", WRONG, ids=str)
def test_what_is_malformed_is_refused(user):
    with pytest.raises(Refusal) as caught:
        read_terms(user)
    assert caught.value.code == "bad_request"


def test_a_slip_is_told_what_was_meant():
    with pytest.raises(Refusal, match="is it priority"):
        read_terms([("prioritty", "9")])


def test_parameters_say_the_same_without_properties():
    said = {"priority": 70, "deadline_ms": 2.5, "stream": "cam"}
    assert read_parameters(said, Terms()) == Terms(priority=70, deadline_ns=2_500_000, stream="cam")
    assert read_parameters({"priority": "high"}, Terms()).priority == 75


def test_properties_come_before_parameters_and_the_earlier_deadline_holds():
    terms = Terms(priority=10, deadline_ns=MS_NS, accept="x", request_id="r", lease=1)
    told = read_parameters({"priority": 70, "deadline_ms": 2}, terms)
    assert told == terms


@pytest.mark.parametrize(
    "parameters",
    [
        {"deadline_ms": value}
        for value in (math.nan, math.inf, -5, 1e308, "100", True, None, [1], 10**30)
    ]
    + [{"priority": value} for value in (True, 2.5, 10**30, -1, [], {}, None, "urgent")]
    + [{"stream": 5}, {"prio": 1}, 5, [], None, {"request-id": "x"}],
    ids=str,
)
def test_wrong_parameters_are_refused(parameters):
    with pytest.raises(Refusal) as caught:
        read_parameters(parameters, Terms())
    assert caught.value.code == "bad_request"


@given(
    st.lists(st.tuples(st.one_of(st.sampled_from(KNOWN), st.text()), st.text()), max_size=40),
    st.one_of(st.none(), st.integers(0, 2**32 - 1)),
)
def test_any_properties_are_read_or_refused(user, expiry_s):
    try:
        terms = read_terms(user, expiry_s)
    except Refusal:
        return
    assert terms.priority is None or 0 <= terms.priority <= 100
    assert terms.deadline_ns is None or terms.deadline_ns >= 0


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(["priority", "deadline_ms", "stream", "x"]), anything)
    | anything
)
def test_any_parameters_are_read_or_refused(parameters):
    try:
        read_parameters(parameters, Terms())
    except Refusal:
        pass
    else:
        assert isinstance(parameters, dict)
