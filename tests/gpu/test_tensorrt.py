"""What the engine `tensorrt` asks of a real driver and of pycuda, with TensorRT-RTX where it is.

On a GPU that TensorRT-RTX serves (compute capability 7.5, 8.0, 8.6, 8.9, 12.x) a plan runs and is
compared with numpy; on another (an H100 has 9.0) its error is the one that says so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "plugins"))

from rota_tensorrt import NoDevice, TensorRtEngine
from rota_tensorrt.device import Device
from rota_tensorrt.driver import Driver, load_driver
from rota_tensorrt.graph import Graph
from rota_tensorrt.header import SERVED
from rota_tensorrt.staging import Layout, Staging
from scheduler.errors import EngineOutOfMemory
from scheduler.plugin.engine import EngineContext


@pytest.fixture
def device():
    device = Device("test", 0)
    yield device
    with device.current():
        device.free_pools()
    device.release()


@pytest.fixture
def driver():
    return Driver("test", load_driver())


def test_a_copy_goes_there_and_back_on_a_stream_with_a_priority(device, driver):
    with device.current():
        least, greatest = driver.priority_range()
        stream = driver.make_stream(greatest)
        staging = Staging(device)
        layout = Layout.of({"x": 4096, "y": 4096})
        assert staging.fit(layout)
        assert not staging.fit(layout)
        there, back = staging.host(layout, "x"), staging.host(layout, "y")
        there[:] = np.arange(4096, dtype=np.uint8)
        address = staging.address(layout, "x")
        driver.copy_to_device(address, there.ctypes.data, 4096, stream)
        driver.copy_to_host(back.ctypes.data, address, 4096, stream)
        driver.synchronize(stream)
        assert (there == back).all()
        assert device.staging.managed_bytes >= layout.total_bytes
        staging.free()
        del there, back
        driver.destroy_stream(stream)
    assert least >= greatest


def test_a_graph_is_captured_once_and_launched(device, driver):
    with device.current():
        stream = driver.make_stream(0)
        staging = Staging(device)
        layout = Layout.of({"x": 1024})
        staging.fit(layout)
        host, address = staging.host(layout, "x"), staging.address(layout, "x")
        calls = []

        def enqueue():
            calls.append(1)
            driver.copy_to_device(address, host.ctypes.data, 512, stream)
            driver.copy_to_host(host.ctypes.data + 512, address, 512, stream)

        graph = Graph(driver, stream)
        for value in (1, 2, 3, 4):
            host[:512] = value
            graph.run(enqueue)
            driver.synchronize(stream)
            assert (host[512:] == value).all()
        assert len(calls) == 2
        graph.drop()
        staging.free()
        driver.destroy_stream(stream)


def test_too_much_is_a_lack_of_memory_and_harms_nothing(device, driver):
    with device.current():
        with pytest.raises(EngineOutOfMemory):
            driver.allocate(2**50)
        driver.free(driver.allocate(2**20))


def test_the_primary_context_is_shared_and_the_stack_is_left_empty():
    import pycuda.driver as cuda

    first, second = Device("a", 0), Device("b", 0)
    with first.current(), second.current():
        assert cuda.Context.get_device() == cuda.Device(0)
    for device in (first, second):
        with device.current():
            device.free_pools()
        device.release()


@pytest.mark.parametrize("options", [{}, {"graph": True}, {"activation": "run"}])
def test_a_plan_runs_or_says_that_this_gpu_is_not_served(tmp_path, device, options):
    pytest.importorskip("tensorrt_rtx_bindings", reason="rota[tensorrt-rtx] is not installed")
    from plans import build, product

    from scheduler.plugin.builder import BuildOrder

    shapes = {"x": ((1, 8), (4, 8), (16, 8))}
    (built,) = build(BuildOrder(product(tmp_path / "p.onnx"), tmp_path, ("fp32",), shapes))
    engine = TensorRtEngine(
        TensorRtEngine.Options(plan=built.file, **options), EngineContext("net", "cuda:0")
    )
    try:
        if device.capability not in SERVED:
            with pytest.raises(NoDevice, match="does not serve"):
                engine.load()
            return
        engine.load()
        engine.warm_up()
        for value in (-1, 2, 3):
            x = np.full((3, 8), value, np.float32)
            (answer,) = engine.infer([x])
            np.testing.assert_allclose(answer["y"], np.maximum(x, 0))
        print(f"measured: {engine.measure()}")
    finally:
        engine.unload()
