"""What the first bytes of a plan say, read without TensorRT and without a GPU.

All plans start with a tag of four bytes, the serialisation's version, and at byte 24 the library's
version in four bytes (NVIDIA's trtexec reads it there, in `printPlanVersion`). TensorRT-RTX adds,
as its own plans show, the length of the whole plan at byte 16, one bit for each compute capability
that it was built for at byte 32, and the bytes of its weights at byte 56.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rota_tensorrt.failure import CorruptPlan, PlanError

if TYPE_CHECKING:
    from pathlib import Path

HEADER_BYTES: Final = 64
_VERSION: Final = struct.Struct("<24x4B")
_RTX: Final = struct.Struct("<16xQ8xQ16xQ")
_TAGS: Final = {b"ftrt": "tensorrt", b"ptrt": "tensorrt", b"vtrt": "tensorrt_rtx"}
SERVED: Final = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""The compute capabilities of TensorRT-RTX, in the order of their bits."""

_OTHERS: Final = (
    (b"\x50\x4b\x03\x04", "a PyTorch or zip file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself"),
    (b"<", "a web page"),
)
_BUILD: Final = "build a plan with: rota build MODEL.onnx --output DIR"


@dataclass(frozen=True, slots=True)
class PlanHeader:
    """Who built a plan and for what. What its kind does not say is None."""

    library: str
    """`tensorrt` or `tensorrt_rtx`."""
    version: tuple[int, int, int, int]
    """Of the library: major, minor, patch, build (its lowest byte)."""
    file_bytes: int
    weights_bytes: int | None = None
    capabilities: tuple[str, ...] | None = None
    """The compute capabilities that it was built for, as `8.9`."""

    @property
    def version_text(self) -> str:
        """`10.3.0` without the build, of which the header has one byte alone."""
        return ".".join(str(part) for part in self.version[:3])


def read_header(plan: Path) -> PlanHeader:
    """Read and check the header of a plan.

    Raises:
        CorruptPlan: it is empty, cut short, or no plan.
        PlanError: it cannot be read.
    """
    try:
        with plan.open("rb") as file:
            head = file.read(HEADER_BYTES)
        file_bytes = plan.stat().st_size
    except OSError as error:
        raise PlanError(f"{plan}: cannot read it: {error.strerror}") from error
    return parse_header(str(plan), head, file_bytes)


def parse_header(subject: str, head: bytes, file_bytes: int) -> PlanHeader:
    """Parse the first 64 bytes of a plan of `file_bytes`; `subject` names it in errors.

    Raises:
        CorruptPlan: it is empty, cut short, or no plan.
    """
    if not head:
        raise CorruptPlan(f"{subject}: it is empty; copy it again, or {_BUILD}")
    library = _TAGS.get(head[:4])
    if library is None:
        raise CorruptPlan(f"{subject}: it is {_what_it_is(subject, head)}; {_BUILD}")
    if len(head) < HEADER_BYTES:
        raise CorruptPlan(f"{subject}: it is cut short at {file_bytes} bytes; copy it again")
    version: tuple[int, int, int, int] = _VERSION.unpack_from(head)
    if library != "tensorrt_rtx":
        return PlanHeader(library, version, file_bytes)
    whole_bytes, targets, weights_bytes = _RTX.unpack_from(head)
    if whole_bytes != file_bytes:
        raise CorruptPlan(
            f"{subject}: it has {file_bytes} bytes and says that it has {whole_bytes}; "
            f"copy it again"
        )
    if weights_bytes > file_bytes:
        raise CorruptPlan(
            f"{subject}: its weights are said to have {weights_bytes} bytes, more than the file; "
            f"build it again"
        )
    capabilities = tuple(name for bit, name in enumerate(SERVED) if targets >> bit & 1)
    return PlanHeader(library, version, file_bytes, weights_bytes, capabilities)


def _what_it_is(subject: str, head: bytes) -> str:
    if head[4:8] == b"ORTM":
        return "a model in onnxruntime's own format, which the engine onnxruntime takes"
    if subject.lower().endswith(".onnx") or (head[:1] == b"\x08" and head[2:3] in b"\x12\x1a\x3a"):
        return "an ONNX model"
    for start, name in _OTHERS:
        if head.startswith(start):
            return name
    return f"no plan (it starts with {head[:4].hex(' ')})"
