"""The cache of files made from a model."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from rota_onnxruntime.derived import derived, fingerprint
from scheduler.errors import EngineError


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    path = tmp_path / "models" / "m.onnx"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


class Builder:
    """Writes two files and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "graph").write_text("graph")
        (folder / "weights").write_text("weights")


def test_it_is_made_once_beside_the_model(model: Path) -> None:
    build = Builder()
    entry = derived(model, "r", build)
    assert derived(model, "r", build) == entry
    assert build.calls == 1
    assert entry.parent == model.parent / "m.onnx.rota-cache"
    assert sorted(file.name for file in entry.iterdir()) == ["graph", "manifest.json", "weights"]
    assert not list(entry.parent.glob("new-*"))


def test_another_recipe_model_or_onnxruntime_is_another_entry(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = Builder()
    entries = {derived(model, "r", build), derived(model, "other", build)}
    model.write_bytes(b"WEIGHTS")
    entries.add(derived(model, "r", build))
    model.with_name("m.onnx.data").write_bytes(b"1")
    entries.add(derived(model, "r", build))
    model.with_name("m.onnx.data").write_bytes(b"2")
    entries.add(derived(model, "r", build))
    monkeypatch.setattr("onnxruntime.__version__", "0.0")
    entries.add(derived(model, "r", build))
    assert len(entries) == build.calls == 6


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "no manifest", "bad manifest"])
def test_a_damaged_entry_is_made_anew(model: Path, damage: str) -> None:
    build = Builder()
    entry = derived(model, "r", build)
    if damage == "cut":
        os.truncate(entry / "weights", 3)
    elif damage == "changed":
        (entry / "weights").write_text("WEIGHTS")
    elif damage == "missing":
        (entry / "graph").unlink()
    elif damage == "no manifest":
        (entry / "manifest.json").unlink()
    else:
        (entry / "manifest.json").write_text("[1")
    assert derived(model, "r", build) == entry
    assert build.calls == 2
    assert (entry / "weights").read_text() == "weights"


def test_a_manifest_of_any_json_is_no_danger(model: Path) -> None:
    build = Builder()
    entry = derived(model, "r", build)
    for text in ("[]", "{}", "1", "null", '{"graph": 1}', '{"../../m.onnx": "x"}', "\ud800"):
        (entry / "manifest.json").write_bytes(text.encode(errors="surrogatepass"))
        calls = build.calls
        derived(model, "r", build)
        assert build.calls == calls + 1


def test_a_build_that_fails_leaves_nothing(model: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "graph").write_text("half")
        raise EngineError("no")

    with pytest.raises(EngineError, match="no"):
        derived(model, "r", fail)
    assert [file.name for file in (model.parent / "m.onnx.rota-cache").iterdir()] == ["lock"]
    build = Builder()
    derived(model, "r", build)
    assert build.calls == 1


def test_the_users_cache_serves_where_the_models_folder_cannot_be_written(model: Path) -> None:
    (model.parent / "m.onnx.rota-cache").write_text("in the way")
    entry = derived(model, "r", Builder())
    assert entry.parent == model.parent.parent / "user" / "rota" / "m.onnx.rota-cache"


def test_an_installed_package_is_left_alone(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(model.parent))
    entry = derived(model, "r", Builder())
    assert entry.is_relative_to(model.parent.parent / "user")
    assert list(model.parent.iterdir()) == [model]


def test_no_folder_at_all_is_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model.parent / "m.onnx.rota-cache").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(model))
    with pytest.raises(EngineError, match="set XDG_CACHE_HOME to one that can"):
        derived(model, "r", Builder())


def test_a_relative_cache_home_is_ignored(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the XDG base directory specification demands."""
    (model.parent / "m.onnx.rota-cache").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(model.parent.parent / "home"))
    entry = derived(model, "r", Builder())
    assert entry.is_relative_to(model.parent.parent / "home" / ".cache" / "rota")


def test_a_model_that_cannot_be_read_is_told(model: Path) -> None:
    model.unlink()
    with pytest.raises(EngineError, match=r"m\.onnx: cannot read it: No such file"):
        derived(model, "r", Builder())


def _derive_slowly(model: Path, barrier: Any, results: Any) -> None:
    def build(folder: Path) -> None:
        (folder / "graph").write_text(str(os.getpid()) * 100_000)

    barrier.wait(30)
    entry = derived(model, "r", build)
    results.put((entry, fingerprint(entry / "graph")))


def test_two_processes_at_once_share_one_whole_entry(model: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    children = [
        context.Process(target=_derive_slowly, args=(model, barrier, results)) for _ in range(3)
    ]
    for child in children:
        child.start()
    found = {results.get(timeout=60) for _ in children}
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert len(found) == 1
