"""What an engine takes of a device, measured by NVML while nothing else moves memory there."""

from typing import Any

from member import Member
from nvml_watch import Watch

from scheduler import Footprint

GRAIN_BYTES = 2 * 1024**2
"""The driver hands memory out in pieces of this size."""
MARGIN = 1.01


def tried(member: Member, pool: str) -> None:
    """Load it, run it in all sizes, unload it: what the process pays once is paid then."""
    plugin = member.plugin(pool)
    plugin.load()
    plugin.warm_up()
    for count in (1, member.batch_max):
        plugin.infer([member.inputs[0]] * count)
    plugin.unload()


def measured(member: Member, pool: str, watch: Watch) -> tuple[Footprint, int]:
    """Its footprint, and the bytes that it left behind."""
    plugin = member.plugin(pool)
    before = watch.look().now_bytes
    plugin.load()
    plugin.warm_up()
    seen = watch.look()
    load_peak, resident = seen.most_bytes - before, seen.now_bytes - before
    peaks: dict[int, int] = {}
    for count in (*range(1, member.batch_max + 1), 1, member.batch_max, 1):
        for _ in range(2):
            plugin.infer([member.inputs[0]] * count)
        seen = watch.look()
        peaks[count] = max(peaks.get(count, 0), seen.most_bytes - before)
        resident = max(resident, seen.now_bytes - before)
    plugin.unload()
    left = watch.look().now_bytes - before
    resident = _grains(max(resident, 1))
    more = member.batch_max - 1
    footprint = Footprint(
        resident=resident,
        load_peak=max(_grains(load_peak), resident),
        workspace=_grains(max(0, peaks[1] - resident)),
        per_item=_grains(max(0, peaks[member.batch_max] - peaks[1]) / more) if more else 0,
    )
    return footprint, left


def _grains(size_bytes: Any) -> int:
    return -(-int(size_bytes * MARGIN) // GRAIN_BYTES) * GRAIN_BYTES
