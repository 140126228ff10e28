"""Files made from a model once and kept: a cache that is written atomically and checked.

An entry is a folder `<model file>.rota-cache/<key>/`, beside the model or, where that cannot be
written, in the user's cache. Its key is a hash of the model's content, of what was made of it and
of onnxruntime's version, so that an entry is never stale. It has a manifest with the hash of each
of its files: an entry cut short by a power failure, or changed, is made anew. A lock keeps two
processes from making the same entry at once. The folders may be deleted whenever no engine runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sysconfig
import tempfile
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scheduler.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MANIFEST: Final = "manifest.json"
_CHUNK_BYTES: Final = 1 << 20


def derived(model: Path, recipe: str, build: Callable[[Path], None]) -> Path:
    """Return the folder of what `build` makes of `model`, made now unless it is there and whole.

    Args:
        model: the file that it is made from; its external data is found by its name.
        recipe: says what is made, with everything but the model that it depends on.
        build: writes its files into the empty folder it is given.

    Raises:
        EngineError: the model cannot be read, or no folder can be written.
    """
    try:
        key = _key(model, recipe)
    except OSError as error:
        raise EngineError(f"{model}: cannot read it: {error.strerror}") from error
    folders = _folders(model)
    for folder in folders:
        if _is_whole(folder / key):
            return folder / key
    refusals = []
    for folder in folders:
        try:
            return _make(folder, key, build)
        except OSError as error:  # noqa: PERF203 - each folder may refuse
            refusals.append(f"{folder}: {error.strerror or error}")
    raise EngineError(
        f"{model}: no folder for its cache can be written ({'; '.join(refusals)}); "
        f"set XDG_CACHE_HOME to one that can"
    )


def _make(folder: Path, key: str, build: Callable[[Path], None]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    entry = folder / key
    with _lock(folder / "lock"):
        if _is_whole(entry):
            return entry
        work = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
        try:
            build(work)
            _seal(work)
            if entry.exists():
                shutil.rmtree(entry)
            work.rename(entry)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return entry


def _seal(entry: Path) -> None:
    """Write the manifest, and everything to the disk, before the entry gets its name."""
    hashes = {}
    for file in sorted(entry.iterdir()):
        hashes[file.name] = fingerprint(file)
        with file.open("rb") as written:
            os.fsync(written.fileno())
    with (entry / _MANIFEST).open("w", encoding="utf-8") as manifest:
        json.dump(hashes, manifest)
        manifest.flush()
        os.fsync(manifest.fileno())


def _is_whole(entry: Path) -> bool:
    try:
        hashes = json.loads((entry / _MANIFEST).read_text(encoding="utf-8"))
        return bool(hashes) and all(
            fingerprint(entry / name) == value for name, value in hashes.items()
        )
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def fingerprint(file: Path) -> str:
    """Return the SHA-256 of a file, computed once per process while the file stays as it is."""
    stat = file.stat()
    return _sha256(file, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(file: Path, _inode: int, _size: int, _mtime_ns: int) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def model_sha256(model: Path) -> str:
    """Return a hash of a model's content, its external data included."""
    parts = [f"{file.name} {fingerprint(file)}" for file in _files(model)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _key(model: Path, recipe: str) -> str:
    import onnxruntime  # noqa: PLC0415 - heavy: imported when a model is loaded

    parts = [str(onnxruntime.__version__), recipe, model_sha256(model)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _files(model: Path) -> list[Path]:
    """List the model and its external data, which exporters name after it (`model.onnx.data`)."""
    beside = (file for file in model.parent.glob(f"{model.name}?*") if file.is_file())
    return [model, *sorted(beside)]


def _folders(model: Path) -> list[Path]:
    name = f"{model.name}.rota-cache"
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    user = configured if configured.is_absolute() else Path("~/.cache").expanduser()
    folders = [model.parent / name, user / "rota" / name]
    return folders[1:] if _is_installed(model) else folders


def _is_installed(model: Path) -> bool:
    """Whether the model belongs to an installed distribution, whose folders are not ours."""
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return any(model.is_relative_to(place) for place in places)


@contextmanager
def _lock(file: Path) -> Iterator[None]:
    with file.open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
