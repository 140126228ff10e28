"""TensorRT or TensorRT-RTX: which of them is installed, and what of them is used.

Both are one interface under several names, and neither is imported before it is needed. `Library`
is what Rota uses of it; `tensorrt-stubs`, which type TensorRT 10, are checked against it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from scheduler.errors import EngineError

if TYPE_CHECKING:
    import tensorrt as trt

MODULES: Final = {
    "tensorrt": ("tensorrt",),
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
"""The names under which a library is imported. The wheel `tensorrt_rtx` has no code of its own and
needs a source build; its part `tensorrt_rtx_cu13_bindings` does as well."""

_INSTALL: Final = {
    "tensorrt": "pip install rota[tensorrt], or on a Jetson use its own TensorRT",
    "tensorrt_rtx": "pip install rota[tensorrt-rtx]",
}
_OLDEST: Final = (8, 5)
"""The first with tensors by name; the bindings of earlier ones end with Python 3.9."""


class Library(Protocol):
    """What is used of the module `tensorrt`, or of `tensorrt_rtx`."""

    __name__: str
    __version__: str

    @property
    def ILogger(self) -> type[trt.ILogger]: ...  # noqa: D102, N802
    @property
    def Runtime(self) -> type[trt.Runtime]: ...  # noqa: D102, N802
    @property
    def Builder(self) -> type[trt.Builder]: ...  # noqa: D102, N802
    @property
    def OnnxParser(self) -> type[trt.OnnxParser]: ...  # noqa: D102, N802
    @property
    def IOutputAllocator(self) -> type[trt.IOutputAllocator]: ...  # noqa: D102, N802
    @property
    def IProgressMonitor(self) -> type[trt.IProgressMonitor]: ...  # noqa: D102, N802
    @property
    def IInt8EntropyCalibrator2(self) -> type[trt.IInt8EntropyCalibrator2]: ...  # noqa: D102, N802
    @property
    def TensorIOMode(self) -> type[trt.TensorIOMode]: ...  # noqa: D102, N802
    @property
    def TensorLocation(self) -> type[trt.TensorLocation]: ...  # noqa: D102, N802
    @property
    def MemoryPoolType(self) -> type[trt.MemoryPoolType]: ...  # noqa: D102, N802
    @property
    def BuilderFlag(self) -> type[trt.BuilderFlag]: ...  # noqa: D102, N802
    @property
    def NetworkDefinitionCreationFlag(  # noqa: D102, N802
        self,
    ) -> type[trt.NetworkDefinitionCreationFlag]: ...


def library(name: str) -> Library:
    """Import the library called `name` (`tensorrt` or `tensorrt_rtx`).

    Raises:
        EngineError: it is not installed, does not load, or is too old; with what to do.
    """
    problems = []
    for module_name in MODULES[name]:
        try:
            module: Any = import_module(module_name)
        except Exception as error:  # noqa: BLE001 - a broken native library may raise anything
            problems.append(f"{type(error).__name__}: {error}")
            continue
        if hasattr(module, "Runtime") and hasattr(module, "__version__"):
            return _new_enough(name, cast("Library", module))
        problems.append(f"{module_name} is there, but without its code (type stubs alone)")
    raise EngineError(f"{name} cannot be used: {'; '.join(problems)}; {_INSTALL[name]}")


def find_library() -> tuple[str, Library]:
    """Import the library that is installed, TensorRT before TensorRT-RTX, and return its name too.

    Raises:
        EngineError: none is installed.
    """
    problems = []
    for name in MODULES:
        try:
            return name, library(name)
        except EngineError as error:  # noqa: PERF203 - there are two
            problems.append(str(error))
    raise EngineError("; ".join(problems))


def version_of(module: Library) -> tuple[int, ...]:
    """Return the library's version in numbers."""
    return tuple(int(part) for part in module.__version__.split(".")[:4] if part.isdigit())


def _new_enough(name: str, module: Library) -> Library:
    if name == "tensorrt" and version_of(module) < _OLDEST:
        raise EngineError(
            f"TensorRT {module.__version__} is too old; the engine needs 8.5 or newer (JetPack 5.1)"
        )
    return module
