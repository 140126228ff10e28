"""Frames in shared memory: what a message says of one, what is read on its word, who clears up."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.transport import shelf as shelf_module
from scheduler.transport.frame import RAW, Frame, read_frame
from scheduler.transport.frame_maker import FrameMaker, sweep
from scheduler.transport.npy import decode_npy
from scheduler.transport.payload import CONTENT_TYPES, FRAME, NPY
from scheduler.transport.refusal import Refusal
from scheduler.transport.shelf import Shelf

MIB = 1024 * 1024
LIMIT_BYTES = 32 * MIB


def told(**said):
    """What a message says of a frame, with some of it otherwise; None leaves a key out."""
    whole = {"place": "here:1", "name": "rota-a", "size_bytes": 12, "content_type": NPY, **said}
    return json.dumps({key: value for key, value in whole.items() if value is not None}).encode()


def raw(datatype="FP32", shape=(3,), **said):
    return told(content_type=RAW, datatype=datatype, shape=list(shape), **said)


def refusal_of(function, *args):
    with pytest.raises(Refusal) as caught:
        function(*args)
    return caught.value


# -- what a message says ----------------------------------------------------------------------


def test_a_frame_is_told_and_read():
    frame = Frame(place="here:1", name="rota-a-1", size_bytes=12, content_type="image/jpeg")
    assert read_frame(frame.to_bytes()) == frame


def test_elements_alone_are_read_behind_the_head_of_an_array_file():
    array = np.arange(6, dtype=np.uint16).reshape(2, 3)
    frame = read_frame(raw("UINT16", (2, 3)))
    assert frame.content_type == NPY
    assert np.array_equal(decode_npy(frame.head + array.tobytes()), array)


@pytest.mark.parametrize(
    "name",
    [
        "rota-",
        "Rota-a",
        "camera",
        "/dev/shm/rota-a",
        "rota-../../etc/passwd",
        "rota-a/b",
        "rota-a\0",
        "rota-a\n",
        "rota-é",
        "rota-" + "a" * 65,
        ["rota-a"],
        7,
    ],
)
def test_a_name_is_that_of_one_file_of_the_folder(name):
    assert refusal_of(read_frame, told(name=name)).code == "bad_request"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "bad_request"),
        (b"[]", "bad_request"),
        (b" " * 5000, "too_large"),
        (told(place=None), "bad_request"),
        (told(place=1), "bad_request"),
        (told(place="x" * 65), "bad_request"),
        (told(more=1), "bad_request"),
        (told(size_bytes=0), "bad_request"),
        (told(size_bytes=-1), "bad_request"),
        (told(size_bytes=True), "bad_request"),
        (told(size_bytes=12.0), "bad_request"),
        (told(size_bytes="12"), "bad_request"),
        (told(size_bytes=2**63), "bad_request"),
        (told(content_type=None), "bad_request"),
        (told(content_type=""), "unsupported"),
        (told(content_type=7), "unsupported"),
        (told(content_type="text/plain"), "unsupported"),
        (told(content_type=FRAME), "unsupported"),
        (told(datatype="FP32", shape=[3]), "bad_request"),
        (told(content_type=RAW), "bad_request"),
        (raw("FP33"), "unsupported"),
        (raw("BYTES"), "unsupported"),
        (raw(["FP32"]), "unsupported"),
        (raw(shape=(4,)), "bad_request"),
        (raw(shape=(-3,)), "bad_request"),
        (raw(shape=(True, 3)), "bad_request"),
        (raw(shape=(2**62, 2**62)), "bad_request"),
        (raw(shape=(1,) * 33), "bad_request"),
    ],
)
def test_what_is_no_frame_is_refused(payload, code):
    assert refusal_of(read_frame, payload).code == code


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
saids = st.fixed_dictionaries(
    {
        "place": st.just("here:1") | anything,
        "name": st.from_regex(r"rota-[a-z./]{0,70}") | st.text() | anything,
        "size_bytes": st.integers(-1, 2**64) | anything,
        "content_type": st.sampled_from([*CONTENT_TYPES, RAW, FRAME, " Image/JPG; x"]) | anything,
    },
    optional={
        "datatype": st.sampled_from(["FP32", "BOOL", "BYTES", "UINT64"]) | anything,
        "shape": st.lists(st.integers(-1, 9), max_size=4) | anything,
        "more": anything,
    },
)


@given(saids | anything)
def test_anything_told_is_read_or_refused(said):
    check_read(json.dumps(said).encode())


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(payload):
    check_read(payload)


def check_read(payload):
    """What is read can be opened and will be decoded; nothing but a refusal is raised."""
    try:
        frame = read_frame(payload)
    except Refusal as refusal:
        assert str(refusal)  # noqa: PT017 - what it says matters
        return
    assert frame.name.isascii()
    assert not set(frame.name) & set("/.\0")
    assert frame.size_bytes > 0
    assert frame.content_type in CONTENT_TYPES
    assert not frame.head or frame.content_type == NPY


# -- what is read on its word -----------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of the test's own: what is laid there meets nobody else's."""
    monkeypatch.setattr(shelf_module, "FOLDER", str(tmp_path))
    return tmp_path


@pytest.fixture
def shelf(folder):  # noqa: ARG001 - it is where the shelf is
    return Shelf()


def frame_at(shelf, name="rota-a", size_bytes=5, **said):
    said = {"place": shelf.place, "content_type": NPY, **said}
    return Frame(name=name, size_bytes=size_bytes, **said)


def fault(shelf, frame, limit_bytes=LIMIT_BYTES):
    refusal = refusal_of(shelf.read, frame, limit_bytes)
    return f"{refusal.code}: {refusal}"


def test_what_was_written_is_read(shelf, folder):
    shelf.write("rota-a", b"hello")
    assert shelf.read(frame_at(shelf), LIMIT_BYTES) == b"hello"
    assert shelf.read(frame_at(shelf, head=b"> "), LIMIT_BYTES) == b"> hello"
    assert (folder / "rota-a").stat().st_mode & 0o777 == 0o600
    assert shelf.names() == ["rota-a"]
    shelf.remove("rota-a")
    assert not shelf.has("rota-a")
    shelf.remove("rota-a")


def test_the_real_folder_is_that_of_this_machine():
    shelf = Shelf()
    boot_id, device = shelf.place.split(":")
    assert boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert int(device) == Path("/dev/shm").stat().st_dev


def test_a_frame_of_another_machine_is_refused_with_what_to_do(shelf, folder):
    (folder / "rota-a").write_bytes(b"hello")
    there = frame_at(shelf, place=f"another-boot:{shelf.place.rpartition(':')[2]}")
    assert "unsupported: the frame is at another-boot" in fault(shelf, there)
    assert "send the payload itself" in fault(shelf, there)
    elsewhere = frame_at(shelf, place=shelf.place + "0")
    assert "a container without the same /dev/shm" in fault(shelf, elsewhere)


def test_what_is_not_there_is_named(shelf):
    assert "rota-a cannot be opened: No such file" in fault(shelf, frame_at(shelf))


def test_links_are_not_followed(shelf, folder):
    (folder / "secret").write_bytes(b"hello")
    (folder / "rota-a").symlink_to(folder / "secret")
    assert "cannot be opened: Too many levels of symbolic links" in fault(shelf, frame_at(shelf))
    (folder / "rota-b").hardlink_to(folder / "secret")
    assert "has other names" in fault(shelf, frame_at(shelf, "rota-b"))


def test_what_is_no_plain_file_is_refused_without_waiting(shelf, folder):
    os.mkfifo(folder / "rota-pipe")
    (folder / "rota-folder").mkdir()
    with socket.socket(socket.AF_UNIX) as ear:
        ear.bind(str(folder / "rota-socket"))
        assert "is no plain file" in fault(shelf, frame_at(shelf, "rota-pipe"))
        assert "is no plain file" in fault(shelf, frame_at(shelf, "rota-folder"))
        assert "cannot be opened" in fault(shelf, frame_at(shelf, "rota-socket"))


def test_a_file_of_another_user_is_read_only_where_everybody_may(shelf, folder, monkeypatch):
    shelf.write("rota-a", b"hello")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert "belongs to another user" in fault(shelf, frame_at(shelf))
    (folder / "rota-a").chmod(0o640)
    assert "chmod o+r" in fault(shelf, frame_at(shelf))
    (folder / "rota-a").chmod(0o604)
    assert shelf.read(frame_at(shelf), LIMIT_BYTES) == b"hello"


@pytest.mark.parametrize("size_bytes", [4, 6])
def test_a_size_that_is_not_the_files_is_refused(shelf, size_bytes):
    shelf.write("rota-a", b"hello")
    assert f"has 5 bytes, not {size_bytes}" in fault(shelf, frame_at(shelf, size_bytes=size_bytes))


def test_a_size_beyond_the_limit_is_refused_before_anything_is_taken(shelf, folder):
    with (folder / "rota-a").open("wb") as file:
        file.truncate(2**40)
    huge = frame_at(shelf, size_bytes=2**40)
    assert f"too_large: the frame has {2**40} bytes; at most" in fault(shelf, huge)
    assert "too_large" in fault(shelf, frame_at(shelf, size_bytes=2**63 - 1))


def test_a_file_that_shrinks_while_it_is_read_is_refused(shelf, folder, monkeypatch):
    shelf.write("rota-a", b"hello")
    real = os.fstat

    def shrinks(file):
        status = real(file)
        os.truncate(folder / "rota-a", 2)
        return status

    monkeypatch.setattr(shelf_module.os, "fstat", shrinks)
    assert "shrank while it was read" in fault(shelf, frame_at(shelf))


def test_a_file_that_others_change_all_the_time_ends_no_process(shelf, folder):
    content = bytes(4 * MIB)
    shelf.write("rota-a", content)
    frame = frame_at(shelf, size_bytes=len(content))
    stop = threading.Event()

    def change():
        while not stop.is_set():
            os.truncate(folder / "rota-a", 1)
            os.truncate(folder / "rota-a", len(content))

    def copy():
        with suppress(Refusal):
            return shelf.read(frame, LIMIT_BYTES)
        return content

    changing = threading.Thread(target=change)
    changing.start()
    try:
        assert all(len(copy()) == len(content) for _ in range(50))
    finally:
        stop.set()
        changing.join()


def test_without_room_nothing_is_left(shelf, monkeypatch):
    real = os.write

    def fills_up(file, content):
        if len(content) < 4:
            raise OSError(28, "No space left on device")
        return real(file, content[:2])

    monkeypatch.setattr(shelf_module.os, "write", fills_up)
    with pytest.raises(OSError, match="No space left"):
        shelf.write("rota-a", b"hello")
    assert shelf.names() == []


# -- who clears up ----------------------------------------------------------------------------

LAYING = """
import sys, time
from scheduler.transport import shelf
from scheduler.transport.frame_maker import FrameMaker
shelf.FOLDER = sys.argv[1]
maker = FrameMaker(shelf.Shelf())
maker.shelf.write(maker.name(), b"hello")
print("laid", flush=True)
time.sleep(60)
"""


def test_names_cannot_be_guessed_from_each_other(shelf):
    maker = FrameMaker(shelf)
    names = {maker.name() for _ in range(100)}
    assert len(names) == 100
    assert len({name[-32:] for name in names}) == 100
    assert all(read_frame(told(name=name)).name == name for name in names)
    maker.close()
    assert shelf.names() == []


def test_what_a_killed_process_leaves_is_swept_and_what_a_living_one_has_is_not(shelf, folder):
    living = FrameMaker(shelf)
    shelf.write(living.name(), b"hello")
    shelf.write("rota-camera-1", b"hello")
    command = [sys.executable, "-c", LAYING, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as laying:
        assert laying.stdout.readline() == b"laid\n"
        before = set(shelf.names())
        assert len(before) == 5
        sweep(shelf)
        assert set(shelf.names()) == before
        laying.send_signal(signal.SIGKILL)
    sweep(shelf)
    left = shelf.names()
    assert len(left) == 3
    assert all(name.startswith(living.mark) for name in left if name != "rota-camera-1")
    living.close()
    assert shelf.names() == ["rota-camera-1"]


def test_a_frame_whose_mark_is_gone_is_swept(shelf):
    shelf.write(f"rota-{'0' * 16}-{'1' * 32}", b"hello")
    sweep(shelf)
    assert shelf.names() == []


@pytest.mark.parametrize("step", ["write", "open"])
def test_a_mark_that_is_swept_before_it_is_locked_is_replaced(shelf, monkeypatch, step):
    real, met = getattr(shelf, step), []

    def swept_at_once(name, *content):
        done = real(name, *content)
        if len(met) < 2:
            met.append(name)
            sweep(Shelf())
        return done

    monkeypatch.setattr(shelf, step, swept_at_once)
    maker = FrameMaker(shelf)
    assert len(met) == 2
    assert shelf.names() == [maker.mark]
    maker.close()


def test_where_nothing_can_be_locked_that_is_said(shelf, monkeypatch):
    monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError("no locks")))
    with pytest.raises(OSError, match="can files be locked there"):
        FrameMaker(shelf)


def test_a_link_in_place_of_a_mark_is_not_followed(shelf, folder):
    (folder / f"rota-{'0' * 16}").symlink_to(folder)
    sweep(shelf)
    assert shelf.names() == [f"rota-{'0' * 16}"]
