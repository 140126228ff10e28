"""What is not set up well for engines that share a small memory, and the lines that mend it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from scheduler.core.amounts import sized
from scheduler.memory.jetson import Jetson, find_jetson
from scheduler.memory.psi import memory_pressure
from scheduler.memory.swap import Swap, at_boot, swappiness, swaps
from scheduler.memory.tegrastats import find_tegrastats

GIB = 1024**3
SHM_LEAST_BYTES = 256 * 1024**2
"""Some frames and tensors of every client; containers begin with 64 MB of it."""
SHM = "/dev/shm"  # noqa: S108 - where POSIX shared memory is on Linux
SWAP_FILE = "/swapfile"
SWAP_GIB = 8
SWAPPINESS = 10
PRESSED_PERCENT = 10.0
"""Of the time somebody waits for memory: from here on it is felt."""

NVPMODEL = "etc/nvpmodel.conf"
NVPMODEL_STATUS = "var/lib/nvpmodel/status"
_MODE = re.compile(r"<\s*POWER_MODEL\s+ID=([0-9]{1,3})\s+NAME=(\S+)\s*>")
_PRESENT_MODE = re.compile(r"pmode:([0-9]{1,4})")


class Advice(BaseModel):
    """One thing that was looked at. When it is not `good`, `mend` has the lines that mend it."""

    model_config = ConfigDict(frozen=True)

    about: str
    good: bool
    text: str
    mend: tuple[str, ...] = ()


def advise(root: Path = Path("/")) -> list[Advice]:
    """Return what there is to say of the machine whose files are under `root`."""
    jetson = find_jetson(root)
    found = [*_swap(root, jetson), *_shared_memory(root), *_pressure(root)]
    return found if jetson is None else [*found, *_tegrastats(root), *_power(root)]


def _swap(root: Path, jetson: Jetson | None) -> Iterator[Advice]:
    areas = swaps(root)
    if areas is None:
        yield Advice(about="swap", good=True, text="unknown: the system does not say")
        return
    on_disk = [area for area in areas if not area.is_zram]
    zram = [area for area in areas if area.is_zram]
    if on_disk:
        yield from _disk_swap(root, on_disk)
    else:
        yield Advice(
            about="swap",
            good=False,
            text="there is none on a disk: when memory is out, a process is killed at once",
            mend=_swap_lines(),
        )
    if zram:
        yield _zram(zram, jetson, good=jetson is None)


def _disk_swap(root: Path, areas: list[Swap]) -> Iterator[Advice]:
    size_bytes = sum(area.size_bytes for area in areas)
    used_bytes = sum(area.used_bytes for area in areas)
    text = f"{sized(size_bytes)} on a disk, {sized(used_bytes)} in use"
    lost = [a.name for a in areas if a.name.startswith("/") and not _returns(a.name, root)]
    if lost:
        lines = tuple(f"{name} none swap sw 0 0    # into /etc/fstab" for name in lost)
        text += "; it is gone after the next start"
        yield Advice(about="swap", good=False, text=text, mend=lines)
    else:
        yield Advice(about="swap", good=True, text=text)
    eager = swappiness(root)
    if eager is not None and eager > SWAPPINESS:
        yield Advice(
            about="swappiness",
            good=False,
            text=f"{eager}: weights of idle engines are swapped out, and read in when they run",
            mend=(
                f"echo vm.swappiness={SWAPPINESS} | sudo tee /etc/sysctl.d/99-rota.conf",
                "sudo sysctl --system",
            ),
        )


def _returns(name: str, root: Path) -> bool:
    """Whether a swap area is there again after a start; partitions are often named by UUID."""
    entries = at_boot(root)
    by_id = any(entry.startswith(("UUID=", "LABEL=", "PARTUUID=")) for entry in entries)
    return name in entries or (name.startswith("/dev/") and by_id)


def _zram(areas: list[Swap], jetson: Jetson | None, *, good: bool) -> Advice:
    size_bytes = sum(area.size_bytes for area in areas)
    text = f"{sized(size_bytes)} of compressed memory: it takes the memory that engines need"
    if jetson is None:
        return Advice(about="zram", good=good, text=text)
    lines = ("sudo systemctl disable nvzramconfig    # then start the board anew",)
    return Advice(about="zram", good=good, text=text, mend=lines)


def _swap_lines() -> tuple[str, ...]:
    return (
        f"sudo fallocate -l {SWAP_GIB}G {SWAP_FILE}",
        f"sudo chmod 600 {SWAP_FILE}",
        f"sudo mkswap {SWAP_FILE}",
        f"sudo swapon {SWAP_FILE}",
        f"{SWAP_FILE} none swap sw 0 0    # into /etc/fstab",
    )


def _shared_memory(root: Path) -> Iterator[Advice]:
    try:
        status = os.statvfs(root / SHM.lstrip("/"))
    except OSError:
        line = "tmpfs /dev/shm tmpfs defaults,size=50% 0 0    # into /etc/fstab"
        yield Advice(about=SHM, good=False, text="there is none", mend=(line,))
        return
    size_bytes = status.f_blocks * status.f_frsize
    free_bytes = status.f_bavail * status.f_frsize
    good = size_bytes >= SHM_LEAST_BYTES
    text = f"{sized(size_bytes)}, {sized(free_bytes)} of it free"
    lines = () if good else _shm_lines(root)
    yield Advice(about=SHM, good=good, text=text, mend=lines)


def _shm_lines(root: Path) -> tuple[str, ...]:
    if (root / ".dockerenv").exists():
        return ("docker run --shm-size=1g ...",)
    return (
        "sudo mount -o remount,size=1G /dev/shm",
        "tmpfs /dev/shm tmpfs defaults,size=1G 0 0    # into /etc/fstab",
    )


def _pressure(root: Path) -> Iterator[Advice]:
    some = memory_pressure(root).some_percent
    if some is None:
        yield Advice(about="pressure", good=True, text="unknown: the kernel does not count it")
        return
    text = f"somebody waited for memory for {some:.0f} % of the last 10 s"
    lines = ("lower memory.budget, or raise memory.reserve",) if some > PRESSED_PERCENT else ()
    yield Advice(about="pressure", good=not lines, text=text, mend=lines)


def _tegrastats(root: Path) -> Iterator[Advice]:
    found = find_tegrastats(root)
    if found is None:
        yield Advice(
            about="tegrastats",
            good=False,
            text="it is not there; in a container it has to be brought in",
            mend=("docker run -v /usr/bin/tegrastats:/usr/bin/tegrastats:ro ...",),
        )
    elif found != str(root / "usr/bin/tegrastats"):
        line = f"sudo ln -s {found} /usr/local/bin/tegrastats"
        yield Advice(about="tegrastats", good=False, text=f"it is at {found}", mend=(line,))
    else:
        yield Advice(about="tegrastats", good=True, text=found)


def _power(root: Path) -> Iterator[Advice]:
    """Whether the board is in the mode in which its clocks may be highest: nvpmodel's files."""
    modes = {int(number): name for number, name in _MODE.findall(_text(root / NVPMODEL))}
    present = _PRESENT_MODE.search(_text(root / NVPMODEL_STATUS))
    fastest = next((number for number, name in modes.items() if name.startswith("MAXN")), None)
    if present is None or fastest is None:
        yield Advice(about="nvpmodel", good=True, text="unknown: its files say nothing")
        return
    mode = int(present[1])
    text = f"mode {mode}, {modes.get(mode, 'without a name')}"
    good = modes.get(mode, "").startswith("MAXN")
    lines = () if good else (f"sudo nvpmodel -m {fastest}", "sudo jetson_clocks")
    yield Advice(about="nvpmodel", good=good, text=text, mend=lines)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
