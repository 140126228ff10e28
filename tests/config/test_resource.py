from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from scheduler.config.context import FileContext
from scheduler.config.resource import ResourcePath, locate

INSIDE = "pydantic/__init__.py"


class Options(BaseModel):
    model: ResourcePath


def test_a_path_starts_at_the_folder_of_the_configuration(tmp_path, monkeypatch):
    (tmp_path / "net.onnx").touch()
    monkeypatch.chdir("/")
    read = Options.model_validate({"model": "net.onnx"}, context=FileContext(tmp_path))
    assert read.model == tmp_path / "net.onnx"


def test_in_a_program_a_path_starts_at_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "net.onnx").touch()
    monkeypatch.chdir(tmp_path)
    assert Options(model="net.onnx").model == tmp_path / "net.onnx"
    assert Options(model=Path("net.onnx")).model.is_absolute()


def test_a_file_of_an_installed_distribution():
    path = locate(f"pydantic:{INSIDE}")
    assert path == Path(str(distribution("pydantic").locate_file(INSIDE)))
    assert path.is_file()


def test_a_file_name_with_a_colon_is_written_with_a_folder(tmp_path):
    (tmp_path / "a:b").touch()
    assert locate("./a:b", tmp_path) == tmp_path / "a:b"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("missing.onnx", "does not exist; looked for /"),
        ("nobody-has-this:x.onnx", 'no distribution "nobody-has-this" is installed; install it'),
        ("pydantic:missing.onnx", "has no such file inside"),
        ("", "is empty"),
        ("a\0b", "NUL"),
        ("x" * 5000, "does not exist"),
        (5, "is not a file name"),
        (None, "is not a file name"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_is_not_there_is_told(text, told, tmp_path):
    with pytest.raises(ValidationError, match=told):
        Options.model_validate({"model": text}, context=FileContext(tmp_path))
