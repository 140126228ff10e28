"""KISS-ICP on a real laser loop, and what it refuses."""

import math
from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from rota_slam import KissIcpEngine
from rota_slam.points import MIN_POINTS, SLICE_HEIGHTS_M, read_points
from scheduler.errors import BadInput, EngineError
from scheduler.plugin.engine import EngineContext
from scheduler.testing import check_engine


@pytest.fixture(scope="module")
def loop():
    with files("rota_slam").joinpath("data/malaga_loop.npz").open("rb") as file:
        return dict(np.load(file))


@pytest.fixture
def engine():
    engine = KissIcpEngine(KissIcpEngine.Options(), EngineContext())
    engine.load()
    engine.warm_up()
    yield engine
    engine.unload()


def scans(loop, count=None):
    aperture = float(loop["aperture"])
    return [{"ranges": ranges, "aperture": aperture} for ranges in loop["ranges"][:count]]


def shifted(points, x=0.0, y=0.0, turn=0.0):
    """The same walls, seen from a sensor that stands at x, y and looks to the left by `turn`."""
    cos, sin = math.cos(turn), math.sin(turn)
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return (points - [x, y, 0]) @ rotation


def test_it_conforms():
    assert check_engine(KissIcpEngine, {}) == ()


def test_the_loop_is_as_long_as_the_wheels_say_and_flat(engine, loop):
    results = engine.infer(scans(loop))
    heights_m = [result["position"][2] for result in results]
    wheels_m = np.linalg.norm(loop["odo"][:, :2], axis=1).sum()
    assert abs(results[-1]["path_m"] - 77.4) < 2
    assert abs(results[-1]["path_m"] - wheels_m) < 2
    assert max(map(abs, heights_m)) < 0.02
    yaws = np.unwrap([math.atan2(r["pose"][1, 0], r["pose"][0, 0]) for r in results])
    assert abs(yaws[-1] - loop["odo"][:, 2].sum()) < math.radians(20)


def test_a_known_motion_is_found(engine):
    room = engine.example()
    first, second = engine.infer([room, shifted(room, x=0.2, y=-0.1, turn=0.05)])
    np.testing.assert_allclose(first["pose"], np.eye(4), atol=1e-9)
    np.testing.assert_allclose(second["position"], [0.2, -0.1, 0], atol=0.02)
    assert second["pose"][1, 0] == pytest.approx(math.sin(0.05), abs=0.01)
    assert second["path_m"] == pytest.approx(math.hypot(0.2, 0.1), abs=0.02)


def test_a_sensor_that_stands_still_has_gone_nowhere(engine):
    results = engine.infer([engine.example()] * 5)
    assert results[-1]["path_m"] < 1e-6


def test_float32_points_are_the_same(engine, loop):
    clouds = [read_points(scan, max_points=10_000) for scan in scans(loop, 10)]
    expected = engine.infer(clouds)[-1]["position"]
    engine.unload()
    engine.load()
    given = engine.infer([cloud.astype(np.float32) for cloud in clouds])[-1]["position"]
    np.testing.assert_allclose(given, expected, atol=1e-3)


def test_unloading_forgets_the_way(engine):
    room = engine.example()
    engine.infer([room, shifted(room, x=0.3)])
    engine.unload()
    engine.load()
    (result,) = engine.infer([room])
    assert result["path_m"] == 0
    np.testing.assert_array_equal(result["pose"], np.eye(4))


def test_a_refused_scan_changes_nothing(engine, loop):
    expected = engine.infer(scans(loop, 10))[-1]
    engine.unload()
    engine.load()
    for scan in scans(loop, 10):
        refused, given = engine.infer([np.full((500, 3), np.nan), scan])
        assert isinstance(refused, BadInput)
    np.testing.assert_array_equal(given["pose"], expected["pose"])
    assert given["path_m"] == expected["path_m"]


def test_the_environment_does_not_change_the_settings(monkeypatch):
    monkeypatch.setenv("KISS_ICP_DATA", '{"max_range": 1.0, "deskew": true}')
    monkeypatch.setenv("KISS_ICP_MAPPING", '{"voxel_size": 50, "max_points_per_voxel": 1}')
    monkeypatch.setenv("KISS_ICP_ADAPTIVE_THRESHOLD", '{"fixed_threshold": 9.0}')
    engine = KissIcpEngine(KissIcpEngine.Options(voxel_size=0.5), EngineContext())
    engine.load()
    config = engine._odometry.config
    assert (config.data.max_range, config.data.deskew) == (60.0, False)
    assert (config.mapping.voxel_size, config.mapping.max_points_per_voxel) == (0.5, 20)
    assert config.adaptive_threshold.fixed_threshold is None


# --- Payloads ------------------------------------------------------------------------------------


def test_a_scan_is_read_from_right_to_left_and_thickened():
    scan = {"ranges": np.array([1.0, 2.0, 3.0], np.float32), "aperture": math.pi}
    points = read_points(scan, max_points=100)
    expected = [(0, -1), (2, 0), (0, 3)]
    for number, z in enumerate(SLICE_HEIGHTS_M):
        one_slice = points[3 * number : 3 * number + 3]
        np.testing.assert_allclose(one_slice[:, :2], expected, atol=1e-9)
        assert set(one_slice[:, 2]) == {z}


def test_a_scan_may_be_an_object_and_its_ranges_a_list():
    scan = SimpleNamespace(ranges=[1, 2.5, 3], aperture=np.float64(1.0))
    assert read_points(scan, max_points=100).shape == (9, 3)


def test_beams_without_return_are_dropped():
    scan = {"ranges": [0.0, math.nan, math.inf, -1.0, 5.0], "aperture": 1.0}
    assert len(read_points(scan, max_points=100)) == len(SLICE_HEIGHTS_M)


def test_points_that_are_not_finite_are_dropped():
    cloud = np.array([[1, 2, 3], [np.nan, 0, 0], [0, np.inf, 0]], np.float32)
    np.testing.assert_array_equal(read_points(cloud, max_points=100), [[1, 2, 3]])


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (None, "NoneType without ranges"),
        (b"", "bytes without ranges"),
        ([[1, 2, 3]], "list without ranges"),
        (np.ones((100, 2)), "(100, 2)"),
        (np.ones(300), "(300,)"),
        (np.ones((100, 3), int), "int64"),
        (np.ones((100, 3), object), "object"),
        (np.ones((100, 3), complex), "complex"),
        (np.empty((0, 3)), "0 of 0 points"),
        (np.full((100, 3), 1e200), "0 of 100 points"),
        (np.full((100, 3), 0.01), "0 of 100 points"),
        (np.ones((MIN_POINTS - 1, 3)), "29 of 29 points"),
        (np.ones((200_001, 3), np.float32), "200001 points"),
        ({"ranges": np.ones(361)}, "without aperture"),
        ({"aperture": 1.0}, "without ranges"),
        ({"ranges": "far", "aperture": 1.0}, "str"),
        ({"ranges": ["far"], "aperture": 1.0}, "<U3"),
        ({"ranges": [[1, 2], [3]], "aperture": 1.0}, "ragged"),
        ({"ranges": np.ones((2, 2)), "aperture": 1.0}, "(2, 2)"),
        ({"ranges": [True] * 100, "aperture": 1.0}, "bool"),
        ({"ranges": np.ones(100), "aperture": 0.0}, "aperture is 0"),
        ({"ranges": np.ones(100), "aperture": 180.0}, "radians"),
        ({"ranges": np.ones(100), "aperture": math.nan}, "aperture is nan"),
        ({"ranges": np.ones(100), "aperture": "1"}, "aperture is a str"),
        ({"ranges": np.ones(100), "aperture": True}, "aperture is a bool"),
        ({"ranges": np.zeros(100), "aperture": 1.0}, "0 of 0 points"),
    ],
)
def test_garbage_is_refused_in_words(engine, payload, words):
    (refusal,) = engine.infer([payload])
    assert isinstance(refusal, BadInput)
    assert words in str(refusal)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        st.tuples(st.integers(0, 60), st.just(3)),
        elements=st.floats(width=32, allow_subnormal=False),
    )
)
def test_any_cloud_gives_a_finite_pose_or_is_refused(cloud):
    engine = KissIcpEngine(KissIcpEngine.Options(), EngineContext())
    engine.load()
    for result in engine.infer([cloud, cloud[::-1].copy()]):
        assert isinstance(result, BadInput) or np.isfinite(result["pose"]).all()


def test_a_diverged_registration_starts_anew(engine, monkeypatch):
    room = engine.example()
    engine.infer([room])
    lost = engine._odometry

    def diverge(_points, _timestamps):
        lost.last_pose = np.full((4, 4), np.nan)

    monkeypatch.setattr(lost, "register_frame", diverge)
    with pytest.raises(EngineError, match="starts anew"):
        engine.infer([room])
    (result,) = engine.infer([room])
    assert (result["path_m"], result["position"]) == (0.0, [0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    "options",
    [
        {"voxel_size": 0},
        {"max_range": math.inf},
        {"min_range": 5, "max_range": 5},
        {"threads": 0},
        {"deskew": True},
    ],
)
def test_options_have_limits(options):
    with pytest.raises(ValidationError):
        KissIcpEngine.Options(**options)


def test_a_run_before_load_is_told():
    engine = KissIcpEngine(KissIcpEngine.Options(), EngineContext())
    with pytest.raises(EngineError, match=r"call load\(\) first"):
        engine.infer([engine.example()])


def test_the_notice_of_the_data_ships_beside_it():
    notice = files("rota_slam").joinpath("data/LICENSE.malaga_loop.txt").read_text()
    assert "University of Malaga" in notice
    assert "Redistribution and use in source and binary forms" in notice
