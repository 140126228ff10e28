"""NVML's figures, from a library of our own with the real one's names and errors."""

from types import SimpleNamespace

import pytest

from scheduler.memory.budget import machine_totals
from scheduler.memory.nvml import RETRY_NS, NvmlProbe

pynvml = pytest.importorskip("pynvml")
GIB = 1024**3
ME = 4711


class Driver:
    """Some cards. `broken` is the error that every call meets, until it is mended."""

    NVMLError = pynvml.NVMLError
    NVML_ERROR_UNINITIALIZED = pynvml.NVML_ERROR_UNINITIALIZED

    def __init__(self, *used_gib, total_gib=80):
        self.used_gib, self.total_gib = list(used_gib), total_gib
        self.processes = {}
        self.broken = None
        self.started = self.stopped = 0

    def _call(self):
        if self.broken is not None:
            raise pynvml.NVMLError(self.broken)

    def nvmlInit(self):  # noqa: N802 - the real one's name
        self._call()
        self.started += 1

    def nvmlShutdown(self):  # noqa: N802
        self.stopped += 1
        self._call()

    def nvmlDeviceGetCount(self):  # noqa: N802
        self._call()
        return len(self.used_gib)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        self._call()
        return index

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802
        return f"GPU-{handle}abc-def"

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        for index in range(len(self.used_gib)):
            if uuid.decode() == self.nvmlDeviceGetUUID(index):
                return index
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        self._call()
        used = self.used_gib[handle]
        free = self.total_gib - used
        return SimpleNamespace(total=self.total_gib * GIB, free=free * GIB, used=used * GIB)

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802
        listed = self.processes.get(handle, [])
        if isinstance(listed, int):
            raise pynvml.NVMLError(listed)
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in listed]


class Clock:
    now = 0

    def __call__(self):
        return self.now


def probe_of(driver, visible=None, clock=lambda: 7):
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    return NvmlProbe(nvml=driver, pid=ME, environment=environment, now_ns=clock)


def used_gib(probe):
    """Which card is behind each pool: each has another amount in use."""
    return [(s.pool, (s.total_bytes - s.available_bytes) // GIB) for s in probe.sample()]


def test_each_device_is_a_pool():
    probe = probe_of(Driver(10, 20))
    first, second = probe.sample()
    assert (first.pool, first.total_bytes, first.available_bytes) == ("cuda:0", 80 * GIB, 70 * GIB)
    assert (second.pool, second.available_bytes, second.source) == ("cuda:1", 60 * GIB, "NVML")
    assert first.taken_at_ns == 7
    assert machine_totals([probe]) == {"cuda:0": 80 * GIB, "cuda:1": 80 * GIB}


@pytest.mark.parametrize(
    ("visible", "cards"),
    [
        (None, [10, 20, 30]),
        ("2,0", [30, 10]),
        (" 1 , 2 ", [20, 30]),
        ("GPU-1abc-def", [20]),
        ("GPU-2", [30]),
        ("GPU-", []),
        ("", []),
        ("-1", []),
        ("0,7,1", [10]),
        ("0,no such thing,1", [10]),
        ("٣", []),
    ],
)
def test_pools_are_numbered_as_cuda_numbers_devices(visible, cards):
    expected = [(f"cuda:{number}", used) for number, used in enumerate(cards)]
    assert used_gib(probe_of(Driver(10, 20, 30), visible)) == expected


@pytest.mark.parametrize(
    ("listed", "own"),
    [
        ([(ME, 3 * GIB), (99, GIB)], 3 * GIB),
        ([(99, GIB)], None),
        ([], None),
        ([(ME, None)], None),
        ([(ME, GIB), (ME, None)], None),
        (pynvml.NVML_ERROR_NOT_SUPPORTED, None),
    ],
)
def test_what_this_process_holds_is_told_or_unknown_and_never_0(listed, own):
    driver = Driver(10)
    driver.processes[0] = listed
    (sample,) = probe_of(driver).sample()
    assert sample.used_bytes == own
    assert sample.available_bytes == 70 * GIB


@pytest.mark.parametrize(
    "error",
    [
        pynvml.NVML_ERROR_GPU_IS_LOST,
        pynvml.NVML_ERROR_RESET_REQUIRED,
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    ],
)
def test_a_driver_that_is_reset_makes_the_figures_unknown_until_it_is_back(error):
    driver, clock = Driver(10, 20), Clock()
    probe = probe_of(driver, clock=clock)
    probe.sample()
    driver.broken = error
    lost = probe.sample()
    assert [(s.pool, s.total_bytes, s.available_bytes) for s in lost] == [
        ("cuda:0", None, None),
        ("cuda:1", None, None),
    ]
    assert lost[0].trouble == str(pynvml.NVMLError(error))
    driver.broken = None
    assert probe.sample()[0].available_bytes is None, "asked again before it is time"
    assert driver.started == 1
    clock.now = RETRY_NS
    assert [s.available_bytes for s in probe.sample()] == [70 * GIB, 60 * GIB]
    assert probe.trouble == ""
    assert driver.started == 2
    probe.close()
    assert driver.stopped == 2


def test_a_driver_that_never_answered_has_no_devices_and_says_why():
    driver = Driver(10)
    driver.broken = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    probe = probe_of(driver)
    assert probe.sample() == ()
    assert "Not Found" in probe.trouble


def test_without_the_package_there_is_no_sample(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    probe = NvmlProbe()
    assert probe.sample() == ()
    assert "not installed" in probe.trouble


def test_the_real_library_has_every_name_that_is_asked_for():
    names = [name for name in dir(Driver) if name.startswith("nvml")]
    assert len(names) == 8
    assert [name for name in names if not hasattr(pynvml, name)] == []
