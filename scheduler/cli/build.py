"""`rota build`: TensorRT plans of a model, and how a configuration speaks of them."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from scheduler.cli.configuration import complain
from scheduler.cli.exit_status import NO, WRONG
from scheduler.cli.shapes import read_shapes
from scheduler.cli.variants import configuration_text, model_name
from scheduler.config.units import read_size
from scheduler.errors import EngineError, PluginError
from scheduler.plugin.builder import BuildOrder, BuildRefused, Built, find_builder

if TYPE_CHECKING:
    from collections.abc import Iterator

BUILDER = "tensorrt"
_CALIBRATION = typer.Option(help="A folder of inputs (.npy, .npz), for int8.")
_CALIBRATOR = typer.Option(
    help="Let TensorRT 8 to 10 measure the scales of int8, on inputs of the usual shape."
)


def build(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="An ONNX model.")],
    *,
    output: Annotated[Path, typer.Option(help="The folder for the plans and a configuration.")],
    precision: Annotated[
        Optional[list[str]],
        typer.Option(help="fp32, fp16 or int8; several times for several forms, the best first."),
    ] = None,
    shapes: Annotated[
        Optional[list[str]],
        typer.Option(help='Of a dynamic input: "x=1x3x32x32,1x3x480x640,4x3x480x640".'),
    ] = None,
    calibration: Annotated[Optional[Path], _CALIBRATION] = None,
    calibrator: Annotated[bool, _CALIBRATOR] = False,
    workspace: Annotated[
        Optional[str], typer.Option(help="The most memory that a layer may work in, as 256MiB.")
    ] = None,
    timing_cache: Annotated[
        Optional[Path], typer.Option(help="A file that keeps what was measured, for the next time.")
    ] = None,
    weight_streaming: Annotated[
        bool, typer.Option(help="Weights may stay in host memory, by the option weights_budget.")
    ] = False,
) -> None:
    """Build TensorRT plans of MODEL.onnx, with a configuration that names their footprints.

    Takes minutes with TensorRT, which measures on this machine's GPU (CUDA_VISIBLE_DEVICES says
    which of several), and seconds with TensorRT-RTX, which needs none. Exit status 1: the model
    cannot be built. 2: wrong usage.
    """
    with _told():
        order = BuildOrder(
            model=_existing(model),
            folder=output,
            precisions=tuple(precision or ("fp32",)),
            shapes=read_shapes(shapes or []),
            workspace_bytes=_size(workspace),
            calibration=calibration,
            calibrator=calibrator,
            timing_cache=timing_cache,
            weight_streaming=weight_streaming,
        )
        _build(order)


def _build(order: BuildOrder) -> None:
    built = list(_shown(order))
    target = order.folder / f"{model_name(order.model)}.yaml"
    target.write_text(configuration_text(order.model, built), encoding="utf-8")
    Console(highlight=False, soft_wrap=True).print(f"configuration: {target}", markup=False)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a builder raises into a sentence and an exit status."""
    try:
        yield
    except (PluginError, OSError) as error:
        complain(str(error))
        raise typer.Exit(WRONG) from error
    except EngineError as error:
        complain(str(error))
        raise typer.Exit(NO) from error


def _shown(order: BuildOrder) -> Iterator[Built]:
    """Build, and show how far it is on standard error, and each form as soon as it is there."""
    console = Console(highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    errors = Console(stderr=True)
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        line = bar.add_task("", total=None)

        def tell(what: str, done: int, steps: int) -> None:
            bar.update(line, description=what, completed=done, total=steps)

        for built in find_builder(BUILDER).build(order, tell):
            size_mib = built.file.stat().st_size / 2**20
            console.print(f"{built.name}: {built.file} ({size_mib:.1f} MiB)", markup=False)
            for note in built.notes:
                console.print(f"  {note}", markup=False)
            yield built


def _existing(model: Path) -> Path:
    if not model.is_file():
        raise BuildRefused(f"{model}: there is no such file")
    return model


def _size(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return read_size(text, from_file=True, positive=True)
    except ValueError as error:
        raise BuildRefused(f"--workspace: {error}") from error
