"""Where a model runs: onnxruntime's execution providers, and the memory that one may take."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from rota_onnxruntime.options import CPU, CUDA, OnnxOptions, Weights
from scheduler.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.plugin.engine import EngineContext

DEVICE_PROVIDERS: Final = (CUDA, "TensorrtExecutionProvider")

_GPU: Final = "cuda:"

_SEARCH: Final = "cudnn_conv_algo_search"

_FATAL: Final = 4
"""onnxruntime's log level."""


def is_gpu(pool: str) -> bool:
    """Whether a pool is a GPU's own memory."""
    return pool.startswith(_GPU)


def device_number(pool: str) -> int:
    """Which GPU a pool belongs to; 0 for the memory that a board's only GPU shares."""
    number = pool.removeprefix(_GPU)
    return int(number) if is_gpu(pool) and number.isdigit() else 0


def wanted_providers(options: OnnxOptions, context: EngineContext) -> tuple[str, ...]:
    """The providers of the options; where they say nothing, those of the pool.

    Raises EngineError for a provider that takes its memory from another pool than the model's, for
    then the books would be wrong.
    """
    pool = context.device
    wanted = options.providers or ((CUDA, CPU) if is_gpu(pool) else (CPU,))
    on_device = takes_device(wanted)
    if is_gpu(pool) != on_device and pool != "unified":
        where = "a GPU's" if on_device else "the CPU's"
        remedy = "cuda:0" if on_device else "host"
        raise EngineError(
            f"{context.model} is placed in {pool}, but {', '.join(wanted)} takes {where} memory; "
            f"write device: {remedy}, or leave providers out"
        )
    if on_device and options.weights is Weights.MAPPED:
        raise EngineError(
            f"{context.model} is placed in {pool}, and weights: mapped is for {CPU} alone; "
            f"write weights: copied"
        )
    return wanted


def takes_device(providers: Sequence[str]) -> bool:
    """Whether one of these providers takes memory of a GPU."""
    return any(name in DEVICE_PROVIDERS for name in providers)


def provider_settings(name: str, options: OnnxOptions, context: EngineContext) -> dict[str, str]:
    """What onnxruntime is told of a provider; the configuration's own settings come last.

    The arena of a GPU grows by what is asked for (by default it doubles), and no further than to
    what is booked for the model at most. How to convolve is chosen by heuristics; onnxruntime's own
    default is to try all ways, which is slower at first, no faster later (H100, onnxruntime 1.31)
    and not safe beside other engines. Names and values are those of its documentation, "CUDA
    Execution Provider".

    Raises EngineError for a setting that would crash the process.
    """
    settings: dict[str, Any] = {}
    if name in DEVICE_PROVIDERS:
        settings["device_id"] = device_number(context.device)
    if name == CUDA:
        settings["arena_extend_strategy"] = "kSameAsRequested"
        settings[_SEARCH] = "HEURISTIC"
        if context.most_bytes is not None:
            settings["gpu_mem_limit"] = context.most_bytes
    settings |= options.provider_options.get(name, {})
    if settings.get(_SEARCH) == "EXHAUSTIVE":
        raise EngineError(
            f"{context.model}: {_SEARCH}: EXHAUSTIVE crashes the process when another engine loads "
            f"meanwhile (it records a CUDA graph, which the load breaks); write HEURISTIC"
        )
    return {key: _text(value) for key, value in settings.items()}


def available_providers(wanted: Sequence[str]) -> list[str]:
    """What this onnxruntime was built with; its GPU libraries are looked for before it needs them.

    They may be packages of their own (`nvidia-cudnn-cu13` and its like), which the system's loader
    does not know; onnxruntime finds them there itself, from 1.21 on.
    """
    import onnxruntime  # noqa: PLC0415 - heavy: imported when a model is loaded

    available: list[str] = onnxruntime.get_available_providers()
    if takes_device([name for name in wanted if name in available]):
        _prepare_device()
    return available


@lru_cache(maxsize=1)
def _prepare_device() -> None:
    """Do once what a process needs for its first GPU: the libraries, and silence at each load.

    The environment's logger warns of every session on a GPU that no plugin library was registered,
    and of each way to convolve that cuDNN does not have; what matters comes as an exception.
    """
    import onnxruntime  # noqa: PLC0415 - heavy: imported when a model is loaded

    onnxruntime.set_default_logger_severity(_FATAL)
    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is not None:
        preload()


def refusal(model: str, wanted: Sequence[str], came: Sequence[str]) -> EngineError:
    """The error of a session that would run elsewhere than it was asked to.

    `came` are the providers that onnxruntime has, or that it could start.
    """
    return EngineError(
        f"{model}: providers {', '.join(wanted)} are asked for, onnxruntime has "
        f"{', '.join(came)}; install the onnxruntime package that has them, "
        f"or set allow_fallback: true"
    )


def start_failure(model: str, wanted: Sequence[str], came: Sequence[str]) -> EngineError:
    """The error of a provider that is there but did not start; onnxruntime itself goes on."""
    missing = ", ".join(name for name in wanted if name not in came)
    return EngineError(
        f"{model}: {missing} did not start, and it would run on {', '.join(came)}; see that the "
        f"driver has a GPU (nvidia-smi), and CUDA and cuDNN the versions that this onnxruntime "
        f"was built for (python -c 'import onnxruntime; onnxruntime.print_debug_info()'), "
        f"or set allow_fallback: true"
    )


def _text(value: str | float) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
