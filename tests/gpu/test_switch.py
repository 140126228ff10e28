"""A switch from one engine to another costs hardly more than the unload and the load themselves."""

import dataclasses
import gc
import statistics
import threading
import time
from contextlib import contextmanager

import anyio
import pytest
from footprints import measured
from member import CPU, CUDA, EXACT, dense, images, matrices
from place import GIB, POOL
from serving import Steps, rota

ROUNDS, REPEATS = 12, 3
MOST_MS = 5


def bare_onnx(one, other):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1

    def load(member):
        ours = {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}
        place = [(CUDA, EXACT[CUDA] | ours), CPU]
        return onnxruntime.InferenceSession(str(member.options.model), options, providers=place)

    took = []
    session = load(one)
    for round_number in range(ROUNDS):
        began = time.perf_counter()
        del session
        session = load((other, one)[round_number % 2])
        took.append((time.perf_counter() - began) * 1e3)
        session.run(None, one.inputs[0])
    return took


def bare_dense(one, other):
    took = []
    plugin = one.plugin(POOL)
    plugin.load()
    for round_number in range(ROUNDS):
        began = time.perf_counter()
        plugin.unload()
        plugin = (other, one)[round_number % 2].plugin(POOL)
        plugin.load()
        took.append((time.perf_counter() - began) * 1e3)
        plugin.infer([one.inputs[0]])
    plugin.unload()
    return took


def in_thread(function, *args):
    kept = []
    thread = threading.Thread(target=lambda: kept.append(function(*args)))
    thread.start()
    thread.join()
    return kept[0]


def timed(member, took):
    """The same member, whose engine notes how many ms its own unloads and loads take."""

    class Timed(member.engine):
        def load(self):
            with noted():
                super().load()

        def unload(self):
            with noted():
                super().unload()

    @contextmanager
    def noted():
        began = time.perf_counter()
        yield
        took.append((time.perf_counter() - began) * 1e3)

    return dataclasses.replace(member, engine=Timed)


async def switches(one, other):
    """Return the ms of each switch, and of the engines' own part in it."""
    steps, took = Steps(), []
    pair = [timed(member, took) for member in (one, other)]
    rules = {member.name: {"exclusive": ["one"]} for member in pair}
    gc.collect()
    gc.freeze()  # as `rota run` does when it starts
    async with rota(pair, {POOL: 8 * GIB}, steps, rules) as it:
        for round_number in range(ROUNDS + 1):
            member = pair[round_number % 2]
            await it.infer(member.name, member.inputs[0])
    unloads_and_loads = took[1 : 2 * ROUNDS + 1]  # after the first load, before the last unload
    own = [sum(unloads_and_loads[i : i + 2]) for i in range(0, 2 * ROUNDS, 2)]
    return steps.switches_ms, own


@pytest.fixture(params=["dense 1", "dense 4", "matrices 1", "matrices 4", "images"])
def pair(request, folder, watch):
    """Two engines of a kind and size (in blocks of 256 MiB), with measured footprints."""
    kind, *blocks = request.param.split()
    make = {"dense": dense, "matrices": matrices, "images": images}[kind]
    made = [make(folder, f"{kind}-{seed}", *map(int, blocks), seed) for seed in (30, 31)]
    if kind != "dense":
        options = made[0].options.model_copy(update={"warm_up": False})
        made = [
            dataclasses.replace(
                one, options=options.model_copy(update={"model": one.options.model})
            )
            for one in made
        ]
    known = [dataclasses.replace(one, footprint=measured(one, POOL, watch)[0]) for one in made]
    return request.param, bare_dense if kind == "dense" else bare_onnx, known


@pytest.mark.usefixtures("fleet")  # it has paid what a process pays once
def test_a_switch_costs_little_more_than_unload_and_load(pair, figures):
    kind, bare, engines = pair
    library, whole, own = [], [], []
    for _ in range(REPEATS):
        library += in_thread(bare, *engines)
        seen, part_of_it = anyio.run(switches, *engines)
        whole += seen
        own += part_of_it
    more = [all_of_it - part for all_of_it, part in zip(whole, own, strict=True)]
    figures(
        f"switch of {kind}",
        rota_ms=statistics.median(whole),
        engines_own_unload_and_load_ms=statistics.median(own),
        more_ms=statistics.median(more),
        most_more_ms=max(more),
        bare_library_ms=statistics.median(library),
        rota_spread_ms=[min(whole), max(whole)],
        library_spread_ms=[min(library), max(library)],
        switches=len(whole),
    )
    assert statistics.median(more) <= MOST_MS
