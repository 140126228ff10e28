"""Samples of a model's inputs, from a folder of numpy files: what scales are measured on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scheduler.errors import EngineError
from scheduler.plugin.builder import BuildRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rota_onnxruntime.tensor import Array, TensorSpec


@dataclass(frozen=True, slots=True)
class Samples:
    """The files of a folder, each one set of inputs.

    `.npy` is for a model of one input, `.npz` has an array for each input under its name. Arrays
    are what the model takes: prepared as for a request (scaled, transposed, with the batch first).
    """

    files: Sequence[Path]
    inputs: Sequence[TensorSpec]

    @classmethod
    def find(cls, folder: Path, inputs: Sequence[TensorSpec]) -> Samples:
        """List the samples in `folder`.

        Raises:
            BuildRefused: there is no such folder, or nothing in it that can be read.
        """
        if not folder.is_dir():
            raise BuildRefused(f"{folder}: there is no such folder of calibration data")
        files = sorted(file for file in folder.iterdir() if file.suffix in (".npy", ".npz"))
        if not files:
            raise BuildRefused(
                f"{folder}: no .npy or .npz file in it; save some inputs of the model there, "
                f"prepared as for a request (100 or more, as various as in use)"
            )
        return cls(files, inputs)

    @property
    def digest(self) -> str:
        """A hash of all samples: other data, other scales."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        return (self._read(file) for file in self.files)

    def reader(self) -> Any:
        """Return it as onnxruntime's `CalibrationDataReader`."""
        from onnxruntime.quantization import CalibrationDataReader  # noqa: PLC0415 - heavy

        samples = iter(self)

        class Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime is not typed
            def get_next(self) -> Mapping[str, Array] | None:
                return next(samples, None)

        return Reader()

    def _read(self, file: Path) -> Mapping[str, Array]:
        try:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                with loaded:
                    return self._checked(file, dict(loaded))
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"{file}: it is no numpy file: {error}") from error
        if len(self.inputs) != 1:
            names = ", ".join(spec.name for spec in self.inputs)
            raise EngineError(f"{file}: the model has several inputs; save {names} as .npz")
        return self._checked(file, {self.inputs[0].name: loaded})

    def _checked(self, file: Path, given: Mapping[str, Array]) -> Mapping[str, Array]:
        try:
            return {spec.name: spec.check(given.get(spec.name)) for spec in self.inputs}
        except EngineError as error:
            raise EngineError(f"{file}: {error}") from error
