"""The building half of a TensorRT of version 8 to 10, as far as `rota build` calls it.

Networks are read by `onnx`; a plan is a header and nothing else. The calibrator is asked as the
library asks it: for a cache, and without one for batches until there are no more, then it is given
the scales. What is raised in it is swallowed, as the library does.
"""

from __future__ import annotations

import ctypes
import types
from enum import IntEnum
from typing import Any

import numpy as np
import onnx

from fake_gpu import Gpu, plan_bytes

SCALES = b"TRT-100300-EntropyCalibration2\nx: 3c010a14\n"
INFO = 3


class Flag(IntEnum):
    FP16, INT8, WEIGHT_STREAMING = range(3)


class Created(IntEnum):
    EXPLICIT_BATCH, STRONGLY_TYPED = range(2)


class CreatedBefore(IntEnum):
    EXPLICIT_BATCH = 0


class Building:
    """What was asked of the builder, and what it is to do."""

    def __init__(self) -> None:
        self.created: list[int] = []
        self.flags: list[set[Flag]] = []
        self.fed: list[dict[str, Any]] = []
        self.batch_size = 0
        self.calibrated_for: dict[str, Any] = {}
        self.scales: bytes | None = None
        self.timings_match = True
        self.workspace: int | None = None


def add_builder(module: Any, gpu: Gpu, building: Building, *, types_are_known: bool) -> None:
    """Give a fake `tensorrt` module what builds."""
    logger: Any = None

    class Tensor:
        def __init__(self, info: Any) -> None:
            kind = info.type.tensor_type
            self.name = info.name
            self.shape = tuple(dim.dim_value or -1 for dim in kind.shape.dim)
            self.dtype = types.SimpleNamespace(name="FLOAT")

    class Network:
        def __init__(self) -> None:
            self.inputs: list[Tensor] = []
            self.num_inputs = self.num_outputs = 0

        def get_input(self, at: int) -> Tensor:
            return self.inputs[at]

    class Parser:
        num_errors = 0

        def __init__(self, network: Network, _logger: Any) -> None:
            self.network = network

        def parse_from_file(self, path: str) -> bool:
            graph = onnx.load(path).graph
            self.network.inputs = [Tensor(info) for info in graph.input]
            self.network.num_inputs = len(graph.input)
            self.network.num_outputs = len(graph.output)
            return True

    class Profile:
        def __init__(self) -> None:
            self.shapes: dict[str, Any] = {}

        def set_shape(self, name: str, *span: Any) -> None:
            self.shapes[name] = span

    class Timings:
        def __init__(self, content: bytes) -> None:
            self.content = content

        def serialize(self) -> bytes:
            return self.content + b"one more timing\n"

    class Config:
        int8_calibrator: Any = None

        def __init__(self) -> None:
            self.flags: set[Flag] = set()
            building.flags.append(self.flags)

        def add_optimization_profile(self, _profile: Profile) -> int:
            return 0

        def set_calibration_profile(self, profile: Profile) -> bool:
            building.calibrated_for = profile.shapes
            return True

        def set_flag(self, flag: Flag) -> None:
            self.flags.add(flag)

        def set_memory_pool_limit(self, _pool: Any, size_bytes: int) -> None:
            building.workspace = size_bytes

        def create_timing_cache(self, content: bytes) -> Timings:
            return Timings(content)

        def set_timing_cache(self, cache: Timings, *, ignore_mismatch: bool) -> bool:
            assert not ignore_mismatch
            self.timings = cache if building.timings_match else Timings(b"")
            return building.timings_match

        def get_timing_cache(self) -> Timings:
            return self.timings

    class Builder:
        def __init__(self, made: Any) -> None:
            nonlocal logger
            logger = made

        def create_network(self, flags: int) -> Network:
            building.created.append(flags)
            return Network()

        def create_optimization_profile(self) -> Profile:
            return Profile()

        def create_builder_config(self) -> Config:
            return Config()

        def build_serialized_network(self, network: Network, config: Config) -> Any:
            calibrator = config.int8_calibrator
            if calibrator is not None:
                building.batch_size = calibrator.get_batch_size()
                building.scales = calibrator.read_calibration_cache()
            if calibrator is not None and building.scales is None:
                self.calibrate(network, calibrator)
            for name, size_bytes in (("Activation", 3000), ("Weights", 2000)):
                logger.log(INFO, f"Total {name} Memory: {size_bytes} bytes")
            return plan_bytes()

        def calibrate(self, network: Network, calibrator: Any) -> None:
            names = [tensor.name for tensor in network.inputs]
            while addresses := calibrator.get_batch(names):
                gpu.touched("calibrate")
                rows = {}
                for name, address in zip(names, addresses, strict=True):
                    shape = building.calibrated_for[name][1]
                    size_bytes = int(np.prod(shape)) * 4
                    content = ctypes.string_at(address, size_bytes)
                    rows[name] = np.frombuffer(content, np.float32).reshape(shape)
                building.fed.append(rows)
            building.scales = SCALES
            calibrator.write_calibration_cache(memoryview(SCALES))

    class Calibrator:
        def __init__(self) -> None: ...

    module.Builder, module.OnnxParser, module.BuilderFlag = Builder, Parser, Flag
    module.NetworkDefinitionCreationFlag = Created if types_are_known else CreatedBefore
    module.MemoryPoolType = types.SimpleNamespace(WORKSPACE=0)
    module.IInt8EntropyCalibrator2 = Calibrator
