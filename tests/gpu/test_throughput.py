"""A model that is in memory is served at the rate of the bare library."""

import statistics
import threading
import time

import anyio
import numpy as np
import pytest
from member import CPU, CUDA, EXACT
from place import GIB, POOL
from serving import Steps, rota

SECONDS = 1.5
MOST_OF_IT = 0.95
BETWEEN_RUNS_MS = 1.0
"""Between two runs lies one pass through the event loop, whatever the length of the run."""
OURS = {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}


def bare(member, items, settings):
    """Return the answers per second of the library alone, in one thread."""
    done = []

    def run():
        if hasattr(member.options, "model"):
            once = bare_session(member, items, settings)
            plugin = None
        else:
            plugin = member.plugin(POOL)
            plugin.load()
            batch = [member.inputs[0]] * items

            def once():
                plugin._run(batch)

        for _ in range(5):
            once()
        began, runs = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < SECONDS:
            once()
            runs += 1
        done.append(items * runs / spent)
        if plugin is not None:
            plugin.unload()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return done[0]


def bare_session(member, items, settings):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    place = [(CUDA, EXACT[CUDA] | settings), CPU]
    session = onnxruntime.InferenceSession(str(member.options.model), options, providers=place)
    one = member.inputs[0]["x0"]

    def once():
        session.run(None, {"x0": one if items == 1 else np.concatenate([one] * items)})

    return once


async def through_rota(member, items):
    """Return the answers per second with requests always waiting, and the ms of a run."""
    runs, inside = 0, []

    class Timed(member.engine):
        def infer(self, batch):
            began = time.perf_counter()
            answers = super().infer(batch)
            inside.append((time.perf_counter() - began) * 1e3)
            return answers

    timed = type(member)(**{**vars(member), "engine": Timed})
    rules = {member.name: {"batch": {"max": items, "wait": 0}}}
    async with rota([timed], {POOL: 8 * GIB}, Steps(), rules) as it:
        for _ in range(5):
            await it.infer(member.name, member.inputs[0])
        end = time.perf_counter() + 0.2 + SECONDS
        began = None

        async def ask():
            nonlocal runs, began
            while (now := time.perf_counter()) < end:
                if began is None and now > end - SECONDS:
                    began, runs = now, 0
                    inside.clear()
                await it.infer(member.name, member.inputs[0])
                runs += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(2 * items + 2):
                tasks.start_soon(ask)
        return runs / (time.perf_counter() - began), statistics.median(inside)


@pytest.mark.parametrize(
    ("name", "items"), [("d0", 1), ("d0", 4), ("m0", 1), ("m0", 4), ("i0", 1), ("i0", 4)]
)
def test_a_resident_model_is_as_fast_as_the_bare_library(fleet, figures, name, items):
    lent = fleet.members[name]
    member = lent.kept(items)
    alone, served = [], []
    for _ in range(2):
        alone.append(bare(member, items, OURS))
        served.append(anyio.run(through_rota, member, items))
        served.append(anyio.run(through_rota, member, items))
        alone.append(bare(member, items, OURS))
    defaults = bare(member, items, {}) if name[0] != "d" else None
    share = statistics.median(rate for rate, _ in served) / statistics.median(alone)
    more_ms = 1e3 * items / statistics.median(alone) * (1 / share - 1)
    giving_back, _ = anyio.run(through_rota, lent, items)
    figures(
        f"throughput of {name}, batches of {items}",
        bare_per_s=alone,
        rota_per_s=[rate for rate, _ in served],
        share=share,
        run_ms=served[0][1],
        more_ms_per_run=more_ms,
        bare_with_onnxruntimes_defaults_per_s=defaults,
        rota_when_workspace_is_given_back_per_s=giving_back,
    )
    assert share >= MOST_OF_IT or more_ms <= BETWEEN_RUNS_MS
