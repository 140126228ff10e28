"""The engine `tensorrt` on a fake GPU: threads, contexts, the order of frees, leaks, and errors.

That the real libraries do what these calls ask of them is not shown here.
"""

import gc
import threading

import anyio
import numpy as np
import pytest
from fake_gpu import Gpu, Kind, Network, install, plan_bytes

from rota_tensorrt import ForeignPlan, NoDevice, NotFinite, TensorRtEngine
from rota_tensorrt.binding import Binding
from scheduler import Model
from scheduler.core.settings import PoolBudget, Settings
from scheduler.errors import BadInput, DeviceLost, EngineError, EngineOutOfMemory
from scheduler.plugin.capture import CAPTURE_GATE
from scheduler.plugin.engine import EngineContext
from scheduler.runtime.runtime import Runtime
from scheduler.testing import check_engine


@pytest.fixture
def gpu(monkeypatch):
    gpu = Gpu()
    gpu.network = Network()
    install(monkeypatch, gpu, gpu.network)
    yield gpu
    gc.collect()
    assert gpu.is_clean(), "something was not given back"


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "fake.plan"
    path.write_bytes(plan_bytes())
    return path


@pytest.fixture
def make(gpu, plan):  # noqa: ARG001 - engines are on the fake GPU
    made = []

    def make(context=None, **options):
        context = context or EngineContext("faces", "cuda:0")
        made.append(TensorRtEngine(TensorRtEngine.Options(plan=plan, **options), context))
        return made[-1]

    yield make
    for engine in made:
        engine.unload()


def rows(count, value=1.0, dtype=np.float32):
    return np.full((count, 3), value, dtype)


def loaded(engine):
    engine.load()
    engine.warm_up()
    return engine


@pytest.mark.parametrize("activation", ["held", "run", "shared"])
def test_it_keeps_every_rule_of_an_engine(gpu, plan, activation):
    options = {"plan": str(plan), "activation": activation}
    check_engine(TensorRtEngine, options, context=EngineContext("faces", "cuda:0"))
    assert len(gpu.threads) == 1


def test_all_of_it_happens_in_one_thread_with_the_context_current(gpu, make):
    engine = make()

    def life():
        loaded(engine)
        for _ in range(20):
            engine.infer([rows(1)])
        engine.unload()

    thread = threading.Thread(target=life)
    thread.start()
    thread.join()
    assert gpu.threads == {thread.ident}
    assert "execute" in gpu.calls


def test_what_is_taken_last_is_given_back_first(gpu, make):
    engine = loaded(make())
    gpu.calls.clear()
    engine.unload()
    engine.unload()
    order = [call for call in gpu.calls if call.startswith(("drop", "destroy", "detach"))]
    assert order == ["drop context", "destroy stream", "drop engine", "drop runtime", "detach"]
    assert gpu.calls[-1] == "detach"


def test_whatever_fails_everything_is_given_back(gpu, make):
    """Each call that can fail, one after the other: in load, in the first run, in the next."""
    failures = set()
    for at in range(200):
        gpu.fail_at = at
        engine = make()
        try:
            loaded(engine)
            engine.infer([rows(20)])
        except EngineError as error:
            failures.add(type(error))
        finally:
            engine.unload()
        assert gpu.is_clean(), f"call {at} of load or run leaves something behind"
        if gpu.fail_at is not None:
            break
    assert 20 < at < 199
    assert EngineOutOfMemory in failures


def test_no_context_is_a_lack_of_memory_in_every_cycle(gpu, make):
    for cycle in range(3):
        gpu.network.no_context = cycle == 2
        engine = make()
        if cycle < 2:
            loaded(engine)
        else:
            with pytest.raises(EngineOutOfMemory, match="not enough device memory for an exec"):
                engine.load()
        engine.unload()
        assert gpu.held_bytes == 0


def test_a_failed_load_does_not_hit_the_next_innocent_call(gpu, make):
    first = loaded(make())
    gpu.fail_on = "deserialize"
    second = make(EngineContext("second", "cuda:0"))
    with pytest.raises(EngineError):
        second.load()
    second.unload()
    (answer,) = first.infer([rows(2, 3.0)])
    assert (answer["y"] == 6).all()


def test_a_sticky_error_loses_the_device_to_the_process(gpu, make):
    first, second = loaded(make()), loaded(make(EngineContext("second", "cuda:0")))
    gpu.sticky = (700, "CUDA_ERROR_ILLEGAL_ADDRESS")
    with pytest.raises(DeviceLost, match="start it again"):
        first.infer([rows(1)])
    calls = len(gpu.calls)
    with pytest.raises(DeviceLost, match="second: GPU 0 is lost to this process since: "):
        second.infer([rows(1)])
    with pytest.raises(DeviceLost, match="third: GPU 0 is lost"):
        make(EngineContext("third", "cuda:0")).load()
    assert len(gpu.calls) == calls, "a lost device was asked again"
    for engine in (first, second):
        with pytest.raises(DeviceLost):
            engine.unload()


def test_engines_share_one_context_and_one_that_goes_leaves_the_others(gpu, make):
    engines = [loaded(make(EngineContext(name, "cuda:0"))) for name in "abc"]
    assert gpu.retained == 3, "each holds the primary context, which is one"
    engines[1].unload()
    assert gpu.retained == 2
    for value, engine in ((1.0, engines[0]), (2.0, engines[2])):
        (answer,) = engine.infer([rows(1, value)])
        assert (answer["y"] == 2 * value).all()
    with pytest.raises(EngineError, match="call load first"):
        engines[1].infer([rows(1)])


async def test_requests_at_the_same_time_each_have_their_own_answer(gpu, plan):
    """One execution context and one staging block: 200 rounds of two callers."""
    model = Model(
        name="net",
        engine="tensorrt",
        options={"plan": str(plan)},
        device="cuda:0",
        footprint=4000,
        batch={"max": 4},
    )
    pools = {"cuda:0": PoolBudget(budget_bytes=10_000)}
    wrong = []
    async with Runtime(Settings(pools=pools)) as runtime:
        runtime.register(model)

        async def ask(value):
            for count in range(1, 201):
                answer = await runtime.infer("net", rows(count % 3 + 1, value))
                if not (answer["y"] == 2 * value).all():
                    wrong.append((value, count))

        async with anyio.create_task_group() as callers:
            for value in (1.0, 2.0):
                callers.start_soon(ask, value)
    assert not wrong
    assert len(gpu.threads) == 1, "an execution context was used by two threads"
    gc.collect()


def test_each_answer_is_its_own_and_owns_its_memory(make):
    engine = loaded(make())
    before = engine.infer([rows(2, 1.0)])[0]["y"]
    engine.infer([rows(2, 9.0)])
    assert (before == 2).all()
    assert before.flags.owndata


def test_a_batch_runs_at_once_where_a_profile_takes_it(gpu, make):
    engine = loaded(make())
    gpu.calls.clear()
    answers = engine.infer([rows(1, 1), rows(3, 2), rows(2, 3)])
    assert gpu.calls.count("execute") == 1
    assert [answer["y"].tolist() for answer in answers] == [
        [[2.0] * 3] * 1,
        [[4.0] * 3] * 3,
        [[6.0] * 3] * 2,
    ]


def test_a_batch_that_no_profile_takes_runs_one_by_one(gpu, make):
    engine = loaded(make())
    gpu.calls.clear()
    answers = engine.infer([rows(20, 1), rows(20, 2)])
    assert gpu.calls.count("execute") == 2
    assert [answer["y"][0, 0] for answer in answers] == [2, 4]


def test_the_profile_follows_the_shape(gpu, make):
    engine = loaded(make())
    gpu.calls.clear()
    engine.infer([rows(8)])
    assert "profile" not in gpu.calls
    engine.infer([rows(9)])
    engine.infer([rows(30)])
    assert gpu.calls.count("profile") == 1


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (rows(33), "the plan takes [1, 3] to [8, 3] or [1, 3] to [32, 3]"),
        (np.zeros((2, 4), np.float32), "float32[any, 3]"),
        (np.zeros(3, np.float32), "float32[any, 3]"),
        (rows(1, dtype=np.float64), "float32[any, 3]"),
        (rows(1, dtype=">f4"), "float32[any, 3]"),
        (np.array([["a"] * 3]), "float32[any, 3]"),
        ({"z": rows(1)}, "inputs missing: x; unknown: z"),
        ([[1.0, 2.0, 3.0]], "send a numpy array"),
        (b"", "send a numpy array"),
    ],
)
def test_a_wrong_payload_is_refused_alone(make, payload, said):
    engine = loaded(make())
    bad, good = engine.infer([payload, rows(1)])
    assert isinstance(bad, BadInput)
    assert said in str(bad)
    assert (good["y"] == 2).all()


def test_no_row_at_all_is_refused(make):
    (bad,) = loaded(make()).infer([rows(0)])
    assert isinstance(bad, BadInput)
    assert "input x is [0, 3]; the plan takes [1, 3] to [8, 3]" in str(bad)


def test_half_precision_goes_in_and_out(gpu, make):
    gpu.network.dtype = Kind.HALF
    (answer,) = loaded(make()).infer([rows(2, 0.5, np.float16)])
    assert answer["y"].dtype == np.float16
    assert (answer["y"] == 1).all()


def test_a_type_that_numpy_lacks_is_told_at_load(gpu, make):
    gpu.network.dtype = Kind.BF16
    with pytest.raises(EngineError, match="x is BF16, which numpy does not have"):
        make().load()


def test_nan_is_an_error_where_none_is_promised(gpu, make):
    promised, open_ = loaded(make(finite=True)), loaded(make())
    gpu.network.answer = lambda x: x * np.float32("nan")
    with pytest.raises(NotFinite, match="output y has 6 of 6 values"):
        promised.infer([rows(2)])
    assert np.isnan(open_.infer([rows(2)])[0]["y"]).all()


def test_an_output_whose_shape_the_data_decides_is_as_long_as_the_run_says(gpu, make):
    gpu.network.data_dependent = True
    engine = loaded(make())
    for count in (1, 5, 2):
        (answer,) = engine.infer([rows(count, 2.0)])
        assert answer["y"].shape == (count, 3)
        assert (answer["y"] == 4).all()


@pytest.mark.parametrize(
    ("activation", "between", "shared"), [("held", 3000, 0), ("run", 2000, 0), ("shared", 2000, 1)]
)
def test_what_it_measures_is_what_it_holds(gpu, make, activation, between, shared):
    engine = make(activation=activation)
    assert engine.measure() == {}
    loaded(engine)
    staging = 2 * 256
    assert engine.measure() == {"cuda:0": between + staging}
    assert gpu.held_bytes == between + staging + shared * 1000


def test_on_unified_memory_the_pinned_block_counts_too(make):
    engine = loaded(make(EngineContext("faces", "unified")))
    assert engine.measure() == {"unified": 3000 + 2 * 2 * 256}


def test_engines_that_share_working_memory_have_the_largest_and_not_the_sum(gpu, make):
    network = gpu.network
    engines = []
    for needed in (1000, 5000, 3000):
        network.activation_bytes = needed
        engines.append(loaded(make(activation="shared")))
    own = len(engines) * (2000 + 2 * 256)
    assert gpu.held_bytes == own + 5000
    for engine in engines:
        assert (engine.infer([rows(2)])[0]["y"] == 2).all()
    engines[1].unload()
    assert gpu.held_bytes == own - (2000 + 2 * 256)
    network.activation_bytes = 3000
    engines[2].infer([rows(2)])
    assert gpu.held_bytes == own - (2000 + 2 * 256) + 3000


def test_memory_taken_for_a_run_is_what_its_shapes_need(gpu, make):
    engine = loaded(make(activation="run"))
    engine.infer([rows(8)])
    gpu.most_bytes = 0
    before = gpu.held_bytes
    engine.infer([rows(2)])
    assert gpu.most_bytes - before == 1000 * 2 // 8
    assert gpu.held_bytes == before


def test_a_graph_is_captured_at_the_second_run_of_a_shape(gpu, make):
    engine = loaded(make(graph=True))
    gpu.calls.clear()
    for value in (1, 2, 3, 4):
        (answer,) = engine.infer([rows(2, value)])
        assert (answer["y"] == 2 * value).all()
    assert gpu.calls.count("execute") == 2
    assert gpu.calls.count("launch") == 3
    engine.infer([rows(3, 1)])
    assert not gpu.graphs, "a graph of other shapes was kept"
    assert gpu.calls.count("execute") == 3


def test_nothing_is_captured_while_another_engine_waits_for_the_device(gpu, make):
    engine = loaded(make(graph=True))
    engine.infer([rows(2)])
    gpu.calls.clear()
    with CAPTURE_GATE.wait_for_device():
        assert (engine.infer([rows(2, 3)])[0]["y"] == 6).all()
    assert "begin capture" not in gpu.calls
    assert (engine.infer([rows(2, 4)])[0]["y"] == 8).all()
    assert gpu.calls.count("launch") == 1


def test_loading_and_unloading_hold_captures_off(gpu, make, monkeypatch):
    seen = []
    touched = gpu.touched

    def look(name, *, frees=False):
        with CAPTURE_GATE.try_capture() as may:
            if name in ("deserialize", "drop engine", "drop context", "staging", "free"):
                seen.append((name, may))
        return touched(name, frees=frees)

    monkeypatch.setattr(gpu, "touched", look)
    loaded(make()).unload()
    assert {name for name, _ in seen} >= {"deserialize", "drop engine", "drop context", "staging"}
    assert not any(may for _, may in seen)


def test_a_capture_that_fails_leaves_the_stream_usable(gpu, make):
    engine = loaded(make(graph=True))
    engine.infer([rows(2)])
    gpu.fail_on = "execute"
    with pytest.raises(EngineError):
        engine.infer([rows(2)])
    assert gpu.capturing is None
    assert (engine.infer([rows(2)])[0]["y"] == 2).all()


@pytest.mark.parametrize(("priority", "stream"), [(0, 0), (10, 0), (50, -2), (90, -5), (100, -5)])
def test_the_models_priority_is_its_streams(gpu, make, priority, stream):
    make(EngineContext("faces", "cuda:0", priority=priority)).load()
    assert list(gpu.streams.values()) == [stream]


def test_a_plan_that_the_runtime_refuses_is_told_by_its_reason(gpu, make):
    line = "The engine plan file is generated on an incompatible device, expecting compute 8.7 got"
    gpu.network.lines = [f"6: {line} compute 8.6, please rebuild."]
    with pytest.raises(ForeignPlan, match=r"expecting compute 8\.7 got compute 8\.6"):
        make().load()


def test_a_gpu_that_is_not_there_is_told(make):
    with pytest.raises(NoDevice, match="there is no GPU 1; this machine has 1"):
        make(EngineContext("faces", "cuda:1")).load()


def test_host_memory_is_no_place_for_it(make):
    with pytest.raises(EngineError, match='write device: "cuda:0"'):
        make(EngineContext("faces", "host")).load()


def test_weights_that_cannot_be_streamed_have_no_budget(make):
    with pytest.raises(EngineError, match="its weights cannot be streamed"):
        make(weights_budget=1000).load()


def test_weights_are_not_streamed_from_the_memory_in_which_they_are(make):
    """A Jetson's GPU works in the host's memory."""
    with pytest.raises(EngineError, match=r"and that is the GPU's too \(unified\); leave it out"):
        make(EngineContext("faces", "unified"), weights_budget=1000).load()


@pytest.mark.parametrize(("budget", "on_device"), [(1200, 1200), (100, 500), (9999, 2000)])
def test_weights_that_are_streamed_count_with_what_is_kept_of_them(gpu, make, budget, on_device):
    gpu.network.streamable_bytes = 1500
    engine = loaded(make(weights_budget=budget))
    scratch, staging = 64, 2 * 256
    assert engine.measure() == {"cuda:0": on_device + scratch + 1000 + staging}


@pytest.mark.parametrize("most_bytes", [0, -12])
def test_an_output_that_nobody_knows_the_size_of_is_told_and_takes_nothing(gpu, make, most_bytes):
    gpu.network.data_dependent = True
    gpu.network.most_output_bytes = most_bytes
    engine = make()
    with pytest.raises(EngineError, match=r"nobody knows how large y \(\[-1, 3\]\) can become"):
        loaded(engine)
    assert engine.measure()["cuda:0"] == 2000 + 1000
    engine.unload()
    assert gpu.is_clean()


def test_a_shape_that_is_still_unknown_after_the_run_is_an_error(gpu, make):
    gpu.network.data_dependent = True
    gpu.network.tells_shape = False
    with pytest.raises(EngineError, match="output y has no shape after the run"):
        loaded(make())


def test_a_negative_dimension_has_no_bytes():
    binding = Binding("x", np.dtype(np.float32), (-1, 3, 416, 416), is_input=True)
    with pytest.raises(
        EngineError, match=r"x has the shape \[-1, 3, 416, 416\], which is not known"
    ):
        binding.size_bytes(binding.shape)
    assert binding.size_bytes((0, 3, 416, 416)) == 0


def test_a_run_before_load_is_told(make):
    with pytest.raises(EngineError, match="call load first"):
        make().infer([rows(1)])
