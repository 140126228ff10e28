"""CUDA's own figures, of contexts that are there already: stand-ins for pycuda and the bindings."""

from types import SimpleNamespace

import pytest

from scheduler.memory.cuda import CudaProbe

GIB = 1024**3


class Bindings:
    """cuda.bindings.driver: every call answers an error code first."""

    def __init__(self, *active, error=0):
        self.active, self.error = active, error
        self.held = self.stack = 0
        self.of = None

    def cuDeviceGetCount(self):  # noqa: N802
        return 0, len(self.active)

    def cuDeviceGet(self, number):  # noqa: N802
        return 0, number

    def cuDevicePrimaryCtxGetState(self, device):  # noqa: N802
        return 0, 0, int(self.active[device])

    def cuDevicePrimaryCtxRetain(self, device):  # noqa: N802
        assert self.active[device], "asking must not make a context"
        self.held += 1
        self.of = device
        return 0, "context"

    def cuDevicePrimaryCtxRelease(self, _):  # noqa: N802
        self.held -= 1
        return (0,)

    def cuCtxPushCurrent(self, _):  # noqa: N802
        self.stack += 1
        return (0,)

    def cuCtxPopCurrent(self):  # noqa: N802
        self.stack -= 1
        return 0, "context"

    def cuMemGetInfo(self):  # noqa: N802
        assert self.stack == 1
        return self.error, (self.of + 1) * GIB, 80 * GIB


class Context:
    def __init__(self):
        self.depth = 0

    def push(self):
        self.depth += 1

    def pop(self):
        self.depth -= 1

    def get_device(self):
        return SimpleNamespace(pci_bus_id=lambda: "0000:41:00.0")


class Device(SimpleNamespace):
    IDS = ("0000:01:00.0", "0000:41:00.0")

    @classmethod
    def count(cls):
        return 2

    def __init__(self, number):
        super().__init__(pci_bus_id=lambda: self.IDS[number])


def test_only_devices_whose_context_is_there_are_asked():
    bindings = Bindings(False, True)
    (sample,) = CudaProbe(modules={"cuda.bindings.driver": bindings}, now_ns=lambda: 5).sample()
    assert (sample.pool, sample.available_bytes, sample.total_bytes) == (
        "cuda:1",
        2 * GIB,
        80 * GIB,
    )
    assert (sample.source, sample.taken_at_ns) == ("CUDA", 5)
    assert (bindings.held, bindings.stack) == (0, 0)


def test_an_error_leaves_nothing_behind():
    bindings = Bindings(True, error=700)
    with pytest.raises(OSError, match="700"):
        CudaProbe(modules={"cuda.bindings.driver": bindings}).sample()
    assert (bindings.held, bindings.stack) == (0, 0)


def test_pycudas_primary_context_is_asked_and_given_back():
    context = Context()
    driver = SimpleNamespace(Device=Device, mem_get_info=lambda: (3 * GIB, 80 * GIB))
    modules = {
        "pycuda.autoprimaryctx": SimpleNamespace(context=context),
        "pycuda.driver": driver,
    }
    (sample,) = CudaProbe(modules=modules).sample()
    assert (sample.pool, sample.available_bytes) == ("cuda:1", 3 * GIB)
    assert context.depth == 0


def test_a_process_without_cuda_has_no_sample():
    assert CudaProbe(modules={}).sample() == ()
    modules = {"pycuda.autoprimaryctx": SimpleNamespace(context=None), "pycuda.driver": None}
    assert CudaProbe(modules=modules).sample() == ()
