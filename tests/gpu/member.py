"""A model of these tests: its engine, its inputs, and what the CPU answers to them."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dense_engine
import networks
import numpy as np

from rota_onnxruntime import OnnxRuntimeEngine
from scheduler import EngineContext, EngineOptions, EnginePlugin, Footprint, Model
from scheduler.core.model import PoolFootprint

SEEDS = (1, 2, 3)
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
EXACT = {CUDA: {"use_tf32": False}}
"""Whole float32 products, as the CPU computes them; by default the card rounds to 10 bits."""
TOLERANCE = 1e-4
"""Of ||out - ref|| / ||ref||, float32 on both sides."""
PLENTY_BYTES = 60 * 1024**3


@dataclass(frozen=True)
class Member:
    """`footprint` is what was measured. Inputs and answers belong together by their place."""

    name: str
    engine: type[EnginePlugin]
    options: EngineOptions
    inputs: tuple[Any, ...]
    answers: tuple[Any, ...]
    batch_max: int = 1
    footprint: Footprint | None = None

    def error(self, which: int, result: Any) -> float:
        """How far a result is from the CPU's, as a share of its norm."""
        out = next(iter(result.values()))[0] if isinstance(result, dict) else result
        reference = self.answers[which]
        return float(np.linalg.norm(out - reference) / np.linalg.norm(reference))

    def plugin(self, pool: str, booked: PoolFootprint | None = None) -> EnginePlugin:
        """Make the engine's object without a scheduler, with all the memory there is."""
        plenty = PoolFootprint(
            resident_bytes=PLENTY_BYTES, load_peak_bytes=PLENTY_BYTES + 1, workspace_bytes=1
        )
        return self.engine(self.options, EngineContext(self.name, pool, booked or plenty))

    def model(self, pool: str, **rules: Any) -> Model:
        """Make it a model of Rota's; `rules` are keys of the configuration."""
        written: dict[str, Any] = {
            "footprint": self.footprint,
            "device": pool,
            "batch": {"max": self.batch_max, "wait": 0.005},
        }
        return Model(name=self.name, **(written | rules))

    def kept(self, items: int = 1) -> "Member":
        """The same with what a run of `items` takes counted as resident, so that it is kept."""
        assert self.footprint is not None
        resident = self.footprint.resident + self.footprint.to_pool().running_bytes(items)
        return dataclasses.replace(self, footprint=Footprint(resident=resident))


def dense(folder: Path, name: str, blocks: int, seed: int, **options: Any) -> Member:
    """Matrices through pycuda, 256 MiB each."""
    weights = folder / "weights.npy"
    inputs = tuple(networks.vector(seed) for seed in SEEDS)
    loaded = np.load(weights, mmap_mode="r")
    answers = tuple(dense_engine.on_cpu(loaded, blocks, seed, x) for x in inputs)
    made = dense_engine.DenseOptions(weights=weights, blocks=blocks, seed=seed, **options)
    return Member(name, dense_engine.DenseEngine, made, inputs, answers, 4)


def matrices(folder: Path, name: str, blocks: int, seed: int) -> Member:
    """The same through onnxruntime."""
    path = networks.matrix_net(folder, name, blocks, seed)
    return _onnx(name, path, [networks.vector(seed)[None] for seed in SEEDS])


def images(folder: Path, name: str, seed: int, **options: Any) -> Member:
    """The hungry image net, through onnxruntime."""
    path = networks.image_net(folder, name, seed)
    return _onnx(name, path, [networks.image(seed) for seed in SEEDS], **options)


def _onnx(name: str, path: Path, inputs: list[Any], **options: Any) -> Member:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), settings, providers=[CPU])
    answers = tuple(session.run(None, {"x0": x})[0][0] for x in inputs)
    given = {"provider_options": EXACT} | options
    made = OnnxRuntimeEngine.Options(model=path, **given)
    return Member(name, OnnxRuntimeEngine, made, tuple({"x0": x} for x in inputs), answers, 4)
