"""An ONNX model read by TensorRT's parser, and what the parser says of a model it does not take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from scheduler.errors import EngineError
from scheduler.plugin.builder import BuildRefused

if TYPE_CHECKING:
    from pathlib import Path

    import tensorrt as trt

    from rota_tensorrt.library import Library
    from rota_tensorrt.logger import Lines

_ORT: Final = b"ORTM"
_OWN_OPERATORS: Final = (
    "is onnxruntime's own operator, as its quantiser writes them; "
    "export the model in float, and let rota build --precision int8 quantise it"
)
_REMEDIES: Final = (
    ("int32", "its biases are quantised; quantise the model with QuantizeBias off"),
    ("plugin", "TensorRT has no such operator; export the model without it, for a newer opset"),
    ("unsupported", "TensorRT has no such operator; export the model without it"),
)


def read_network(
    path: Path, network: trt.INetworkDefinition, module: Library, logger: trt.ILogger, lines: Lines
) -> None:
    """Parse the ONNX model at `path` into `network`.

    Raises:
        BuildRefused: it is no ONNX model.
        EngineError: it has what TensorRT does not take; the sentence names the node.
    """
    _check_format(path)
    lines.clear()
    parser: Any = module.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        problems = [parser.get_error(at) for at in range(parser.num_errors)]
        raise EngineError(f"{path}: {_described(path, problems, lines)}")
    if not network.num_outputs:
        raise BuildRefused(f"{path}: it is no ONNX model; give the model as its exporter wrote it")


def _check_format(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise BuildRefused(f"{path}: cannot read it: {error.strerror}") from error
    if head[4:] == _ORT:
        raise BuildRefused(
            f"{path}: it is in onnxruntime's own format, which TensorRT does not read; give the "
            f"ONNX model that it was made from"
        )
    if not head:
        raise BuildRefused(f"{path}: it is empty; copy it again")


def _described(path: Path, problems: list[Any], lines: Lines) -> str:
    if not problems or "failed to parse the onnx model" in str(problems[0].desc()).lower():
        said = (*lines.errors, "no reason given")[0][:200]
        return f"it is no whole ONNX model; copy it again ({said})"
    said = "; ".join(_one(path, problem) for problem in problems[:_MOST])
    more = len(problems) - _MOST
    return said + (f"; and {more} more" if more > 0 else "")


def _one(path: Path, problem: Any) -> str:
    index = int(problem.node())
    text = " ".join(str(problem.desc()).split())
    node = _node(path, index)
    if node is None:
        return f"{text}; check the model with onnx.checker"
    where = f'node {index} "{node.name}" ({node.op_type})'
    if node.domain not in ("", "ai.onnx"):
        return f"{where}: {node.domain}.{node.op_type} {_OWN_OPERATORS}"
    for sign, remedy in _REMEDIES:
        if sign in text.lower():
            return f"{where}: {remedy} ({text})"
    return f"{where}: {text}; export the model without this node"


def _node(path: Path, index: int) -> Any:
    """The node that the parser means by its index, or None."""
    import onnx  # noqa: PLC0415 - heavy, and only needed for a sentence

    try:
        nodes = onnx.load(path, load_external_data=False).graph.node
    except Exception:  # noqa: BLE001 - the parser has said what is wrong with the file
        return None
    return nodes[index] if 0 <= index < len(nodes) else None


_MOST: Final = 3
