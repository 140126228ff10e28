"""What a board's files say: which Jetson, nvmap, pressure, swap. And whom to ask, by machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.memory.jetson import Jetson, find_jetson
from scheduler.memory.nvmap import NvmapProbe, can_read_nvmap, read_clients
from scheduler.memory.psi import Pressure, memory_pressure, read_pressure
from scheduler.memory.sources import pool_probes, size_probes
from scheduler.memory.swap import Swap, at_boot, read_swaps, swappiness, swaps

MIB = 1024**2
KIB = 1024


@pytest.fixture
def write(tmp_path):
    def into(path, text):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())

    return into


@pytest.mark.parametrize(
    ("model", "chip", "release", "jetpack"),
    [
        ("NVIDIA Jetson Nano Developer Kit", "tegra210", "R32 (release), REVISION: 7.1", 4),
        ("quill", "tegra186", "R32 (release), REVISION: 4.4", 4),
        ("NVIDIA Jetson Xavier NX Developer Kit", "tegra194", "R35 (release), REVISION: 4.1", 5),
        ("NVIDIA Jetson AGX Xavier", "tegra194", "R34 (release), REVISION: 1.1", 5),
        ("NVIDIA Jetson Orin Nano Developer Kit", "tegra234", "R36 (release), REVISION: 3.0", 6),
        ("NVIDIA Jetson AGX Thor Developer Kit", "tegra264", "R38 (release), REVISION: 2.0", 7),
        ("NVIDIA Jetson AGX Orin Developer Kit", "tegra234", "R39 (release), REVISION: 2.0", 7),
        ("NVIDIA Jetson of tomorrow", "tegra300", "R77 (release), REVISION: 1.0", None),
    ],
)
def test_each_board_says_what_it_is(  # noqa: PLR0917 - a table
    tmp_path, write, model, chip, release, jetpack
):
    write("proc/device-tree/model", model + "\0")
    write("proc/device-tree/compatible", f"nvidia,p3768-0000\0nvidia,{chip}\0")
    write("etc/nv_tegra_release", f"# {release}, GCID: 1, BOARD: generic, EABI: aarch64\n")
    l4t = release.split()[0][1:] + "." + release.split()[-1]
    assert find_jetson(tmp_path) == Jetson(model, chip, l4t, jetpack)


def test_in_a_container_the_release_is_unknown(tmp_path, write):
    write("proc/device-tree/compatible", "nvidia,p3768-0000\0nvidia,tegra234\0")
    assert find_jetson(tmp_path) == Jetson("", "tegra234", "", None)


def test_another_board_is_no_jetson(tmp_path, write):
    write("proc/device-tree/model", "Raspberry Pi 5\0")
    write("proc/device-tree/compatible", "raspberrypi,5-model-b\0brcm,bcm2712\0")
    assert find_jetson(tmp_path) is None


CLIENTS = """CLIENT                        PROCESS      PID        SIZE
user                     gnome-shell     2534      53840K
user                    python3 -m x     4711     181216K
user                         python3     4711       2048K
user                        nvargus-     1001          0K
total                                            237104K
"""


def test_nvmap_tells_what_each_process_holds():
    assert read_clients(CLIENTS) == {2534: 53840 * KIB, 4711: 183264 * KIB, 1001: 0}


def test_nvmap_knows_this_process_or_says_nothing(tmp_path, write):
    listed, other = (NvmapProbe(root=tmp_path, pid=pid) for pid in (4711, 1))
    assert listed.sample() == ()
    assert not can_read_nvmap(tmp_path)
    write("sys/kernel/debug/nvmap/iovmm/clients", CLIENTS)
    assert can_read_nvmap(tmp_path)
    (sample,) = listed.sample()
    assert (sample.pool, sample.used_bytes, sample.available_bytes) == (
        "unified",
        183264 * KIB,
        None,
    )
    assert other.sample()[0].used_bytes is None


@given(st.text())
def test_no_text_breaks_the_readers(text):
    assert all(held >= 0 for held in read_clients(text).values())
    assert isinstance(read_pressure(text), Pressure)
    assert all(swap.size_bytes >= 0 for swap in read_swaps(text))


def test_pressure_is_read_and_unknown_where_it_is_not_counted(tmp_path, write):
    assert memory_pressure(tmp_path) == Pressure(None, None)
    text = "some avg10=12.50 avg60=3.00 avg300=0.50 total=12345\nfull avg10=4.00 avg60=1.00\n"
    write("proc/pressure/memory", text)
    assert memory_pressure(tmp_path) == Pressure(12.5, 4.0)
    assert read_pressure("some avg10=0.00 avg60=0.00") == Pressure(0.0, None)
    assert read_pressure("some avg10= avg60=0.00\nfull avg10=nan") == Pressure(None, None)


SWAPS = """Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
/dev/zram0                              partition\t505000\t\t1024\t\t5
/mnt/my\\040disk/16GB.swap               file\t\t16777212\t0\t\t-2
"""


def test_swap_on_a_disk_is_told_from_zram(tmp_path, write):
    assert swaps(tmp_path) is None
    write("proc/swaps", SWAPS)
    assert swaps(tmp_path) == (
        Swap("/dev/zram0", True, 505000 * KIB, 1024 * KIB, 5),
        Swap("/mnt/my disk/16GB.swap", False, 16777212 * KIB, 0, -2),
    )
    write("proc/swaps", SWAPS.splitlines()[0])
    assert swaps(tmp_path) == ()


def test_swappiness_and_what_is_set_up_at_boot(tmp_path, write):
    assert swappiness(tmp_path) is None
    assert at_boot(tmp_path) == frozenset()
    write("proc/sys/vm/swappiness", "60\n")
    write(
        "etc/fstab",
        "# /none none swap\n/dev/root / ext4 defaults 0 1\n/16GB.swap none swap sw 0 0\n",
    )
    assert swappiness(tmp_path) == 60
    assert at_boot(tmp_path) == {"/16GB.swap"}


def names(probes):
    return [probe.name for probe in probes]


def test_whom_to_ask_is_chosen_by_what_the_machine_is(tmp_path, write):
    pools = ["unified", "host", "cuda:0"]
    assert names(pool_probes(pools, tmp_path)) == ["MemAvailable", "MemAvailable"]
    assert names(size_probes(tmp_path)) == ["MemAvailable"]
    write("proc/driver/nvidia/gpus/0000:01:00.0/information", "")
    assert names(size_probes(tmp_path)) == ["MemAvailable", "NVML"]
    assert names(pool_probes(["host"], tmp_path)) == ["MemAvailable"]
    assert names(pool_probes(["host", "cuda:0"], tmp_path)) == ["MemAvailable", "NVML", "CUDA"]


def test_a_jetson_asks_what_it_has(tmp_path, write):
    write("proc/device-tree/compatible", "nvidia,tegra234\0")
    write("proc/driver/nvidia/gpus/0/information", "")
    assert names(pool_probes(["unified"], tmp_path)) == ["MemAvailable"]
    write("usr/bin/tegrastats", "")
    write("sys/kernel/debug/nvmap/iovmm/clients", CLIENTS)
    assert names(pool_probes(["unified"], tmp_path)) == ["MemAvailable", "tegrastats", "nvmap"]
    assert names(pool_probes(["cuda:0"], tmp_path)) == [], "it has no such memory"
    assert names(size_probes(tmp_path)) == ["MemAvailable"]
