"""What engines leave behind in the process, measured in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MIB = 2**20
CYCLES = 5

LIVES = """
import json, sys, threading
from importlib import import_module
from importlib.metadata import distribution

import cv2, numpy, onnxruntime, psutil

from scheduler.memory.trim import release_free_memory
from scheduler.plugin.engine import EngineContext

where, options, cycles = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
module, _, name = where.partition(":")
plugin = getattr(import_module(module), name)
page = cv2.imread(str(distribution("scikit-image").locate_file("skimage/data/page.png")))
images = {
    "OnnxRuntimeEngine": [numpy.ones((1, 3, side, 640), numpy.float32) for side in (320, 480, 96)],
    "CenterFaceEngine": [page, page[:60], page[:, :100]],
    "RapidOcrEngine": [page[:60], page[:30, :200]],
}[name]
process, resident, results = psutil.Process(), [], []

def note():
    release_free_memory()
    resident.append(process.memory_info().rss)

def live():
    for _ in range(cycles + 1):
        engine = plugin(plugin.Options(**options), EngineContext())
        engine.load()
        engine.warm_up()
        results.append([engine.infer([image]) for image in images])
        engine.unload()
        del engine
        if name == "OnnxRuntimeEngine":
            results[-1] = results[-1][-1]
        note()

note()
thread = threading.Thread(target=live)
thread.start()
thread.join()
print(json.dumps(resident))
"""
"""Results are kept: they must hold nothing of the engine's. Maps are large, so of them only the
last of each life is, a fraction of a MiB."""

DETECTOR = {"model": "rapidocr:rapidocr/models/PP-OCRv6_det_small.onnx"}


@pytest.mark.parametrize(
    ("engine", "once"),
    [
        ("rota_onnxruntime:OnnxRuntimeEngine", 20 * MIB),
        ("rota_vision:CenterFaceEngine", 20 * MIB),
        ("rota_vision:RapidOcrEngine", 60 * MIB),
    ],
)
@pytest.mark.parametrize(
    "options",
    [{"arena": "on", "weights": "copied"}, {"arena": "off", "weights": "mapped", "threads": 2}],
)
def test_unload_gives_the_memory_back(tmp_path: Path, engine: str, once: int, options: Any) -> None:
    """The first life pays what a process pays once (libraries); after it, none leaves anything.

    malloc is told to give blocks of 1 MiB and more back at once. Left alone it raises that limit to
    32 MiB as it goes, and then keeps what lies between smaller pieces.
    """
    if engine.endswith("OnnxRuntimeEngine"):
        options = options | DETECTOR
    command = [sys.executable, "-c", LIVES, engine, json.dumps(options)]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "MALLOC_MMAP_THRESHOLD_": str(MIB)}

    def lives(cycles: int) -> list[int]:
        run = subprocess.run(
            [*command, str(cycles)], check=True, capture_output=True, text=True, env=environment
        )
        found: list[int] = json.loads(run.stdout)
        return found

    def keeps(found: list[int]) -> bool:
        before, first, *later = found
        is_paid_once = first - before < once and max(later) - first < 8 * MIB
        return not (is_paid_once and later[-1] - later[0] < 4 * MIB)

    lives(0)  # makes the cached forms of the models
    tries = [lives(CYCLES)]
    if keeps(tries[0]):  # What leaks does so every time; what the heap keeps by chance does not.
        tries.append(lives(CYCLES))
    assert not keeps(tries[-1]), [[round(value / MIB) for value in found] for found in tries]
