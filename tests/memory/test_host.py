"""What may be allocated: MemAvailable and control groups, on a fake /proc and /sys."""

from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.memory.budget import machine_totals
from scheduler.memory.cgroup import group_memories
from scheduler.memory.host import HostProbe, host_probes
from scheduler.memory.probe import known_bytes

MIB = 1024**2
GIB = 1024**3
NO_LIMIT_V1 = "9223372036854771712"


class Machine:
    """A directory that looks like / to the probe."""

    def __init__(self, root, monkeypatch):
        self.root = root
        monkeypatch.setattr(psutil, "PROCFS_PATH", str(root / "proc"))
        self.meminfo(total=24 * GIB, free=20 * GIB, available=22 * GIB)

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def meminfo(self, *, total, free, available):
        rest = "Buffers: 0 kB\nCached: 0 kB\nShmem: 0 kB\nActive: 0 kB\nInactive: 0 kB\n"
        figures = {"MemTotal": total, "MemFree": free, "MemAvailable": available}
        text = "".join(f"{key}: {value // 1024} kB\n" for key, value in figures.items())
        self.write("proc/meminfo", text + rest)

    def cgroup2(self, group="/rota", *, mount_root="/"):
        self.write("proc/self/cgroup", f"0::{group}\n")
        self.write(
            "proc/self/mountinfo",
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
            f"31 22 0:26 {mount_root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n",
        )

    def cgroup1(self, group="/rota"):
        self.write("proc/self/cgroup", f"5:cpu,cpuacct:/\n4:memory:{group}\n0::/\n")
        self.write(
            "proc/self/mountinfo",
            "31 22 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
            "32 22 0:27 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n",
        )

    def group(self, path, **files):
        for name, text in files.items():
            self.write(f"sys/fs/cgroup/{path}/{name.replace('__', '.')}", str(text))

    def sample(self):
        (sample,) = HostProbe(root=self.root).sample()
        return sample


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


def test_page_cache_does_not_close_the_gate(machine):
    machine.meminfo(total=8000 * MIB, free=400 * MIB, available=5200 * MIB)
    sample = machine.sample()
    assert sample.available_bytes == 5200 * MIB
    assert sample.total_bytes == 8000 * MIB
    assert (sample.pool, sample.source) == ("unified", "MemAvailable")


def test_low_available_is_low_whatever_is_free(machine):
    machine.meminfo(total=8000 * MIB, free=850 * MIB, available=900 * MIB)
    assert machine.sample().available_bytes == 900 * MIB


@pytest.mark.parametrize(
    ("limit", "total_gib"),
    [(str(4 * GIB), 4), ("max", 24), (NO_LIMIT_V1, 24), (None, 24), ("", 24)],
)
def test_the_limit_of_the_group_is_the_machine(machine, limit, total_gib):
    machine.cgroup2()
    if limit is not None:
        machine.group("rota", memory__max=limit + "\n", memory__current="0")
    assert machine.sample().total_bytes == total_gib * GIB
    assert machine_totals([HostProbe(root=machine.root)]) == {"unified": total_gib * GIB}


def test_a_parent_with_less_binds_its_children(machine):
    machine.cgroup2("/pod/rota")
    machine.group("pod/rota", memory__max=4 * GIB, memory__current=GIB)
    machine.group("pod", memory__max=3 * GIB, memory__current=2 * GIB)
    sample = machine.sample()
    assert sample.total_bytes == 3 * GIB
    assert (sample.available_bytes, sample.source) == (GIB, "cgroup")


def test_a_sibling_does_not_bind(machine):
    machine.cgroup2("/pod/rota")
    machine.group("pod/rota", memory__max=4 * GIB, memory__current=GIB)
    machine.group("pod/other", memory__max=GIB, memory__current=GIB)
    assert machine.sample().total_bytes == 4 * GIB


def test_file_cache_of_the_group_is_not_use(machine):
    machine.cgroup2()
    stat = f"anon {GIB}\nfile {2 * GIB}\ninactive_file {GIB}\nactive_file {GIB // 2}\n"
    machine.group("rota", memory__max=4 * GIB, memory__current=3 * GIB, memory__stat=stat)
    assert machine.sample().available_bytes == 4 * GIB - (3 * GIB - GIB - GIB // 2)


def test_throttling_is_a_limit_too(machine):
    machine.cgroup2()
    machine.group("rota", memory__max=4 * GIB, memory__high=2 * GIB, memory__current=GIB)
    assert machine.sample().available_bytes == GIB


def test_a_group_over_its_limit_has_nothing_rather_than_less(machine):
    machine.cgroup2()
    machine.group("rota", memory__max=GIB, memory__current=2 * GIB)
    assert machine.sample().available_bytes == 0


def test_a_container_sees_its_own_group_as_the_mount(machine):
    machine.cgroup2("/docker/abc", mount_root="/docker/abc")
    machine.group(".", memory__max=3 * GIB, memory__current=GIB)
    assert machine.sample().total_bytes == 3 * GIB


def test_a_group_outside_the_namespace_is_read_at_the_mount(machine):
    machine.cgroup2("/../../outside")
    machine.group(".", memory__max=3 * GIB, memory__current=GIB)
    machine.write("sys/outside/memory.max", str(GIB))
    assert machine.sample().total_bytes == 3 * GIB


def test_v1_limits_with_what_is_inherited(machine):
    machine.cgroup1("/docker/abc")
    stat = f"total_inactive_file {GIB}\ntotal_active_file 0\nhierarchical_memory_limit {3 * GIB}\n"
    machine.group(
        "memory/docker/abc",
        memory__limit_in_bytes=NO_LIMIT_V1,
        memory__usage_in_bytes=2 * GIB,
        memory__stat=stat,
    )
    sample = machine.sample()
    assert sample.total_bytes == 3 * GIB
    assert sample.available_bytes == 2 * GIB


def test_v1_without_limit_is_the_host(machine):
    machine.cgroup1()
    machine.group("memory/rota", memory__limit_in_bytes=NO_LIMIT_V1, memory__usage_in_bytes=GIB)
    sample = machine.sample()
    assert (sample.total_bytes, sample.available_bytes) == (24 * GIB, 22 * GIB)
    assert sample.source == "MemAvailable"


def test_unreadable_use_leaves_the_figure_of_the_system(machine):
    machine.cgroup2()
    machine.group("rota", memory__max=4 * GIB)
    sample = machine.sample()
    assert (sample.total_bytes, sample.available_bytes) == (4 * GIB, 22 * GIB)


@pytest.mark.parametrize("figure", ["[N/A]", "N/A", "max", "", None, "-5", "1.5", "7" * 30, "٣"])
def test_what_is_no_figure_is_unknown(figure):
    assert known_bytes(figure) is None


def test_zero_is_known():
    assert known_bytes(" 0\n") == 0


@given(st.text())
def test_no_text_breaks_the_reading_of_a_figure(text):
    figure = known_bytes(text)
    assert figure is None or figure == int(text)


@pytest.mark.parametrize("name", ["cgroup", "mountinfo"])
@pytest.mark.parametrize("text", ["", "\n", ":::", "0::", "a b c\n", "1 2 3 4 5 - cgroup2", "\0- "])
def test_garbled_proc_files_mean_no_groups_and_no_error(machine, name, text):
    machine.cgroup2()
    machine.write(f"proc/self/{name}", text)
    assert group_memories(machine.root) == []


def test_the_real_machine_agrees_with_proc():
    with Path("/proc/meminfo").open() as file:
        meminfo = {key: int(rest.split()[0]) * 1024 for key, rest in (x.split(":") for x in file)}
    (sample,) = HostProbe().sample()
    assert 0 < sample.total_bytes <= meminfo["MemTotal"]
    assert 0 < sample.available_bytes <= sample.total_bytes
    if sample.source == "MemAvailable":
        assert abs(sample.available_bytes - meminfo["MemAvailable"]) < meminfo["MemTotal"] // 10


def test_each_name_of_the_cpus_memory_has_a_probe_and_a_device_has_none():
    probes = host_probes(["cuda:0", "unified", "host"])
    assert [sample.pool for probe in probes for sample in probe.sample()] == ["unified", "host"]
