"""The memory limits of the control groups this process is in (Linux, cgroup v1 and v2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from scheduler.memory.probe import known_bytes


@dataclass(frozen=True, slots=True)
class Files:
    """What one version of the interface calls its files and keys.

    From the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. A group
    above `memory.high` is throttled to a crawl long before `memory.max` kills it, so both are
    limits.
    """

    limits: tuple[str, ...]
    usage: str
    inherited_limit: str | None
    reclaimable: tuple[str, ...]


V2 = Files(("memory.max", "memory.high"), "memory.current", None, ("inactive_file", "active_file"))
V1 = Files(
    ("memory.limit_in_bytes",),
    "memory.usage_in_bytes",
    "hierarchical_memory_limit",
    ("total_inactive_file", "total_active_file"),
)


@dataclass(frozen=True, slots=True)
class GroupMemory:
    """One control group: its limit and what could still be allocated below it, in bytes."""

    limit_bytes: int
    available_bytes: int | None


def group_memories(root: Path = Path("/")) -> list[GroupMemory]:
    """The limited groups that this process is in, the innermost first; every one of them binds.

    File cache does not count as use: the kernel gives it up when the group reaches its limit. (Both
    file lists count as reclaimable, as in MemAvailable; shared memory is on neither.) v1 writes "no
    limit" as 9223372036854771712, so compare with what the machine has. `root` is where /proc and
    /sys are found.
    """
    return [
        memory
        for directory, files in _groups(root)
        if (memory := _group_memory(directory, files)) is not None
    ]


def _group_memory(directory: Path, files: Files) -> GroupMemory | None:
    stat = _stat(directory)
    limits = [known_bytes(_text(directory / name)) for name in files.limits]
    limits.append(stat.get(files.inherited_limit or ""))
    known = [limit for limit in limits if limit is not None]
    if not known:
        return None
    usage = known_bytes(_text(directory / files.usage))
    if usage is None:
        return GroupMemory(min(known), None)
    used = max(0, usage - sum(stat.get(key, 0) for key in files.reclaimable))
    return GroupMemory(min(known), max(0, min(known) - used))


def _groups(root: Path) -> Iterator[tuple[Path, Files]]:
    """Each directory from this process's group up to where its hierarchy is mounted."""
    for mount_root, mount_point, files in _mounts(root):
        top = root / mount_point.lstrip("/")
        below = _below(_own_group(root, files), mount_root)
        for level in (below, *below.parents):
            if (top / level).is_dir():
                yield top / level, files


def _below(group: str, mount_root: str) -> PurePosixPath:
    """Where in a mount a group is: a container often sees its own group as the whole mount."""
    try:
        below = PurePosixPath(group).relative_to(mount_root)
    except ValueError:
        return PurePosixPath()
    return PurePosixPath() if ".." in below.parts else below


def _mounts(root: Path) -> Iterator[tuple[str, str, Files]]:
    """(root in the hierarchy, mount point, files) of each memory hierarchy: proc(5), mountinfo."""
    for line in (_text(root / "proc/self/mountinfo") or "").splitlines():
        mount, _, filesystem = line.partition(" - ")
        fields, kinds = mount.split(), filesystem.split()
        if len(fields) < _MOUNT_FIELDS or len(kinds) < _KIND_FIELDS:
            continue
        if kinds[0] == "cgroup2":
            yield fields[3], fields[4], V2
        elif kinds[0] == "cgroup" and "memory" in kinds[2].split(","):
            yield fields[3], fields[4], V1


_MOUNT_FIELDS = 5
_KIND_FIELDS = 3


def _own_group(root: Path, files: Files) -> str:
    """The group of this process: `0::/path` in v2, `N:memory:/path` in v1 (cgroups(7))."""
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if files is V2 and hierarchy == "0" and not controllers:
            return path
        if files is V1 and "memory" in controllers.split(","):
            return path
    return "/"


def _stat(directory: Path) -> dict[str, int]:
    pairs = (line.partition(" ") for line in (_text(directory / "memory.stat") or "").splitlines())
    figures = ((key, known_bytes(value)) for key, _, value in pairs)
    return {key: figure for key, figure in figures if figure is not None}


def _text(path: Path) -> str | None:
    """The file's text; None where it cannot be read, for then the group sets no limit we know."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
