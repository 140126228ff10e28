"""What is to be mended, and the lines, on trees of files that look like machines."""

import pytest

from scheduler.doctor.advice import advise

SWAPS = "Filename Type Size Used Priority\n"
CONF = "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"


@pytest.fixture
def machine(tmp_path):
    """A machine with nothing to mend; `write` changes it."""

    def write(path, text):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    (tmp_path / "dev/shm").mkdir(parents=True)
    write("proc/swaps", SWAPS + "/swapfile file 8388604 1024 -2\n")
    write("proc/sys/vm/swappiness", "10\n")
    write("etc/fstab", "/swapfile none swap sw 0 0\n")
    write("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
    machine.write, machine.root = write, tmp_path
    return machine


def machine_advice(machine):
    return {advice.about: advice for advice in advise(machine.root)}


def to_mend(machine):
    return {about: a.mend for about, a in machine_advice(machine).items() if not a.good}


def test_what_is_set_up_well_is_not_touched(machine):
    assert to_mend(machine) == {}
    assert machine_advice(machine)["swap"].text == "8.00 GiB on a disk, 1.0 MiB in use"


def test_what_the_system_does_not_say_is_unknown_and_no_fault(machine):
    for path in ("proc/swaps", "proc/sys/vm/swappiness", "proc/pressure/memory"):
        (machine.root / path).unlink()
    assert to_mend(machine) == {}
    assert "unknown" in machine_advice(machine)["swap"].text
    assert "unknown" in machine_advice(machine)["pressure"].text


def test_without_swap_the_lines_make_some_and_keep_it(machine):
    machine.write("proc/swaps", SWAPS)
    lines = to_mend(machine)["swap"]
    assert [line.split()[1] for line in lines[:4]] == ["fallocate", "chmod", "mkswap", "swapon"]
    assert lines[4].startswith("/swapfile none swap sw 0 0")


def test_swap_that_is_gone_after_a_start_gets_its_line(machine):
    machine.write("etc/fstab", "/dev/root / ext4 defaults 0 1\n")
    assert to_mend(machine)["swap"] == ("/swapfile none swap sw 0 0    # into /etc/fstab",)
    machine.write("proc/swaps", SWAPS + "/dev/nvme0n1p3 partition 8388604 0 -2\n")
    machine.write("etc/fstab", "UUID=1234-abcd none swap sw 0 0\n")
    assert "swap" not in to_mend(machine), "a partition is named by its UUID there"


def test_eager_swapping_is_calmed(machine):
    machine.write("proc/sys/vm/swappiness", "60\n")
    assert "vm.swappiness=10" in to_mend(machine)["swappiness"][0]


def test_pressure_that_is_felt_is_told(machine):
    machine.write("proc/pressure/memory", "some avg10=10.00 avg60=0.00 avg300=0.00 total=0\n")
    assert "pressure" not in to_mend(machine)
    machine.write("proc/pressure/memory", "some avg10=10.01 avg60=0.00 avg300=0.00 total=0\n")
    assert "memory.budget" in to_mend(machine)["pressure"][0]


def test_shared_memory_that_is_missing_or_small_is_told(machine, monkeypatch):
    import os
    from types import SimpleNamespace

    small = SimpleNamespace(f_blocks=16384, f_bavail=16384, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _: small)
    assert to_mend(machine)["/dev/shm"][0] == "sudo mount -o remount,size=1G /dev/shm"
    machine.write(".dockerenv", "")
    assert to_mend(machine)["/dev/shm"] == ("docker run --shm-size=1g ...",)
    monkeypatch.undo()
    (machine.root / "dev/shm").rmdir()
    assert "fstab" in to_mend(machine)["/dev/shm"][0]


@pytest.fixture
def board(machine):
    machine.write("proc/device-tree/compatible", "nvidia,tegra234\0")
    machine.write("usr/bin/tegrastats", "")
    machine.write("etc/nvpmodel.conf", CONF)
    machine.write("var/lib/nvpmodel/status", "pmode:0002 fmode:quiet\n")
    return machine


def test_a_board_set_up_well_is_not_touched(board):
    assert to_mend(board) == {}
    assert machine_advice(board)["nvpmodel"].text == "mode 2, MAXN_SUPER"


def test_a_slow_mode_is_told_with_the_boards_own_number_of_the_fast_one(board):
    board.write("var/lib/nvpmodel/status", "pmode:0000 fmode:quiet\n")
    assert to_mend(board)["nvpmodel"] == ("sudo nvpmodel -m 2", "sudo jetson_clocks")
    board.write("etc/nvpmodel.conf", "garbage")
    assert "nvpmodel" not in to_mend(board), "unknown is no fault"


def test_zram_on_a_board_takes_what_engines_need(board):
    zram = "/dev/zram0 partition 1017852 0 5\n/swapfile file 8388604 0 -2\n"
    board.write("proc/swaps", SWAPS + zram)
    assert list(to_mend(board)) == ["zram"]
    assert "nvzramconfig" in to_mend(board)["zram"][0]
    (board.root / "proc/device-tree/compatible").unlink()
    assert to_mend(board) == {}, "elsewhere it is as good as any swap"


def test_tegrastats_is_put_where_it_is_found(board):
    (board.root / "usr/bin/tegrastats").unlink()
    assert "docker run -v" in to_mend(board)["tegrastats"][0]
    board.write("home/nvidia/tegrastats", "")
    (line,) = to_mend(board)["tegrastats"]
    assert line == f"sudo ln -s {board.root}/home/nvidia/tegrastats /usr/local/bin/tegrastats"
