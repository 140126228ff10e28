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


def of_3(total_kib, used_kib, blocks, size_mib, **more):
    """As jetson-stats 3 has it, in `ram`."""
    lfb = {"nblock": blocks, "size": size_mib, "unit": "M"}
    return {"use": used_kib, "shared": 0, "tot": total_kib, "unit": "k", "lfb": lfb, **more}


def of_4(total_kib, used_kib, blocks, **more):
    """As jetson-stats 4 has it, in `memory`."""
    free_kib = total_kib - used_kib - 9000
    ram = {"buffers": 1000, "cached": 8000, "shared": 70, "lfb": blocks}
    swap = {"SWAP": {"tot": 0, "used": 0, "cached": 0, "table": {}}}
    return {"RAM": {"tot": total_kib, "used": used_kib, "free": free_kib, **ram}, **swap, **more}


BOARDS = {
    "Nano, JetPack 4, jtop 3": (of_3(4_051_048, 1_604_600, 28, 4), 4_051_048, 1_604_600, 4),
    "TX1, JetPack 4, jtop 3": (of_3(4_078_592, 2_406_400, 17, 2), 4_078_592, 2_406_400, 2),
    "TX2, JetPack 4, jtop 3": (of_3(8_047_616, 3_354_624, 5, 1), 8_047_616, 3_354_624, 1),
    "Nano, JetPack 4, jtop 4": (
        of_4(4_051_048, 1_604_600, 3, IRAM={"tot": 252, "used": 0, "lfb": 252}),
        *(4_051_048, 1_604_600, 4),
    ),
    "Xavier NX, JetPack 5, jtop 4": (of_4(7_957_504, 2_963_456, 903), 7_957_504, 2_963_456, 4),
    "AGX Xavier, JetPack 5, jtop 4": (of_4(31_746_048, 4_526_080, 9), 31_746_048, 4_526_080, 4),
    "Orin Nano, JetPack 6, jtop 4": (
        of_4(7_800_000, 2_900_000, 31, EMC={"cur": 2_133_000, "max": 2_133_000, "val": 1}),
        *(7_800_000, 2_900_000, 4),
    ),
    "Orin NX, JetPack 6, jtop 4": (of_4(16_031_744, 7_149_568, 0), 16_031_744, 7_149_568, None),
    "AGX Orin, JetPack 6, jtop 4": (of_4(64_349_184, 9_338_880, 1), 64_349_184, 9_338_880, 4),
    "AGX Thor, JetPack 7, jtop 4": (of_4(128_790_528, 7_404_544, 5), 128_790_528, 7_404_544, 4),
}
"""What each says, and its total, its use and its largest block: KiB, KiB, MiB."""


@pytest.mark.parametrize("board", BOARDS)
def test_the_memory_of_each_board_is_read(board):
    said, total_kib, used_kib, block_mib = BOARDS[board]
    block_bytes = None if block_mib is None else block_mib * MIB
    assert read_jtop(said) == JtopMemory(total_kib * 1024, used_kib * 1024, block_bytes)


@given(st.sampled_from([said for said, *_ in BOARDS.values()]), st.data())
def test_a_field_that_is_missing_or_odd_is_unknown_and_never_another_figure(said, data):
    """Any one field gone, or of any kind: what is read is the truth, or nothing."""
    ram = dict(said.get("RAM", said))
    key = data.draw(st.sampled_from(sorted(ram)))
    odd = data.draw(st.none() | st.text(max_size=3) | st.booleans() | st.just([1]))
    ram[key] = odd
    whole, read = read_jtop(said), read_jtop({"RAM": ram} if "RAM" in said else ram)
    if read is not None:
        assert (read.total_bytes, read.used_bytes) == (whole.total_bytes, whole.used_bytes)
        assert read.block_bytes in {None, whole.block_bytes}


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
