"""The engine `onnxruntime` on small models, made here."""

import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper
from pydantic import ValidationError

from rota_onnxruntime import OnnxOptions, OnnxRuntimeEngine, OnnxSession
from scheduler.errors import BadInput, EngineError, EngineOutOfMemory
from scheduler.plugin.engine import EngineContext
from scheduler.testing import check_engine

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
WEIGHTS = np.arange(8, dtype=np.float32).reshape(4, 2)
Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Save a model of `nodes` and return its path."""

    def save_model(
        nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: Any = (), name: str = "m"
    ) -> Path:
        def values(entries: list[Any]) -> list[Any]:
            return [helper.make_tensor_value_info(*entry) for entry in entries]

        initializers = [numpy_helper.from_array(value, key) for key, value in dict(weights).items()]
        graph = helper.make_graph(nodes, "g", values(inputs), values(outputs), initializers)
        opset = [helper.make_opsetid("", 17)]
        path = tmp_path / f"{name}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
        return path

    return save_model


@pytest.fixture
def linear(save: Save) -> Path:
    """Make `y = x @ WEIGHTS` for any number of rows."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return save(nodes, [("x", FLOAT, ["n", 4])], [("y", FLOAT, ["n", 2])], {"w": WEIGHTS})


def engine_of(model: Path, **options: Any) -> OnnxRuntimeEngine:
    valid = OnnxRuntimeEngine.Options(model=model, **options)
    engine = OnnxRuntimeEngine(valid, EngineContext(model="m"))
    engine.load()
    return engine


def rows(count: int, start: float = 0.0) -> Any:
    return np.arange(start, start + count * 4, dtype=np.float32).reshape(count, 4)


def count_runs(engine: OnnxRuntimeEngine) -> list[int]:
    """Record the rows of each run that onnxruntime is given."""
    assert engine._session is not None
    native, seen = engine._session.native, []
    run = native.run

    def counted(names: Any, inputs: Any, options: Any) -> Any:
        seen.append(len(next(iter(inputs.values()))))
        return run(names, inputs, options)

    native.run = counted
    return seen


@pytest.mark.parametrize("weights", ["copied", "mapped"])
@pytest.mark.parametrize("arena", ["on", "shrink", "off"])
def test_it_keeps_every_rule_of_an_engine(linear: Path, weights: str, arena: str) -> None:
    check_engine(OnnxRuntimeEngine, {"model": str(linear), "weights": weights, "arena": arena})


def test_it_computes_what_the_model_says(linear: Path) -> None:
    (result,) = engine_of(linear).infer([rows(3)])
    assert list(result) == ["y"]
    np.testing.assert_allclose(result["y"], rows(3) @ WEIGHTS)


def test_mapped_weights_compute_the_same_and_are_made_once(linear: Path) -> None:
    (copied,) = engine_of(linear).infer([rows(3)])
    (mapped,) = engine_of(linear, weights="mapped").infer([rows(3)])
    np.testing.assert_array_equal(mapped["y"], copied["y"])
    (graph,) = linear.parent.glob("m.onnx.rota-cache/*/model.onnx")
    made_at = graph.stat().st_mtime_ns
    engine_of(linear, weights="mapped")
    assert graph.stat().st_mtime_ns == made_at


def test_large_weights_lie_outside_the_mapped_graph(save: Save) -> None:
    """Else they would be parsed and copied, and a load would cost what it costs without."""
    weights = np.ones((64, 64), dtype=np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = save(nodes, [("x", FLOAT, ["n", 64])], [("y", FLOAT, ["n", 64])], {"w": weights})
    engine_of(model, weights="mapped")
    (entry,) = model.parent.glob("m.onnx.rota-cache/*/")
    assert (entry / "weights.bin").stat().st_size >= weights.nbytes
    assert (entry / "model.onnx").stat().st_size < weights.nbytes


def test_a_damaged_mapped_model_is_made_anew(linear: Path) -> None:
    engine_of(linear, weights="mapped").unload()
    (graph,) = linear.parent.glob("m.onnx.rota-cache/*/model.onnx")
    graph.write_bytes(graph.read_bytes()[:40])
    (result,) = engine_of(linear, weights="mapped").infer([rows(1)])
    np.testing.assert_allclose(result["y"], rows(1) @ WEIGHTS)


def test_requests_of_a_dynamic_first_dimension_run_together(linear: Path) -> None:
    engine = engine_of(linear)
    seen = count_runs(engine)
    first, second, third = engine.infer([rows(1), rows(2, 50), rows(1, 9)])
    assert seen == [4]
    np.testing.assert_allclose(first["y"], rows(1) @ WEIGHTS)
    np.testing.assert_allclose(second["y"], rows(2, 50) @ WEIGHTS)
    np.testing.assert_allclose(third["y"], rows(1, 9) @ WEIGHTS)


def test_results_of_one_batch_do_not_share_memory(linear: Path) -> None:
    for batch in ([rows(1), rows(1)], [rows(1)]):
        for result in engine_of(linear).infer(batch):
            assert result["y"].flags.owndata


def test_a_fixed_first_dimension_is_filled_by_as_many_requests(save: Save) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    model = save(nodes, [("x", FLOAT, [2, 4])], [("y", FLOAT, [2, 4])])
    engine = engine_of(model)
    seen = count_runs(engine)
    first, second = engine.infer([rows(1), rows(1, 4)])
    assert seen == [2]
    np.testing.assert_array_equal(first["y"], -rows(1))
    np.testing.assert_array_equal(second["y"], -rows(1, 4))
    whole, other = engine.infer([rows(2), rows(2, 8)])
    assert seen == [2, 2, 2]
    np.testing.assert_array_equal(whole["y"], -rows(2))
    np.testing.assert_array_equal(other["y"], -rows(2, 8))
    (alone,) = engine.infer([rows(1)])
    assert isinstance(alone, BadInput)
    assert str(alone) == "input x is float32[1, 4]; the model takes float32[2, 4]"


def test_an_output_without_a_row_for_each_input_makes_requests_run_alone(save: Save) -> None:
    nodes = [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)]
    engine = engine_of(save(nodes, [("x", FLOAT, ["n", 4])], [("y", FLOAT, [])]))
    first, second = engine.infer([rows(1), rows(1, 4)])
    assert (first["y"], second["y"]) == (6, 22)


def test_requests_of_different_shapes_run_alone(save: Save) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    engine = engine_of(save(nodes, [("x", FLOAT, ["n", "w"])], [("y", FLOAT, ["n", "w"])]))
    narrow, wide = np.ones((1, 2), np.float32), np.ones((1, 3), np.float32)
    shapes = [result["y"].shape for result in engine.infer([narrow, wide])]
    assert shapes == [(1, 2), (1, 3)]


def test_a_bad_payload_fails_alone(linear: Path) -> None:
    engine = engine_of(linear)
    good, bad, other = engine.infer([rows(1), rows(1).astype(np.float64), rows(1, 4)])
    assert isinstance(bad, BadInput)
    assert str(bad) == "input x is float64[1, 4]; the model takes float32[any, 4]"
    np.testing.assert_allclose(good["y"], rows(1) @ WEIGHTS)
    np.testing.assert_allclose(other["y"], rows(1, 4) @ WEIGHTS)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ([[1.0, 2.0]], "input x is list; send a numpy array of float32[any, 4]"),
        (rows(1)[0], "input x is float32[4]; the model takes float32[any, 4]"),
        (rows(1).astype(">f4"), "input x is >f4[1, 4]; the model takes float32[any, 4]"),
        ({"z": rows(1)}, "inputs missing: x; unknown: z; the model takes x"),
        ({"x": rows(1), "z": 1}, "inputs missing: none; unknown: z; the model takes x"),
        ({}, "inputs missing: x; unknown: none; the model takes x"),
    ],
)
def test_a_bad_payload_is_told_what_is_expected(linear: Path, payload: Any, said: str) -> None:
    (result,) = engine_of(linear).infer([payload])
    assert isinstance(result, BadInput)
    assert str(result) == said


def test_no_rows_give_no_rows(linear: Path) -> None:
    (result,) = engine_of(linear).infer([rows(0)])
    assert result["y"].shape == (0, 2)


def test_several_inputs_are_sent_by_name(save: Save) -> None:
    nodes = [helper.make_node("Sub", ["a", "b"], ["y"])]
    inputs = [("a", INT64, ["n", 2]), ("b", INT64, ["n", 2])]
    engine = engine_of(save(nodes, inputs, [("y", INT64, ["n", 2])]))
    a, b = np.array([[5, 6]]), np.array([[1, 2]])
    named, bare = engine.infer([{"b": b, "a": a}, a])
    np.testing.assert_array_equal(named["y"], [[4, 4]])
    assert "takes 2 inputs; send a mapping of the names a, b to arrays" in str(bare)


def test_strings_go_in_and_out(save: Save) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    engine = engine_of(save(nodes, [("x", STRING, ["n"])], [("y", STRING, ["n"])]))
    text, objects, bad = engine.infer(
        [np.array(["a"]), np.array(["b"], dtype=object), np.array([1], dtype=object)]
    )
    assert (text["y"][0], objects["y"][0]) == ("a", "b")
    assert isinstance(bad, BadInput)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    payload=st.one_of(
        st.none(),
        st.binary(max_size=8),
        st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
        hnp.arrays(
            dtype=st.one_of(hnp.scalar_dtypes(), st.just(np.dtype("O"))),
            shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
        ),
        hnp.arrays(dtype=np.float32, shape=st.tuples(st.integers(0, 4), st.just(4))),
    )
)
def test_any_payload_is_answered_or_refused(linear: Path, payload: Any) -> None:
    engine = engine_of(linear)
    (result,) = engine.infer([payload])
    if isinstance(result, BadInput):
        assert str(result)
    else:
        assert result["y"].shape == (len(payload), 2)


def test_an_operator_that_fails_is_told(save: Save) -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    shape = {"shape": np.array([3, -1], dtype=np.int64)}
    model = save(nodes, [("x", FLOAT, ["n", 4])], [("y", FLOAT, [3, "m"])], shape)
    engine = engine_of(model)
    with pytest.raises(EngineError, match=r"m\.onnx failed to run: .*Reshape"):
        engine.infer([rows(1)])
    np.testing.assert_array_equal(engine.infer([rows(3)])[0]["y"], rows(3))


def test_too_little_memory_is_told_as_such_and_does_no_harm(save: Save) -> None:
    nodes = [helper.make_node("Expand", ["one", "shape"], ["y"])]
    one = {"one": np.ones(1, dtype=np.float32)}
    model = save(nodes, [("shape", INT64, [1])], [("y", FLOAT, ["n"])], one)
    for arena in ("on", "off"):
        engine = engine_of(model, arena=arena)
        with pytest.raises(EngineOutOfMemory, match=r"m\.onnx: not enough memory to run it"):
            engine.infer([np.array([2**44])])
        assert engine.infer([np.array([3])])[0]["y"].tolist() == [1, 1, 1]


def test_an_error_that_is_kept_does_not_keep_the_session(save: Save) -> None:
    nodes = [helper.make_node("Expand", ["one", "shape"], ["y"])]
    one = {"one": np.ones(1, dtype=np.float32)}
    engine = engine_of(save(nodes, [("shape", INT64, [1])], [("y", FLOAT, ["n"])], one))
    assert engine._session is not None
    session = weakref.ref(engine._session.native)
    with pytest.raises(EngineOutOfMemory) as kept:
        engine.infer([np.array([2**44])])
    engine.unload()
    assert kept.value.__cause__ is not None
    assert session() is None


def test_a_result_that_is_kept_does_not_keep_the_arena(linear: Path) -> None:
    (result,) = engine_of(linear).infer([rows(1)])
    assert result["y"].base is None


def test_cancel_ends_a_run_and_spoils_none_after_it(save: Save) -> None:
    """A loop of 2^60 additions ends only because it is cancelled."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["acc", "acc"], ["acc_out"]),
            helper.make_node("Identity", ["go"], ["go_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("acc", FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("go_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("acc_out", FLOAT, []),
        ],
    )
    nodes = [helper.make_node("Loop", ["trips", "go", "one"], ["y"], body=body)]
    constants = {"go": np.array(True), "one": np.array(1, dtype=np.float32)}
    engine = engine_of(save(nodes, [("trips", INT64, [])], [("y", FLOAT, [])], constants))
    assert engine._session is not None
    over = threading.Event()

    def cancel_until_over() -> None:
        while not over.wait(0.01):
            engine.cancel()

    canceller = threading.Thread(target=cancel_until_over)
    canceller.start()
    try:
        with pytest.raises(EngineError, match="terminate"):
            engine.infer([np.array(2**60)])
    finally:
        over.set()
        canceller.join()
    engine.cancel()
    assert engine.infer([np.array(3)])[0]["y"] == 8


@pytest.mark.parametrize("content", [b"", b"no model", None])
@pytest.mark.parametrize("weights", ["copied", "mapped"])
def test_a_file_that_is_no_whole_model_is_told(linear: Path, content: Any, weights: str) -> None:
    linear.write_bytes(linear.read_bytes()[:60] if content is None else content)
    said = r"m\.onnx: it is no whole ONNX file; copy it again: "
    with pytest.raises(EngineError, match=said):
        engine_of(linear, weights=weights)


def test_an_unknown_operator_is_told(save: Save) -> None:
    nodes = [helper.make_node("NoSuchOperator", ["x"], ["y"])]
    model = save(nodes, [("x", FLOAT, [1])], [("y", FLOAT, [1])])
    with pytest.raises(EngineError, match="NoSuchOperator"):
        engine_of(model)


def test_a_file_that_has_gone_is_told(linear: Path) -> None:
    options = OnnxRuntimeEngine.Options(model=linear)
    linear.unlink()
    engine = OnnxRuntimeEngine(options, EngineContext())
    with pytest.raises(EngineError, match=r"m\.onnx: there is no such file"):
        engine.load()
    engine.unload()


def test_a_provider_that_is_not_there_is_an_error(linear: Path) -> None:
    said = (
        "providers CUDAExecutionProvider, CPUExecutionProvider are asked for, "
        "onnxruntime has .*CPUExecutionProvider"
    )
    with pytest.raises(EngineError, match=said):
        engine_of(linear, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])


def test_a_provider_may_be_replaced_where_that_is_allowed(linear: Path) -> None:
    options = OnnxOptions(providers=("CUDAExecutionProvider",), allow_fallback=True)
    assert OnnxSession(linear, options).providers == ("CPUExecutionProvider",)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"providers": []}, "at least 1 item"),
        ({"providers": ["CUDAExecutionProvider"], "weights": "mapped"}, "write weights: copied"),
        ({"provider_options": {"Other": {"a": 1}}}, "names Other, which providers does not"),
        ({"threads": 0}, "greater than or equal to 1"),
        ({"arena": "perhaps"}, "'on', 'shrink' or 'off'"),
        ({"model": "gone.onnx"}, "does not exist"),
    ],
)
def test_options_that_make_no_sense_are_refused(linear: Path, options: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        OnnxRuntimeEngine.Options.model_validate({"model": str(linear)} | options)


def test_options_take_yamls_reading_of_on_and_off(linear: Path) -> None:
    options = OnnxRuntimeEngine.Options.model_validate(
        {"model": str(linear), "arena": False, "optimization": False}
    )
    assert (options.arena.value, options.optimization.value) == ("off", "off")


def test_the_example_fills_dynamic_dimensions(save: Save) -> None:
    nodes = [
        helper.make_node("Identity", ["image"], ["y"]),
        helper.make_node("Identity", ["ids"], ["z"]),
    ]
    inputs = [("image", FLOAT, ["n", 3, "h", 640]), ("ids", INT64, [None, "length"])]
    outputs = [("y", FLOAT, None), ("z", INT64, None)]
    engine = engine_of(save(nodes, inputs, outputs), warm_up=True)
    engine.warm_up()
    example = engine.example()
    assert {key: value.shape for key, value in example.items()} == {
        "image": (1, 3, 224, 640),
        "ids": (1, 16),
    }
    assert example["ids"].dtype == np.int64
