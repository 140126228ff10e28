"""Answers: whatever an engine returns becomes strict JSON or an array file, and comes back."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scheduler.core.outcome import Outcome
from scheduler.runtime.call import FormUsed
from scheduler.transport.answer import decode_answer, encode_refusal, encode_result
from scheduler.transport.message import Message
from scheduler.transport.payload import JSON, NPY
from scheduler.transport.refusal import Refusal


def encode(result, **options):
    return encode_result(result, model="faces", answer_id="7", **options)


def strict(answer):
    def refuse(name):
        raise AssertionError(name)

    return json.loads(answer.payload.decode("utf-8"), parse_constant=refuse)


def back(answer):
    return decode_answer(
        Message(topic="t", payload=answer.payload, content_type=answer.content_type)
    )


def test_a_result_names_its_model_its_id_and_its_outcome():
    answer = encode([{"score": 0.5}])
    assert strict(answer) == {"model_name": "faces", "id": "7", "result": [{"score": 0.5}]}
    assert answer.user == (("outcome", "completed"), ("id", "7"))


def test_arrays_are_whole_however_large():
    mask = np.arange(5000, dtype=np.float32).reshape(50, 100)
    assert np.array_equal(back(encode(mask)), mask)
    both = back(encode({"a": mask, "b": np.array([1], np.int64)}))
    assert np.array_equal(both["a"], mask)
    assert both["b"].dtype == np.int64


def test_lists_and_texts_are_whole_however_long():
    result = {"words": ["é"] * 3000, "text": "x" * 100_000}
    assert strict(encode(result))["result"] == result


def test_one_array_goes_as_a_file_where_that_is_accepted():
    mask = np.arange(6, dtype=np.uint8).reshape(2, 3)
    answer = encode(mask, accept=NPY)
    assert answer.content_type == NPY
    assert np.array_equal(back(answer), mask)


@pytest.mark.parametrize("result", [{"a": np.zeros(2)}, [1], np.array(["a"]), None])
def test_what_is_not_one_array_of_numbers_goes_as_json_all_the_same(result):
    assert encode(result, accept=NPY).content_type == JSON


@dataclass
class Face:
    box: tuple[int, int]
    score: np.float32


def test_numbers_that_json_has_not_got_become_null_and_that_is_told():
    told = strict(encode({"a": math.nan, "b": [np.float32(math.inf), np.int64(3), 1.5]}))
    assert told["result"] == {"a": None, "b": [None, 3, 1.5]}
    assert told["non_finite"] is True
    assert "non_finite" not in strict(encode({"a": 1.0}))
    [output] = strict(encode(np.array([1.0, math.nan], np.float32)))["outputs"]
    assert output["data"] == [1.0, None]
    assert output["parameters"] == {"non_finite": True}
    assert math.isnan(back(encode(np.array([1.0, math.nan], np.float32)))[1])


def test_what_json_has_no_word_for_is_told_somehow():
    assert strict(encode(Face((1, 2), np.float32(0.5))))["result"] == {"box": [1, 2], "score": 0.5}
    assert strict(encode(b"\x00\xff"))["result"] == {"base64": "AP8="}
    assert strict(encode({1: 2, None: 3}))["result"] == {"1": 2, "None": 3}
    assert "object" in strict(encode(object()))["result"]
    circle = []
    circle.append(circle)
    strict(encode(circle))
    assert strict(encode("\ud800"))["result"] == "\ud800"


def test_a_refusal_comes_back_as_one():
    refusal = Refusal("queue_full", "8 wait already", retry_after_ms=20)
    answer = encode_refusal(refusal, answer_id="7")
    assert strict(answer) == {
        "error": {
            "code": "queue_full",
            "outcome": "rejected",
            "message": "8 wait already",
            "retry_after_ms": 20,
        },
        "id": "7",
    }
    with pytest.raises(Refusal, match="8 wait already") as caught:
        back(answer)
    got = caught.value
    assert (got.code, got.outcome, got.retry_after_ms) == ("queue_full", Outcome.REJECTED, 20)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=()))
    | st.binary()
    | st.complex_numbers()
    | hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(max_dims=2, max_side=3)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


@given(anything, st.sampled_from([None, NPY, "text/html"]))
def test_any_result_becomes_an_answer(result, accept):
    answer = encode(result, accept=accept)
    if answer.content_type == JSON:
        assert strict(answer)["model_name"] == "faces"


@given(st.binary(), st.sampled_from([JSON, NPY, None]))
def test_any_answer_is_read_or_refused(payload, content_type):
    try:
        decode_answer(Message(topic="t", payload=payload, content_type=content_type))
    except Refusal as refusal:
        assert refusal.code  # noqa: PT017 - what it says matters


def test_the_form_that_answered_is_named_where_there_is_a_choice():
    told = encode_result([1], model="a", answer_id="7", form=FormUsed("int8", "cuda:1"))
    assert json.loads(told.payload)["parameters"] == {"variant": "int8", "device": "cuda:1"}
    assert told.user[-2:] == (("variant", "int8"), ("device", "cuda:1"))
    as_file = encode_result(
        np.zeros(2), model="a", answer_id="7", accept="application/x-npy", form=FormUsed("int8")
    )
    assert as_file.user[-1] == ("variant", "int8")
    plain = encode_result([1], model="a", answer_id="7", form=FormUsed())
    assert plain == encode_result([1], model="a", answer_id="7")
    assert "parameters" not in json.loads(plain.payload)
