from dataclasses import replace

import pytest

from scheduler.memory.budget import machine_samples, machine_totals
from scheduler.memory.machine import MachineKind, host_pool, machine_kind
from scheduler.memory.probe import PoolSample, cautious

MIB = 1024**2


class Fixed:
    """A probe that says what it was told to say."""

    def __init__(self, *samples):
        self.samples = samples

    def sample(self):
        return self.samples


def sample(pool, available, *, total=8000, source="fixed"):
    available = None if available is None else available * MIB
    total = None if total is None else total * MIB
    return PoolSample(
        pool=pool, total_bytes=total, available_bytes=available, source=source, taken_at_ns=0
    )


def test_a_machine_without_a_gpu_has_one_memory(tmp_path):
    assert machine_kind(tmp_path) is MachineKind.INTEGRATED
    assert host_pool(MachineKind.INTEGRATED) == "unified"


def test_a_driver_with_devices_makes_it_discrete(tmp_path):
    gpus = tmp_path / "proc/driver/nvidia/gpus"
    gpus.mkdir(parents=True)
    assert machine_kind(tmp_path) is MachineKind.INTEGRATED
    (gpus / "0000:01:00.0").mkdir()
    assert machine_kind(tmp_path) is MachineKind.DISCRETE
    assert host_pool(MachineKind.DISCRETE) == "host"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("etc/nv_tegra_release", b"# R36"),
        ("proc/device-tree/compatible", b"nvidia,p3768-0000\0nvidia,tegra234\0"),
    ],
)
def test_a_jetson_is_integrated_although_its_driver_lists_a_gpu(tmp_path, path, content):
    (tmp_path / "proc/driver/nvidia/gpus/0").mkdir(parents=True)
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes(content)
    assert machine_kind(tmp_path) is MachineKind.INTEGRATED


def test_a_discrete_device_has_its_own_figure():
    probes = [Fixed(sample("host", 5200)), Fixed(sample("cuda:0", 400, total=1000))]
    samples = machine_samples(probes)
    assert samples["host"].available_bytes == 5200 * MIB
    assert samples["cuda:0"].available_bytes == 400 * MIB
    assert machine_totals(probes) == {"host": 8000 * MIB, "cuda:0": 1000 * MIB}


def test_an_unknown_pool_is_left_out_and_not_zero():
    probes = [Fixed(sample("unified", 5000), sample("cuda:0", None, total=None))]
    assert machine_totals(probes) == {"unified": 8000 * MIB}


def test_of_two_tools_the_larger_use_counts_and_both_are_named():
    probes = [Fixed(sample("unified", 1010, source="tool")), Fixed(sample("unified", 101))]
    (said,) = machine_samples(probes).values()
    assert said.available_bytes == 101 * MIB
    assert said.source == f"fixed (tool says {1010 * MIB})"


def test_tools_that_agree_are_not_flagged_and_the_unknown_does_not_win():
    probes = [
        Fixed(sample("unified", 1000)),
        Fixed(sample("unified", 1100, source="tool"), sample("unified", None, source="none")),
    ]
    (said,) = machine_samples(probes).values()
    assert (said.available_bytes, said.source) == (1000 * MIB, "fixed")


def test_the_real_machine_has_a_total():
    (total,) = [size for pool, size in machine_totals().items() if pool in {"host", "unified"}]
    assert total > 256 * MIB


def test_what_one_source_does_not_know_is_taken_from_the_others():
    least = replace(sample("unified", 1000, total=None), used_bytes=5)
    other = replace(sample("unified", 1100), used_bytes=50, largest_block_bytes=4 * MIB)
    said = cautious((other, least))
    assert said.available_bytes == 1000 * MIB
    assert said.total_bytes == 8000 * MIB
    assert (said.used_bytes, said.largest_block_bytes) == (50, 4 * MIB)
