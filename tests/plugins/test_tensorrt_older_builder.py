"""`rota build` with a stand-in for TensorRT 8 to 10: its calibrator, types and timing cache."""

import numpy as np
import pytest
from fake_builder import SCALES, Building, Flag, add_builder
from fake_gpu import Gpu, Network, install
from plans import build, product

from rota_tensorrt import calibrator
from rota_tensorrt.library import find_library
from scheduler.errors import EngineError
from scheduler.plugin.builder import BuildOrder, BuildRefused

pytestmark = pytest.mark.usefixtures("building")
SPAN = ((1, 8), (4, 8), (16, 8))


@pytest.fixture
def gpu():
    return Gpu()


@pytest.fixture
def building(monkeypatch, gpu):
    return _installed(monkeypatch, gpu, types_are_known=True)


def _installed(monkeypatch, gpu, *, types_are_known):
    from fake_gpu import Libcuda

    install(monkeypatch, gpu, Network())
    monkeypatch.setattr(calibrator, "load_driver", lambda: Libcuda(gpu))
    made = Building()
    add_builder(find_library()[1], gpu, made, types_are_known=types_are_known)
    return made


def samples(folder, *values, rows=4):
    folder.mkdir()
    for value in values:
        np.save(folder / f"{value}.npy", np.full((rows, 8), value, np.float32))
    return folder


def int8(tmp_path, name="out", **changes):
    settings = {"calibration": tmp_path / "samples", "calibrator": True} | changes
    model = product(tmp_path / "p.onnx")
    return BuildOrder(model, tmp_path / name, ("int8",), {"x": SPAN}, **settings)


def test_the_calibrator_is_fed_each_sample_once_and_what_it_measured_is_kept(
    tmp_path, gpu, building
):
    samples(tmp_path / "samples", 1, 2, 3)
    (built,) = build(int8(tmp_path))
    assert [float(rows["x"].mean()) for rows in building.fed] == [1, 2, 3]
    assert gpu.calls.count("synchronize") == 3, "a copy may not be there yet"
    assert building.batch_size == 4
    assert building.calibrated_for == {"x": ((4, 8),) * 3}
    assert building.flags[-1] == {Flag.FP16, Flag.INT8}
    assert building.created[-1] == 1, "layers of a typed network take no scales from a calibrator"
    assert built.notes == ("its scales were measured by TensorRT on 3 samples",)
    (kept,) = (tmp_path / "out").glob("p-int8-*.scales")
    assert kept.read_bytes() == SCALES
    assert gpu.is_clean()


def test_what_was_measured_on_the_same_samples_is_used_again_and_said(tmp_path, building):
    samples(tmp_path / "samples", 1, 2)
    build(int8(tmp_path))
    building.fed.clear()
    (built,) = build(int8(tmp_path))
    assert building.fed == []
    assert building.scales == SCALES
    assert built.notes[0].startswith("its scales are those of ")


def _other_samples(tmp_path):
    np.save(tmp_path / "samples" / "9.npy", np.full((4, 8), 9, np.float32))
    return int8(tmp_path)


def _other_model(tmp_path):
    order = int8(tmp_path)
    content = order.model.read_bytes()
    order.model.write_bytes(content.replace(b"product", b"another"))
    return order


def _other_version(tmp_path):
    find_library()[1].__version__ = "10.3.1.26"
    return int8(tmp_path)


def _other_shape(tmp_path):
    (tmp_path / "samples" / "1.npy").unlink()
    np.save(tmp_path / "samples" / "1.npy", np.full((2, 8), 1, np.float32))
    order = int8(tmp_path)
    return BuildOrder(
        order.model, order.folder, order.precisions, {"x": ((1, 8), (2, 8), (16, 8))},
        calibration=order.calibration, calibrator=True,
    )  # fmt: skip


@pytest.mark.parametrize("change", [_other_samples, _other_model, _other_version, _other_shape])
def test_what_belongs_to_something_else_is_never_used(tmp_path, building, change):
    samples(tmp_path / "samples", 1)
    (first,) = build(int8(tmp_path))
    building.fed.clear()
    (second,) = build(change(tmp_path))
    assert building.fed
    assert second.file != first.file
    assert len(list((tmp_path / "out").glob("*.scales"))) == 2


@pytest.mark.parametrize("content", [b"", b"not a cache"])
def test_a_broken_cache_is_told_and_measured_anew(tmp_path, building, content):
    samples(tmp_path / "samples", 1)
    build(int8(tmp_path))
    (kept,) = (tmp_path / "out").glob("*.scales")
    kept.write_bytes(content)
    building.fed.clear()
    (built,) = build(int8(tmp_path))
    assert len(building.fed) == 1
    assert built.notes[0] == f"{kept} has no scales of TensorRT: measured anew"
    assert kept.read_bytes() == SCALES


def test_a_cache_that_cannot_be_written_is_a_remark_and_the_build_goes_on(tmp_path):
    samples(tmp_path / "samples", 1)
    build(int8(tmp_path))
    (kept,) = (tmp_path / "out").glob("*.scales")
    kept.unlink()
    kept.mkdir()
    (built,) = build(int8(tmp_path))
    assert built.file.exists()
    assert [note.partition(": ")[2] for note in built.notes] == [
        "measured anew",
        "the scales are not kept: Is a directory",
        "",
    ]


def test_a_sample_of_another_shape_is_named_and_no_plan_is_left(tmp_path, gpu):
    samples(tmp_path / "samples", 1)
    np.save(tmp_path / "samples" / "2.npy", np.zeros((3, 8), np.float32))
    with pytest.raises(EngineError, match=r"2\.npy: input x is float32\[3, 8\]"):
        build(int8(tmp_path))
    assert not list((tmp_path / "out").glob("*.plan"))
    assert gpu.is_clean()


def test_no_memory_for_a_sample_fails_the_build_and_leaves_nothing(tmp_path, gpu):
    samples(tmp_path / "samples", 1)
    gpu.fail_on = "staging"
    with pytest.raises(EngineError, match="memory"):
        build(int8(tmp_path))
    assert gpu.is_clean()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"calibration": None}, "give a folder of inputs with --calibration"),
        ({"precisions": ("fp16",)}, "a calibrator is for int8"),
    ],
)
def test_an_order_for_a_calibrator_that_cannot_be_meant_is_refused(tmp_path, changes, said):
    samples(tmp_path / "samples", 1)
    settings = {"precisions": ("int8",), "calibration": tmp_path / "samples"} | changes
    order = BuildOrder(product(tmp_path / "p.onnx"), tmp_path / "out", calibrator=True, **settings)
    with pytest.raises(BuildRefused, match=said):
        build(order)


def test_a_library_without_calibrators_says_so(tmp_path):
    del find_library()[1].IInt8EntropyCalibrator2
    samples(tmp_path / "samples", 1)
    with pytest.raises(BuildRefused, match=r"tensorrt 10\.3\.0\.26 has no calibrator: leave"):
        build(int8(tmp_path))


# -- types and timings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "flags"), [("fp32", set()), ("fp16", {Flag.FP16}), ("int8", set(Flag) - {2})]
)
def test_types_are_allowed_by_flags_where_the_library_does_not_take_them_from_the_model(
    tmp_path, monkeypatch, gpu, precision, flags
):
    building = _installed(monkeypatch, gpu, types_are_known=False)
    samples(tmp_path / "samples", 1)
    build(
        BuildOrder(
            product(tmp_path / "p.onnx"), tmp_path / "out", (precision,), {"x": SPAN},
            calibration=tmp_path / "samples", workspace_bytes=2**20,
        )
    )  # fmt: skip
    assert building.flags[-1] == flags
    assert set(building.created) == {1}
    assert building.workspace == 2**20


def test_types_are_those_of_the_model_where_the_library_takes_them(tmp_path, building):
    build(BuildOrder(product(tmp_path / "p.onnx"), tmp_path / "out", ("fp16",), {"x": SPAN}))
    assert building.flags == [set()]
    assert building.created == [2]


def test_timings_are_kept_for_the_next_build(tmp_path):
    cache = tmp_path / "timings"
    order = BuildOrder(
        product(tmp_path / "p.onnx"), tmp_path / "out", shapes={"x": SPAN}, timing_cache=cache
    )
    for _ in range(2):
        assert build(order)[0].notes == ()
    assert cache.read_bytes() == b"one more timing\n" * 2


def test_timings_of_another_gpu_are_told_and_measured_anew(tmp_path, building):
    cache = tmp_path / "timings"
    cache.write_bytes(b"another's\n")
    building.timings_match = False
    order = BuildOrder(
        product(tmp_path / "p.onnx"), tmp_path / "out", shapes={"x": SPAN}, timing_cache=cache
    )
    (built,) = build(order)
    assert built.notes == (f"{cache} is another GPU's or version's: measured anew",)
    assert cache.read_bytes() == b"one more timing\n"


def test_timings_that_cannot_be_kept_are_a_remark(tmp_path):
    cache = tmp_path / "no folder" / "timings"
    order = BuildOrder(
        product(tmp_path / "p.onnx"), tmp_path / "out", shapes={"x": SPAN}, timing_cache=cache
    )
    (built,) = build(order)
    assert built.notes == (f"{cache}: the timings are not kept: No such file or directory",)
