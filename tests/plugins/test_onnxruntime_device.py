"""The engine `onnxruntime` on a GPU, as far as that can be seen without one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from rota_onnxruntime import OnnxRuntimeEngine
from rota_onnxruntime.failure import load_failure, run_failure
from rota_onnxruntime.provider import device_number, provider_settings, wanted_providers
from scheduler import Footprint, Model
from scheduler.core.model import PoolFootprint
from scheduler.errors import DeviceLost, EngineError, EngineOutOfMemory
from scheduler.plugin.capture import CAPTURE_GATE
from scheduler.plugin.engine import EngineContext
from scheduler.runtime.registration import registration

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
MIB = 1024**2


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Make `y = 2 x` for any number of rows of four."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])]
    two = numpy_helper.from_array(np.full(4, 2, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])], "g", inputs, outputs, [two]
    )
    path = tmp_path / "m.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def engine_of(model: Path, context: EngineContext, **options: Any) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(OnnxRuntimeEngine.Options(model=model, **options), context)


def on_gpu(engine: OnnxRuntimeEngine) -> list[str | None]:
    """Let a loaded engine think that it runs on a GPU; returns what each run gives back."""
    session = engine._session
    assert session is not None
    session.providers = (CUDA, CPU)
    given_back: list[str | None] = []

    def run(_names: Any, inputs: Any, options: Any) -> Any:
        try:
            arenas = options.get_run_config_entry("memory.enable_memory_arena_shrinkage")
        except RuntimeError:  # it has no such entry
            arenas = None
        given_back.append(arenas)
        return [inputs["x"] * 2]

    session.native = SimpleNamespace(run=run)
    return given_back


@pytest.mark.parametrize(
    ("pool", "asked", "wanted"),
    [
        ("unified", None, (CPU,)),
        ("host", None, (CPU,)),
        ("cuda:0", None, (CUDA, CPU)),
        ("cuda:1", (CUDA,), (CUDA,)),
        ("unified", (CUDA, CPU), (CUDA, CPU)),
    ],
)
def test_the_pool_says_where_a_model_runs(model: Path, pool: str, asked: Any, wanted: Any) -> None:
    options = OnnxRuntimeEngine.Options(model=model, providers=asked)
    assert wanted_providers(options, EngineContext(device=pool)) == wanted


@pytest.mark.parametrize(
    ("pool", "options", "said"),
    [
        ("cuda:1", {"providers": [CPU]}, "faces is placed in cuda:1, .* write device: host, or"),
        ("host", {"providers": [CUDA]}, "faces is placed in host, .* write device: cuda:0, or"),
        ("cuda:0", {"weights": "mapped"}, "faces is placed in cuda:0, .* write weights: copied"),
    ],
)
def test_memory_that_is_taken_elsewhere_than_booked_is_refused(
    model: Path, pool: str, options: Any, said: str
) -> None:
    with pytest.raises(EngineError, match=said):
        engine_of(model, EngineContext("faces", pool), **options).load()


@pytest.mark.parametrize(
    ("pool", "number"), [("cuda:0", 0), ("cuda:12", 12), ("unified", 0), ("host", 0)]
)
def test_the_number_of_the_gpu_is_in_the_pools_name(pool: str, number: int) -> None:
    assert device_number(pool) == number


def test_the_arena_grows_to_what_is_booked_at_most_and_by_what_is_asked_for(model: Path) -> None:
    footprint = PoolFootprint(resident_bytes=1000, workspace_bytes=100, per_item_bytes=10)
    context = EngineContext(device="cuda:1", footprint=footprint, batch_max=4)
    options = OnnxRuntimeEngine.Options(model=model)
    assert provider_settings(CUDA, options, context) == {
        "device_id": "1",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "gpu_mem_limit": "1130",
    }
    assert provider_settings(CPU, options, context) == {}


def test_the_configurations_own_settings_come_last(model: Path) -> None:
    settings = {CUDA: {"gpu_mem_limit": 7, "use_tf32": False}}
    options = OnnxRuntimeEngine.Options(model=model, provider_options=settings)
    context = EngineContext(device="cuda:0", footprint=PoolFootprint(resident_bytes=1000))
    told = provider_settings(CUDA, options, context)
    assert (told["gpu_mem_limit"], told["use_tf32"]) == ("7", "0")


def test_a_setting_that_crashes_beside_others_is_refused(model: Path) -> None:
    settings = {CUDA: {"cudnn_conv_algo_search": "EXHAUSTIVE"}}
    options = OnnxRuntimeEngine.Options(model=model, provider_options=settings)
    with pytest.raises(EngineError, match=r"faces: .* crashes the process .* write HEURISTIC"):
        provider_settings(CUDA, options, EngineContext("faces", "cuda:0"))


def test_without_a_footprint_the_arena_has_no_limit(model: Path) -> None:
    told = provider_settings(CUDA, OnnxRuntimeEngine.Options(model=model), EngineContext())
    assert "gpu_mem_limit" not in told


@pytest.mark.parametrize(
    ("workspace", "per_item", "items", "given_back"),
    [
        (0, 0, 1, None),
        (5, 0, 1, "cpu:0;gpu:1"),
        (0, 5, 1, None),
        (0, 5, 2, "cpu:0;gpu:1"),
        (0, 0, 3, None),
    ],
)
def test_what_a_run_was_lent_on_a_gpu_is_given_back(
    model: Path, workspace: int, per_item: int, items: int, given_back: str | None
) -> None:
    footprint = PoolFootprint(
        resident_bytes=MIB, workspace_bytes=workspace, per_item_bytes=per_item
    )
    engine = engine_of(model, EngineContext())
    engine.load()
    assert engine._session is not None
    seen = on_gpu(engine)
    engine._session._context = EngineContext(device="cuda:1", footprint=footprint, batch_max=4)
    assert len(engine.infer([np.ones((1, 4), np.float32)] * items)) == items
    assert seen == [given_back]


@pytest.mark.parametrize(
    ("load_peak", "asked", "runs"),
    [(0, None, 0), (120, None, 1), (119, None, 0), (0, True, 1), (120, False, 0)],
)
def test_a_load_pays_for_the_first_run_if_it_is_booked_for_it(
    model: Path, load_peak: int, asked: Any, runs: int
) -> None:
    footprint = PoolFootprint(
        resident_bytes=100, load_peak_bytes=load_peak, workspace_bytes=20, per_item_bytes=50
    )
    engine = engine_of(model, EngineContext(footprint=footprint, batch_max=4), warm_up=asked)
    engine.load()
    seen = on_gpu(engine)
    engine.warm_up()
    assert len(seen) == runs


def test_a_cpu_needs_no_warm_up(model: Path) -> None:
    engine = engine_of(model, EngineContext(footprint=PoolFootprint(resident_bytes=100)))
    engine.load()
    assert engine._session is not None
    engine._session.native = None  # a run would raise
    engine.warm_up()


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_start_is_an_error(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime may really have it")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    said = f"{CUDA} did not start, and it would run on {CPU}; see that the driver has a GPU"
    with pytest.raises(EngineError, match=said):
        engine_of(model, EngineContext(device="cuda:0")).load()


def test_cuda_graphs_are_held_off_while_a_session_comes_and_goes_on_a_gpu(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def make(*_args: Any, **_settings: Any) -> Any:
        with CAPTURE_GATE.try_capture() as may:
            seen.append(may)
        return native(str(model), providers=[CPU])

    native = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", make)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    for device in ("cuda:0", "host"):
        engine = engine_of(model, EngineContext(device=device), allow_fallback=True)
        engine.load()
        engine.unload()
    assert seen == [False, True]


@pytest.mark.parametrize(
    "text",
    [
        "bfc_arena.cc:376 AllocateRawInternal Failed to allocate memory for requested buffer of 7",
        "bfc_arena.cc:342 Available memory of 12 is smaller than requested bytes of 34",
        "CUDA failure 2: out of memory ; GPU=0 ; hostname=h",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
        "CUDNN failure 4002: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    ],
)
def test_memory_that_a_gpu_lacks_is_reported_as_such(text: str) -> None:
    assert isinstance(run_failure("m", RuntimeError(text)), EngineOutOfMemory)
    assert isinstance(load_failure("m", RuntimeError(text)), EngineOutOfMemory)


@pytest.mark.parametrize("number", [214, 700, 719])
def test_an_error_after_which_the_process_must_end_is_reported_as_such(number: int) -> None:
    text = f"CudaCall(...) CUDA failure {number}: it says why ; GPU=0 ; hostname=h"
    for failure in (load_failure, run_failure):
        with pytest.raises(DeviceLost, match="m: its GPU fails for this whole process; start the"):
            raise failure("m", RuntimeError(text))


@pytest.mark.parametrize("text", ["CUDA failure 900: stream is capturing", "700 images"])
def test_an_error_that_passes_does_not_lose_the_gpu(text: str) -> None:
    assert not isinstance(run_failure("m", RuntimeError(text)), DeviceLost)


def test_an_engine_is_told_what_is_booked_for_it_where_it_is_placed() -> None:
    parts = {"host": Footprint(resident=5), "cuda:1": Footprint(resident=100, per_item=10)}
    written = Model(
        name="m",
        engine="synthetic",
        device="cuda:1",
        footprint=parts,
        batch={"max": 3},
        priority=70,
    )
    context = registration(written, None, None, "host").make().context
    assert (context.device, context.most_bytes, context.batch_max) == ("cuda:1", 120, 3)
    assert context.priority == 70
