"""What TensorRT, CUDA and pycuda say is the right kind of error, with what to do.

The lines are of the forms that these libraries log; those of the runtime that is installed here are
made for real in the tests of plan files and of the builder.
"""

import pytest

from rota_tensorrt.failure import (
    STICKY,
    CorruptPlan,
    ForeignPlan,
    NoDevice,
    classify,
    driver_failure,
    guarded,
)
from scheduler.errors import DeviceLost, EngineError, EngineOutOfMemory

LINES = [
    (ForeignPlan, ("6: The engine plan file is not compatible with this version of TensorRT, "
     "expecting library version 8.6.1.6 got 8.5.2.2, please rebuild.")),
    (ForeignPlan, ("IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine "
     "plan file is not compatible with this version of TensorRT, expecting library version "
     "10.7.0.23 got ..)")),
    (ForeignPlan, ("6: The engine plan file is generated on an incompatible device, expecting "
     "compute 7.2 got compute 8.7, please rebuild.")),
    (ForeignPlan, ("1: [stdArchiveReader.cpp::StdArchiveReader::40] Error Code 1: Serialization "
     "(Serialization assertion stdVersionRead == serializationVersion failed.Version tag does not "
     "match. Note: Current Version: 213, Serialized Engine Version: 232)")),
    (CorruptPlan, ("1: [stdArchiveReader.cpp::StdArchiveReader::32] Error Code 1: Serialization "
     "(Serialization assertion magicTagRead == magicTag failed.Magic tag does not match)")),
    (CorruptPlan, ("4: [runtime.cpp::deserializeCudaEngine::65] Error Code 4: Internal Error "
     "(Engine deserialization failed.)")),
    (EngineOutOfMemory, ("1: [defaultAllocator.cpp::allocate::20] Error Code 1: Cuda Runtime "
     "(out of memory)")),
    (EngineOutOfMemory, ("Requested amount of GPU memory (17920000000 bytes) could not be "
     "allocated. There may not be enough free memory for allocation to succeed.")),
    (EngineOutOfMemory, ("2: [executionContext.cpp::ExecutionContext::470] Error Code 2: "
     "OutOfMemory (no further information)")),
    (DeviceLost, ("1: [runner.cpp::execute::461] Error Code 1: Cuda Runtime (an illegal memory "
     "access was encountered)")),
    (DeviceLost, ("IExecutionContext::enqueueV3: Error Code 1: Cuda Runtime (unspecified launch "
     "failure)")),
    (DeviceLost, "Error Code 1: Cuda Runtime (misaligned address)"),
    (NoDevice, ("CUDA initialization failure with error: 35 (cudaError 35: CUDA driver version is "
     "insufficient for CUDA runtime version)")),
    (NoDevice, "CUDA error 100: no CUDA-capable device is detected"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "line"), LINES)
def test_a_line_is_of_its_kind(kind, line):
    error = classify("faces", [line], "it failed")
    assert type(error) is kind
    assert str(error).startswith("faces: ")


@pytest.mark.parametrize(("kind", "line"), LINES)
def test_the_line_that_decides_may_stand_among_others(kind, line):
    lines = ["1: something else happened first", line, "4: and this is what came of it"]
    assert type(classify("faces", lines, "it failed")) is kind


def test_versions_and_gpus_are_quoted_alone():
    error = classify("faces", [LINES[0][1]], "it failed")
    assert "(expecting library version 8.6.1.6 got 8.5.2.2)" in str(error)


def test_a_bad_plan_is_told_before_the_missing_driver():
    """A runtime without a driver complains of it whatever it was given."""
    lines = [
        LINES[4][1],
        "Error Code 1: Cuda Runtime (cudaError 35: driver version is insufficient)",
    ]
    assert type(classify("faces", lines, "it failed")) is CorruptPlan


def test_a_lost_device_is_told_before_anything_that_follows_from_it():
    lines = ["Error Code 1: Cuda Runtime (out of memory)", LINES[9][1]]
    assert type(classify("faces", lines, "it failed")) is DeviceLost


def test_what_nobody_knows_is_quoted():
    error = classify("faces", ["9: a line of a version to come"], "it failed")
    assert type(error) is EngineError
    assert str(error) == "faces: it failed (9: a line of a version to come)"
    assert "it gave no reason" in str(classify("faces", [], "it failed"))


@pytest.mark.parametrize("code", sorted(STICKY))
def test_a_sticky_error_of_the_driver_loses_the_device(code):
    error = driver_failure("faces", code, f"CUDA_ERROR_{STICKY[code]}", "running")
    assert type(error) is DeviceLost
    assert "start it again" in str(error)


@pytest.mark.parametrize(
    ("code", "name", "kind"),
    [
        (2, "CUDA_ERROR_OUT_OF_MEMORY", EngineOutOfMemory),
        (100, "CUDA_ERROR_NO_DEVICE", NoDevice),
        (1, "CUDA_ERROR_INVALID_VALUE", EngineError),
        (400, "CUDA_ERROR_INVALID_HANDLE", EngineError),
    ],
)
def test_other_errors_of_the_driver_lose_nothing(code, name, kind):
    assert type(driver_failure("faces", code, name, "copying")) is kind


def test_a_failed_allocation_of_pycuda_is_memory_and_not_the_device():
    """pycuda's own MemoryError derives from its Error, not from Python's."""
    theirs = type("MemoryError", (Exception,), {})
    assert type(guarded("faces", theirs("cuMemAlloc failed"), "loading")) is EngineOutOfMemory
    launch = type("LaunchError", (Exception,), {})
    lost = launch("cuMemcpyDtoH failed: an illegal memory access was encountered")
    assert type(guarded("faces", lost, "running")) is DeviceLost
