"""Payloads: each form read, everything malformed refused, nothing else raised."""

from __future__ import annotations

import io
import json
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scheduler.plugin.engine import EXAMPLE
from scheduler.transport.npy import DTYPES, decode_npy, encode_npy
from scheduler.transport.payload import (
    CONTENT_TYPES,
    JSON,
    NPY,
    WAV,
    content_type_of,
    decode,
    needed_bytes,
)
from scheduler.transport.refusal import Refusal
from scheduler.transport.strict_json import JSON_MAX_BYTES, decode_json
from scheduler.transport.terms import Terms

TERMS = Terms()


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npy_of(descr, shape, body):
    """A file whose header says what it likes."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}"
    header = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def read(value):
    return decode(JSON, json.dumps(value).encode(), TERMS).payload


def tensor(data, datatype="FP32", shape=None, name="x"):
    shape = [len(data)] if shape is None else shape
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def refusal_of(content_type, payload):
    with pytest.raises(Refusal) as caught:
        decode(content_type, payload, TERMS)
    return caught.value


# -- JSON -------------------------------------------------------------------------------------

DOUBLED = b'{"payload": 1, "payload": 2}'
MALFORMED = [
    b"",
    b"\x80abc",
    b'{"payload": ' + b"1" * 5000 + b"}",
    b"[" * 100_000,
    b'{"payload":' * 50_000,
    '{"payload": 1}'.encode("utf-16"),
    b"\xef\xbb\xbf{}",
    b"null",
    b"[1]",
    b'"x"',
    DOUBLED,
    b'{"payload": {"a": 1, "a": 2}}',
    b'"\\ud800"',
    b'{"payload": "\\ud800"}',
    b'{"payload": {"\\udfff": 1}}',
    b'{"payload": NaN}',
    b'{"payload": -Infinity}',
    b'{"payload": 1e999}',
    b'{"payload": [-1e999]}',
    b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1e999]}]}',
    b"{}",
    b'{"payload": 1, "example": true}',
    b'{"example": 1}',
    b'{"paylod": 1}',
    b'{"payload": 1, "id": 5}',
    b'{"payload": 1, "id": "a/b"}',
    b'{"payload": 1, "parameters": []}',
]


@pytest.mark.parametrize("payload", MALFORMED, ids=lambda p: repr(p[:24]))
def test_malformed_json_is_refused_at_once(payload):
    started = time.process_time()
    assert refusal_of(JSON, payload).code == "bad_request"
    assert time.process_time() - started < 0.5


def test_json_is_bounded_because_reading_it_stops_the_loop():
    assert refusal_of(JSON, b" " * (JSON_MAX_BYTES + 1)).code == "too_large"
    payload = b'{"payload": [' + b"0.25," * (JSON_MAX_BYTES // 5 - 10) + b"1]}"
    assert len(payload) <= JSON_MAX_BYTES
    assert len(decode(JSON, payload, TERMS).payload) == JSON_MAX_BYTES // 5 - 9


def test_a_payload_of_any_json_value_is_given_as_it_is():
    assert read({"payload": {"ranges": [1, 2.5, None], "name": "é"}}) == {
        "ranges": [1, 2.5, None],
        "name": "é",
    }
    assert read({"example": True}) is EXAMPLE


def test_id_and_parameters_stand_beside_the_payload():
    body = decode(
        JSON, b'{"id": "7", "payload": 1, "parameters": {"priority": 80, "deadline_ms": 5}}', TERMS
    )
    assert (body.id, body.terms.priority, body.terms.deadline_ns) == ("7", 80, 5_000_000)


def test_one_tensor_is_an_array_and_several_are_a_mapping():
    one = read({"inputs": [tensor([1, 2.5])]})
    assert one.dtype == np.float32
    assert one.tolist() == [1.0, 2.5]
    several = read({"inputs": [tensor([1], "INT64"), tensor([True], "BOOL", name="y")]})
    assert {name: (a.dtype.name, a.tolist()) for name, a in several.items()} == {
        "x": ("int64", [1]),
        "y": ("bool", [True]),
    }


def test_data_may_be_nested_or_flat():
    flat = read({"inputs": [tensor([1, 2, 3, 4, 5, 6], "UINT8", [2, 3])]})
    nested = read({"inputs": [tensor([[1, 2, 3], [4, 5, 6]], "UINT8", [2, 3])]})
    assert flat.tolist() == nested.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_an_empty_tensor_has_its_shape():
    empty = read({"inputs": [tensor([], "FP32", [0, 3])]})
    assert (empty.shape, empty.dtype) == ((0, 3), np.float32)


def test_whole_numbers_beyond_what_floats_hold_stay_exact():
    assert read({"inputs": [tensor([2**64 - 1], "UINT64")]}).tolist() == [2**64 - 1]
    assert read({"inputs": [tensor([-(2**63)], "INT64")]}).tolist() == [-(2**63)]


WRONG_TENSORS = [
    tensor([1], "FLOAT"),
    tensor([1], "BF16"),
    tensor([1], None),
    tensor([1.5], "INT32"),
    tensor([True], "FP32"),
    tensor([1], "BOOL"),
    tensor(["a"], "FP32"),
    tensor([None], "FP32"),
    tensor([300], "UINT8"),
    tensor([-1], "UINT64"),
    tensor([2**64], "UINT64"),
    tensor([1e39], "FP32"),
    tensor([70000], "FP16"),
    tensor([1, 2, 3], "FP32", [2]),
    tensor([[1, 2], [3]], "FP32", [2, 2]),
    tensor([[1, 2], [3, 4]], "FP32", [4]),
    tensor([], "FP32", [2]),
    tensor([1], "FP32", [-1]),
    tensor([1], "FP32", [1.0]),
    tensor([1], "FP32", [True]),
    tensor([1], "FP32", [1] * 33),
    tensor([1], "FP32", "1"),
    tensor("1", "FP32", [1]),
    tensor([1], name=5),
    tensor([1], "FP32", [70000, 70000, 70000, 70000]),
    {"name": "x"},
    {**tensor([1]), "extra": 1},
    {**tensor([1]), "parameters": {"binary_data_size": 4}},
    5,
]


@pytest.mark.parametrize("written", WRONG_TENSORS, ids=str)
def test_a_wrong_tensor_is_refused(written):
    payload = json.dumps({"inputs": [written]}).encode()
    assert refusal_of(JSON, payload).code in {"bad_request", "unsupported"}


def test_two_tensors_of_one_name_are_refused():
    assert "called" in str(
        refusal_of(JSON, json.dumps({"inputs": [tensor([1]), tensor([2])]}).encode())
    )


# -- NPY --------------------------------------------------------------------------------------


def test_an_array_is_read_without_a_copy():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    file = npy(array)
    got = decode(NPY, file, TERMS).payload
    assert got.dtype == array.dtype
    assert np.array_equal(got, array)
    assert got.base is not None
    assert not got.flags.writeable


def test_columns_first_is_read_as_such():
    array = np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3))
    assert np.array_equal(decode_npy(npy(array)), array)


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_every_taken_dtype_comes_back(name):
    array = np.zeros((2, 2), np.dtype(name))
    got = decode_npy(encode_npy(array))
    assert got.dtype.str == name
    assert got.shape == (2, 2)


def test_nothing_by_nothing_is_defined():
    got = decode_npy(npy_of("<f4", (0, 3), b""))
    assert got.shape == (0, 3)
    assert decode_npy(npy_of("<f4", (), b"\0\0\x80?")).item() == 1.0


WRONG_NPY = [
    npy_of(">f4", (2,), b"\0" * 8),
    npy_of("|O", (1,), b"\0" * 8),
    npy_of("|V8", (1,), b"\0" * 8),
    npy_of("<U4", (1,), b"\0" * 16),
    npy_of("<M8[s]", (1,), b"\0" * 8),
    npy_of([("f0", "<f4"), ("f1", "<f4")], (1,), b"\0" * 8),
    npy_of("<f4", (3,), b"\0" * 10),
    npy_of("<f4", (2, 4), b"\0" * 10),
    npy_of("<f4", (-1, 3), b"\0" * 12),
    npy_of("<f4", (70000, 70000), b"\0" * 10),
    npy_of("<f4", (2**62, 2**62, 2**62), b""),
    npy_of("<f4", (True,), b"\0" * 4),
    npy_of("<f4", (1,) * 40, b"\0" * 4),
    npy_of("<f4", (2,), b"\0" * 9),
    npy(np.array([{"a": 1}], dtype=object), allow_pickle=True),
    b"\x93NUMPY",
    b"\x93NUMPY\x03\x00" + b"\0" * 200,
    b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16,
    b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
    b"",
    b"x",
]


@pytest.mark.parametrize("file", WRONG_NPY, ids=lambda f: repr(f[10:60]))
def test_a_wrong_array_file_is_refused(file):
    assert refusal_of(NPY, file).code in {"bad_request", "unsupported"}


def test_what_cannot_be_sent_as_an_array_file_is_told():
    assert encode_npy(np.array(["a"])) is None
    assert encode_npy(np.array([None])) is None
    assert decode_npy(encode_npy(np.array([1, 2], ">i4"))).tolist() == [1, 2]


# -- images and sound -------------------------------------------------------------------------

Image = pytest.importorskip("PIL.Image")


def image_file(kind, mode="RGB", size=(4, 3)):
    file = io.BytesIO()
    Image.new(mode, size, 200 if mode == "L" else (200, 10, 10)[: len(mode)]).save(file, kind)
    return file.getvalue()


def png_claiming(width, height):
    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB")])
def test_images_are_rgb(kind, mode):
    payload = image_file(kind, mode)
    content_type = f"image/{kind.lower()}"
    got = decode(content_type, payload, TERMS).payload
    assert (got.shape, got.dtype) == ((3, 4, 3), np.uint8)
    assert abs(int(got[1, 1, 0]) - 200) < 6
    assert needed_bytes(content_type, payload) == len(payload) + 36


def test_a_bomb_is_refused_by_its_header():
    assert refusal_of("image/png", png_claiming(5000, 5000)).code == "too_large"
    for side in (12_000, 60_000):
        with pytest.raises(Refusal) as caught:
            needed_bytes("image/png", png_claiming(side, side))
        assert caught.value.code == "too_large"


@pytest.mark.parametrize(
    ("content_type", "payload"),
    [
        ("image/jpeg", b""),
        ("image/jpeg", image_file("JPEG")[:-100]),
        ("image/jpeg", image_file("PNG")),
        ("image/png", image_file("JPEG")),
        ("image/png", png_claiming(64, 64)),
        ("image/png", image_file("PNG")[:40]),
    ],
)
def test_a_damaged_image_is_refused(content_type, payload):
    assert refusal_of(content_type, payload).code == "bad_request"


def wav(samples, rate_hz=16_000, subtype="PCM_16"):
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, subtype=subtype, format="WAV")
    return file.getvalue()


def test_sound_is_mono_at_16_khz():
    tone = np.sin(np.arange(48_000) / 20).astype(np.float32) / 2
    same = decode(WAV, wav(tone[:16_000]), TERMS).payload
    assert (same.shape, same.dtype) == ((16_000,), np.float32)
    assert np.allclose(same, tone[:16_000], atol=1e-3)
    stereo = decode(WAV, wav(np.stack([tone, -tone], axis=1)[:16_000]), TERMS).payload
    assert np.abs(stereo).max() < 1e-3
    assert decode(WAV, wav(tone, 48_000), TERMS).payload.shape == (16_000,)


@pytest.mark.parametrize("payload", [b"", b"RIFF\0\0\0\0WAVE", b"RIFF", b"OggS" + b"\0" * 99])
def test_damaged_sound_is_refused(payload):
    assert refusal_of(WAV, payload).code == "bad_request"


def test_sound_longer_than_ten_minutes_is_refused():
    assert refusal_of(WAV, wav(np.zeros(601 * 8000, np.float32), 8000)).code == "too_large"


# -- which form -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "payload", "kind"),
    [
        (None, b"{}", JSON),
        (None, b"", JSON),
        (None, npy(np.zeros(1)), NPY),
        (None, image_file("JPEG"), "image/jpeg"),
        (None, image_file("PNG"), "image/png"),
        (None, b"RIFF\x24\0\0\0WAVEfmt ", WAV),
        ("application/json; charset=utf-8", b"", JSON),
        ("IMAGE/JPG", b"", "image/jpeg"),
        ("audio/x-wav", b"", WAV),
    ],
)
def test_the_form_is_as_said_or_as_it_looks(said, payload, kind):
    assert content_type_of(said, payload) == kind


def test_an_unknown_form_is_refused_with_those_that_are_known():
    with pytest.raises(Refusal, match="application/x-npy") as caught:
        content_type_of("text/csv", b"")
    assert caught.value.code == "unsupported"


# -- anything ---------------------------------------------------------------------------------

starts = st.sampled_from(
    [b"", b"\x93NUMPY\x01\x00", npy(np.zeros(3)), image_file("PNG")[:60], b"{"]
)


@given(st.sampled_from(CONTENT_TYPES), st.builds(lambda a, b: a + b, starts, st.binary()))
def test_any_bytes_are_read_or_refused(content_type, payload):
    try:
        needed_bytes(content_type, payload)
        decode(content_type, payload, TERMS)
    except Refusal as refusal:
        assert str(refusal)  # noqa: PT017 - what it says matters


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
tensors = st.fixed_dictionaries(
    {
        "name": st.text(max_size=3) | anything,
        "shape": st.lists(st.integers(-2, 4), max_size=3) | anything,
        "datatype": st.sampled_from(["FP32", "INT8", "BOOL", "BYTES", "FP16", "UINT64"]) | anything,
        "data": anything,
    }
)


@given(st.lists(tensors, max_size=3) | anything)
def test_any_tensors_are_read_or_refused(inputs):
    try:
        body = decode(JSON, json.dumps({"inputs": inputs}, allow_nan=True).encode(), TERMS)
    except Refusal:
        return
    assert isinstance(body.payload, (np.ndarray, dict))


@given(anything)
def test_json_that_python_writes_is_read_or_refused(value):
    try:
        got = decode_json(json.dumps(value).encode())
    except Refusal:
        return
    assert json.dumps(got) == json.dumps(value)


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.uint8, np.int64, np.bool_]),
        hnp.array_shapes(min_dims=0, min_side=0, max_dims=4, max_side=4),
    )
)
def test_arrays_come_back_from_files(array):
    got = decode_npy(encode_npy(array))
    assert got.dtype == array.dtype
    assert np.array_equal(got, array, equal_nan=got.dtype.kind == "f")
