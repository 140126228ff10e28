"""What the tests on a GPU share: the card, NVML's eye on it, the models and their footprints."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import sys
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

import footprints
import member
import networks
from nvml_watch import Watch
from place import MIB, POOL

from scheduler.cli.run import TURN_S


class Figures:
    """Prints what was measured, and keeps it for ROTA_GPU_FIGURES, a file of JSON lines."""

    def __init__(self) -> None:
        self._path = os.environ.get("ROTA_GPU_FIGURES")
        self._began = time.monotonic()

    def __call__(self, what: str, **figures: object) -> None:
        shown = ", ".join(
            f"{key} {round(value, 3) if isinstance(value, float) else value}"
            for key, value in figures.items()
        )
        print(f"\n[{time.monotonic() - self._began:6.1f} s] {what}: {shown}", flush=True)
        if self._path:
            with Path(self._path).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"what": what, **figures}, default=str) + "\n")


@pytest.fixture(scope="session")
def figures():
    """Where figures go."""
    return Figures()


@pytest.fixture(scope="session")
def card(figures):
    """The cards of this machine; without one there is nothing to test."""
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        pytest.skip(f"no NVIDIA GPU: {error}")
    handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    names = [str(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
    figures("card", names=names, driver=pynvml.nvmlSystemGetDriverVersion())
    return names


@pytest.fixture(scope="session")
def watch(card, figures):
    """NVML's eye on the first card. Made before anything else is, so that it sees the card idle."""
    eye = Watch()
    figures("idle", card=card[0], used_mib=eye.look().now_bytes // MIB)
    yield eye
    eye.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder of the models, with the weights in it."""
    where = tmp_path_factory.mktemp("models")
    networks.write_weights(where)
    return where


@dataclasses.dataclass(frozen=True)
class Fleet:
    """All models by name, with measured footprints.

    `idle_bytes` is in use without us, `once_bytes` what this process keeps with nothing loaded.
    """

    members: dict[str, member.Member]
    idle_bytes: int
    once_bytes: int


BLOCKS = int(os.environ.get("ROTA_GPU_BLOCKS", "1"))
"""1 for models of 12 GiB in all; 0 for small ones, to try the tests themselves."""


def _as_large_as_its_twins(one, known):
    """Nets that differ in their weights alone get one footprint: the largest figures of all."""
    twins = [other.footprint for other in known.values() if other.name[0] == one.name[0] == "i"]
    if not twins:
        return one
    most = {key: max(getattr(twin, key) for twin in twins) for key in type(twins[0]).model_fields}
    return dataclasses.replace(one, footprint=type(twins[0])(**most))


@pytest.fixture(scope="session")
def fleet(watch, folder, figures):
    """Nine models of two kinds, measured one at a time after each has been used once."""
    idle_bytes = watch.look().now_bytes
    sizes = {"d0": 8, "d1": 8, "d2": 7, "d3": 5} if BLOCKS else {"d0": 1, "d1": 1}
    nets = {"m0": 7, "m1": 6, "m2": 6} if BLOCKS else {"m0": 1}
    members = [member.dense(folder, name, size, i) for i, (name, size) in enumerate(sizes.items())]
    members += [
        member.matrices(folder, name, size, 10 + i) for i, (name, size) in enumerate(nets.items())
    ]
    members += [member.images(folder, name, seed) for seed, name in enumerate(["i0", "i1"])]
    figures("made", models=len(members))
    for one in members:
        footprints.tried(one, POOL)
    once_bytes = watch.look().now_bytes - idle_bytes
    figures("once per process", mib=once_bytes // MIB)
    known = {}
    for one in members:
        footprint, left = footprints.measured(one, POOL, watch)
        known[one.name] = dataclasses.replace(one, footprint=footprint)
        sizes = {key: value // MIB for key, value in footprint.model_dump().items()}
        figures(f"footprint of {one.name}, MiB", **sizes, left_behind=left // MIB)
    known = {name: _as_large_as_its_twins(one, known) for name, one in known.items()}
    gc.freeze()  # as `rota run` does: what is there by now is not searched at every load and unload
    sys.setswitchinterval(TURN_S)
    return Fleet(known, idle_bytes, once_bytes)
