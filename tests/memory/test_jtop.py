"""jtop's memory in the forms of its versions, and its service coming and going."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.memory.jtop import JtopMemory, JtopProbe, has_jtop, read_jtop

MIB = 1024**2
NANO_3 = {
    "use": 1_500_000,
    "shared": 90_000,
    "tot": 4_051_000,
    "unit": "k",
    "lfb": {"nblock": 28, "size": 4, "unit": "M"},
}
ORIN_4 = {
    "RAM": {
        "tot": 7_800_000,
        "used": 2_900_000,
        "free": 3_000_000,
        "buffers": 60_000,
        "cached": 1_800_000,
        "shared": 210_000,
        "lfb": 31,
    },
    "SWAP": {"tot": 3_900_000, "used": 0, "cached": 0, "table": {}},
    "EMC": {"cur": 2_133_000, "val": 1},
}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (NANO_3, JtopMemory(4_051_000 * 1024, 1_500_000 * 1024, 4 * MIB)),
        (ORIN_4, JtopMemory(7_800_000 * 1024, 2_900_000 * 1024, 4 * MIB)),
        ({"RAM": {"tot": 100, "used": 0, "lfb": 0}}, JtopMemory(102_400, 0, None)),
        ({"RAM": {"tot": 100, "used": 40}}, JtopMemory(102_400, 40_960, None)),
        ({"tot": 3, "use": 1, "unit": "M"}, JtopMemory(3 * MIB, MIB, None)),
        ({"tot": 3, "use": 1, "unit": "M", "lfb": {}}, JtopMemory(3 * MIB, MIB, None)),
    ],
)
def test_each_version_is_read(said, expected):
    assert read_jtop(said) == expected


@pytest.mark.parametrize(
    "said",
    [
        None,
        {},
        [],
        {"RAM": None},
        {"RAM": {"tot": 100}},
        {"RAM": {"tot": 0, "used": 0}},
        {"RAM": {"tot": 100, "used": 200}},
        {"RAM": {"tot": True, "used": 0}},
        {"RAM": {"tot": "100", "used": "0"}},
        {"RAM": {"tot": 100, "used": -1}},
        {"tot": 3, "use": 1, "unit": "parsec"},
    ],
)
def test_what_says_nothing_is_unknown(said):
    assert read_jtop(said) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.dictionaries(
        st.sampled_from(["RAM", "tot", "use", "used", "unit", "lfb", "size", "nblock"]), inner
    ),
)


@given(VALUES)
def test_nothing_a_service_sends_breaks_the_reading(said):
    memory = read_jtop(said)
    assert memory is None or 0 <= memory.used_bytes <= memory.total_bytes


class Service:
    """Stands for `jtop`: each `word` lets it speak once; `dead`, it raises."""

    def __init__(self):
        self.word = threading.Semaphore(0)
        self.dead = threading.Event()
        self.connections = 0
        self.used = 100

    def __call__(self, *, interval):
        assert interval == 1.0
        self.connections += 1
        return self

    def __enter__(self):
        if self.dead.is_set():
            raise OSError("The jtop.service is not active")
        return self

    def __exit__(self, *_):
        pass

    def ok(self):
        while not self.word.acquire(timeout=0.005):
            if self.dead.is_set():
                raise OSError("Lost connection with jtop server")
        return True

    @property
    def memory(self):
        return {"RAM": {"tot": 400, "used": self.used, "lfb": 7}}


def until(holds, what):
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def test_a_service_that_goes_is_named_and_one_that_is_back_is_asked_again():
    service = Service()
    probe = JtopProbe(client=service, first_pause_s=0.01)
    assert probe.sample()[0].available_bytes is None
    service.word.release()
    until(lambda: probe.sample()[0].available_bytes == 300 * 1024, "no word")
    (sample,) = probe.sample()
    assert (sample.source, sample.largest_block_bytes, sample.trouble) == ("jtop", 4 * MIB, "")
    time_of_last = sample.taken_at_ns
    service.dead.set()
    until(lambda: "jtop" in probe.sample()[0].trouble, "nobody noticed")
    assert probe.sample()[0].taken_at_ns == time_of_last, "an old figure keeps its age"
    service.dead.clear()
    service.used = 200
    service.word.release()
    until(lambda: probe.sample()[0].available_bytes == 200 * 1024, "not asked again")
    assert service.connections >= 2
    service.dead.set()
    probe.close()


def test_without_a_service_or_the_package_it_is_no_source(tmp_path):
    assert not has_jtop(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/jtop.sock").touch()
    assert has_jtop(tmp_path) == (__import__("importlib.util").util.find_spec("jtop") is not None)
