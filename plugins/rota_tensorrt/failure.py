"""What can be wrong with a plan, a device or a run, and how TensorRT and CUDA say so.

TensorRT raises nothing: a call returns None or False, and the reason is a line that its logger was
given. CUDA's driver returns a number, and pycuda an exception with a sentence. Both are read here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from scheduler.errors import DeviceLost, EngineError, EngineOutOfMemory


class PlanError(EngineError):
    """Raised when a file cannot be used as a plan. Its subclasses say why."""


class CorruptPlan(PlanError):  # noqa: N818 - it names the plan
    """Raised when a plan is empty, cut short, changed, or no plan at all."""


class ForeignPlan(PlanError):  # noqa: N818 - it names the plan
    """Raised when a plan was built by another version of the library, or for another GPU."""


class NoDevice(EngineError):  # noqa: N818 - it names what is missing
    """Raised when there is no GPU, no driver, or a GPU that the library does not serve."""


class NotFinite(EngineError):  # noqa: N818 - it names the numbers
    """Raised when an output has NaN or infinity although `finite` promises none."""


STICKY: Final = {
    214: "ECC_UNCORRECTABLE",
    220: "NVLINK_UNCORRECTABLE",
    700: "ILLEGAL_ADDRESS",
    702: "LAUNCH_TIMEOUT",
    709: "CONTEXT_IS_DESTROYED",
    710: "ASSERT",
    714: "HARDWARE_STACK_ERROR",
    715: "ILLEGAL_INSTRUCTION",
    716: "MISALIGNED_ADDRESS",
    717: "INVALID_ADDRESS_SPACE",
    718: "INVALID_PC",
    719: "LAUNCH_FAILED",
}
"""`CUresult` values after which, as the CUDA driver API says, the process is inconsistent and must
end: every later call returns the same error. The names are CUDA's without `CUDA_ERROR_`."""

_STICKY_TEXTS: Final = (
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "illegal memory access",
    "an illegal instruction was encountered",
    "misaligned address",
    "launch timed out",
    "operation not supported on global/shared address space",
    "invalid program counter",
    "unspecified launch failure",
    "hardware stack error",
    "device-side assert triggered",
    "context is destroyed",
    "illegal address",
    "launch failed",
)
"""What `cuGetErrorString`, `cudaGetErrorString` and pycuda say for the same."""

_OUT_OF_MEMORY: Final = (
    "out of memory",
    "outofmemory",
    "could not be allocated",
    "out_of_memory",
    "memory allocation failure",
    "insufficient memory",
    "cudaerror 2:",
)
_NO_DEVICE: Final = (
    "no cuda-capable device",
    "driver version is insufficient",
    "cudaerror 35",
    "cudaerror 100",
    "no device",
    "cuinit failed",
    "system has unsupported display driver",
)
_UNSERVED: Final = (
    "unsupported compute capability",
    "unsupported sm",
    "unsupported gpu",
    "target gpu sm",
    "not supported by this version of tensorrt",
    "no kernel image",
    "not supported on this gpu",
    "compute capability is not supported",
)
_FOREIGN: Final = (
    "not compatible with this version of tensorrt",
    "expecting library version",
    "version tag does not match",
    "generated on an incompatible device",
    "incompatible device",
    "built for a different",
    "serialized engine version",
    "compute capability mismatch",
    "engine compute capabilit",
)
_CORRUPT: Final = (
    "magic tag",
    "magictag",
    "serialization assertion",
    "readheader",
    "empty memory buffer",
    "deserialization failure",
    "engine deserialization failed",
    "parseplan",
    "checksum",
    "corrupt",
)

_EXPECTED: Final = re.compile(
    r"expecting (?:library version|compute) [\w.]+ got (?:compute )?[\w.]*\w", re.IGNORECASE
)

_KINDS: Final[Sequence[tuple[type[EngineError], tuple[str, ...], str]]] = (
    (DeviceLost, _STICKY_TEXTS, "the device has failed for this whole process; start it again"),
    (EngineOutOfMemory, _OUT_OF_MEMORY, "not enough device memory"),
    (
        ForeignPlan,
        _FOREIGN,
        "another version of TensorRT built it, or it is for another GPU; build it again here",
    ),
    (NoDevice, _UNSERVED, "this GPU is not served by the library; use a plan and a library for it"),
    (CorruptPlan, _CORRUPT, "it is no whole plan; copy it again, or build it again"),
    (NoDevice, _NO_DEVICE, "there is no GPU with a driver that works; run it where there is one"),
)
"""In the order in which they are looked for: the first whose words are in the text is the kind. A
plan that is refused is refused before the missing driver is complained about."""


def classify(subject: str, lines: Sequence[str], otherwise: str) -> EngineError:
    """Make the error that fits what was logged; `subject` names the plan or the model.

    Args:
        subject: what the sentence starts with.
        lines: errors as the logger had them, oldest first. All are searched; the sentence quotes
            the one that decided.
        otherwise: what to say when none of the lines is known.
    """
    for kind, signs, remedy in _KINDS:
        for line in lines:
            if any(sign in line.lower() for sign in signs):
                return kind(f"{subject}: {remedy} ({_short(line)})")
    said = _short(lines[0]) if lines else "it gave no reason"
    return EngineError(f"{subject}: {otherwise} ({said})")


def driver_failure(subject: str, code: int, name: str, doing: str) -> EngineError:
    """Make the error of a CUDA driver call that returned `code` while `doing` something."""
    if code in STICKY:
        return DeviceLost(
            f"{subject}: {doing} ended in {name}: the device has failed for this whole process; "
            f"start it again"
        )
    return classify(subject, [f"{name} (cudaError {code}: {name})"], f"{doing} failed")


def guarded(subject: str, error: Exception, doing: str) -> EngineError:
    """Turn an exception of pycuda or a binding into one of ours."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or type(error).__name__ == "MemoryError":
        text = f"out of memory: {error}"
    return classify(subject, [text], f"{doing} failed")


def without_frames(error: BaseException) -> BaseException:
    """Take the frames off an error and off what led to it.

    Their locals keep TensorRT's objects alive, which must be freed while their context is current.
    """
    one: BaseException | None = error
    while one is not None and one.__traceback__ is not None:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error


def _short(line: str) -> str:
    """One line of at most 300 characters; the part that names versions or GPUs, where there is."""
    expected = _EXPECTED.search(line)
    text = " ".join((expected.group() if expected else line).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


_LONGEST: Final = 300
