from __future__ import annotations

import os
from pathlib import Path

import pytest

from scheduler.config import load_config
from scheduler.config.check import check
from scheduler.config.document import TEXT_MAX_BYTES
from scheduler.config.source import Arrivals, Origin, OriginKind
from scheduler.core.settings import PoolBudget, Settings, Trust
from scheduler.errors import ConfigError

GIB = 1024**3
MIB = 1024**2
SECOND_NS = 1_000_000_000
FACES = """
models:
  faces: {engine: "echo_engine:Echo", footprint: 40MiB}
"""


def test_the_smallest_configuration_has_defaults(load):
    config = load(FACES)
    assert config.settings({"unified": 10 * GIB}) == Settings(
        pools={"unified": PoolBudget(budget_bytes=8 * GIB)},
        queue_bytes=None,
        queue_pool="unified",
    )
    assert config.scheduling.drain == 5 * SECOND_NS
    assert config.memory.sample == SECOND_NS
    assert config.node


def test_everything_reaches_the_core(load):
    config = load(
        """
        node: rover-1
        memory: {budget: 420MiB, reserve: 10MiB, overhead: 5MiB, trust: declared, sample: 50ms}
        resources: {gpu: 1, dla0: 2}
        scheduling: {policy: rota, ageing: off, queue_bytes: none, drain: 1s}
        """
        + FACES.replace("\n", "\n        ")
    )
    assert config.node == "rover-1"
    assert config.settings({}) == Settings(
        pools={
            "unified": PoolBudget(
                budget_bytes=420 * MIB, reserve_bytes=10 * MIB, overhead_bytes=5 * MIB
            )
        },
        resources={"gpu": 1, "dla0": 2},
        trust=Trust.DECLARED,
        ageing_ns=None,
        queue_bytes=None,
        queue_pool="unified",
    )


@pytest.mark.parametrize(
    ("memory", "budget_bytes"),
    [
        ("{budget: 80%}", int(10 * GIB * 0.8)),
        ("{budget: auto}", int(10 * GIB * 0.8)),
        ("{budget: auto, reserve: 1GiB}", 9 * GIB),
        ("{reserve: 1GiB}", 9 * GIB),
        ("{budget: auto, reserve: 20GiB}", 0),
        ("{budget: 20GiB}", 20 * GIB),
    ],
)
def test_a_budget_is_resolved_on_the_machine(load, memory, budget_bytes):
    config = load(f"memory: {memory}\n{FACES}")
    assert config.settings({"unified": 10 * GIB}).pools["unified"].budget_bytes == budget_bytes


def test_the_main_memory_goes_by_two_names(load):
    assert load(FACES).settings({"host": 10 * GIB}).pools["unified"].budget_bytes == 8 * GIB


def test_a_budget_of_an_unknown_pool_is_told(load):
    config = load('memory: {pools: {host: {budget: 1GiB}, "cuda:0": {budget: 50%}}}' + FACES)
    with pytest.raises(ConfigError, match=r"^memory.pools.cuda:0.budget: nothing is known"):
        config.settings({"host": GIB})
    assert config.settings({"cuda:0": GIB}).pools["cuda:0"].budget_bytes == GIB // 2


def test_the_first_pool_is_the_default_device(load):
    config = load('memory: {pools: {"cuda:0": {budget: 1GiB}, host: {budget: 1GiB}}}' + FACES)
    assert config.models["faces"].device == "cuda:0"
    assert set(config.models["faces"].to_spec().footprint) == {"cuda:0"}
    assert config.settings({}).queue_pool == "host"


def test_defaults_reach_the_models(load):
    config = load(
        """
        resources: {gpu: 2}
        defaults: {engine: "echo_engine:Echo", priority: 20, uses: {gpu: 1}, queue: {limit: 3}}
        models:
          a: {footprint: 1MiB}
          b: {footprint: 1MiB, priority: 70, uses: {gpu: 2}, queue: {keep: latest}}
        """
    )
    a, b = config.models["a"].to_spec(), config.models["b"].to_spec()
    assert (a.priority, a.uses, a.queue_limit) == (20, {"gpu": 1}, 3)
    assert (b.priority, b.uses, b.queue_limit) == (70, {"gpu": 2}, 3)


def test_options_are_what_the_plugin_makes_of_them(load, tmp_path):
    (tmp_path / "net.onnx").touch()
    options = "options: {load: 300ms, memory: 2MiB, model: net.onnx, label: null}"
    config = load(FACES.replace("footprint", f"{options}, footprint"))
    read = config.models["faces"].options
    assert type(read).__name__ == "EchoOptions"
    assert (read.load, read.memory) == (300_000_000, 2 * MIB)
    assert read.model == tmp_path / "net.onnx"


def test_sources_and_sinks(load, tmp_path):
    (tmp_path / "bikes.mp4").touch()
    config = load(
        FACES
        + """
sources:
  camera: {model: faces, from: "video:bikes.mp4", rate: 10Hz, loop: true, deadline: none}
  noise: {model: faces, from: synthetic, rate: 7.5Hz, arrivals: burst, size: 3, seed: 4}
  ears: {model: faces, from: "microphone:USB Mic: 2", lease: {priority: high, ttl: 1s}}
  words: {model: faces, from: utterances:ears, priority: low}
sinks:
  screen: {models: all, to: console}
  file: {models: [faces], to: "jsonl:out.jsonl"}
"""
    )
    camera, noise, ears, words = config.sources.values()
    assert camera.from_ == Origin(OriginKind.VIDEO, path=tmp_path / "bikes.mp4")
    assert (camera.rate, camera.loop, camera.realtime) == (10.0, True, True)
    assert "deadline" in camera.model_fields_set
    assert camera.deadline is None
    assert (noise.rate, noise.arrivals, noise.size, noise.seed) == (7.5, Arrivals.BURST, 3, 4)
    assert ears.from_ == Origin(OriginKind.MICROPHONE, device="USB Mic: 2")
    assert (ears.lease.priority, ears.lease.ttl) == (75, SECOND_NS)
    assert words.from_ == Origin(OriginKind.UTTERANCES, source="ears")
    assert "deadline" not in words.model_fields_set
    assert config.sinks["screen"].models is None
    assert config.sinks["file"].models == ("faces",)
    assert config.sinks["file"].to.path == tmp_path / "out.jsonl"


def test_aliases_repeat_a_value(load):
    config = load(
        """
        models:
          a: &a {engine: "echo_engine:Echo", footprint: 1MiB, priority: 7}
          b: *a
        """
    )
    assert config.models["b"].priority == 7
    assert config.models["b"].name == "b"


def test_a_mistake_has_the_file_the_line_and_the_key(mistakes):
    text = "node: rover-1\nmodels:\n  faces:\n    engine: echo_engine:Echo\n    footprint: 512\n"
    wanted = '"512" has no unit; write 512MiB or 512MB'
    assert mistakes(text) == [f"rover.yaml:5: models.faces.footprint: {wanted}"]


def test_mistakes_of_all_kinds_come_at_once_in_the_order_of_the_file(mistakes):
    found = mistakes(
        """
        memory: {budget: 5}
        models:
          a: {engine: nothing_like_it, footprint: 3, options: {x: 1}}
          b: {engine: "echo_engine:Echo", footprint: 4, options: {thraeds: 1}, prioritty: 1}
          b: {footprint: 1MiB}
        sources:
          s: {model: c, from: synthetic, rate: 3}
        """
    )
    places = [line.split(": ")[1] for line in found]
    assert sorted(places[1:3]) == ["models.a.engine", "models.a.footprint"]
    assert sorted(places[3:6]) == [
        "models.b.footprint",
        "models.b.options.thraeds",
        "models.b.prioritty",
    ]
    assert [places[0], places[6]] == ["memory.budget", "models.b"]
    assert sorted(places[7:]) == ["sources.s.model", "sources.s.rate"]


def test_a_broken_section_breaks_nothing_else(mistakes):
    found = mistakes("memory: 5\nresources: 5\n" + FACES + "sources: 5\nsinks: [1]\n")
    assert [line.split(": ")[1] for line in found] == ["memory", "resources", "sources", "sinks"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty"),
        (b"---\n", "is not a mapping"),
        (b"models: \xff\n", ":1: is not UTF-8"),
        (b"a: 1\nb: \xc3\x28", ":2: is not UTF-8"),
        ("models: {}\n".encode("utf-16"), "is not UTF-8"),
        (b"a: \0", "control character"),
        (b"#" * (TEXT_MAX_BYTES + 1), "larger than 256 KiB"),
        (b"[" * 100_000, "nested more than 32 deep"),
        (b"- " * 1000 + b"1", "nested more than 32 deep"),
        (b"a: " + b"9" * 5000 + b"\n", "too large a number"),
        (b"%YAML " + b"9" * 5000 + b".1\n--- a\n", "is not YAML"),
        (b'"\\UFFFFFFFF": 1', "is not YAML"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_is_no_yaml_text_is_one_clear_line(tmp_path, data, told):
    path = tmp_path / "rover.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=told) as caught:
        load_config(path)
    assert caught.value.mistakes[0].startswith(f"{path}:")


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "rover.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + FACES.encode())
    assert set(load_config(path).models) == {"faces"}


def test_what_is_no_file_is_one_clear_line(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, told in [
        (tmp_path, "is a folder"),
        (tmp_path / "none.yaml", "does not exist"),
        (tmp_path / "none" / "none.yaml", "does not exist"),
        (pipe, "is not a regular file"),
        (Path("/dev/zero"), "is not a regular file"),
        (loop, "cannot be read"),
        ("a\0b", "cannot be read"),
        ("x" * 5000, "cannot be read"),
    ]:
        with pytest.raises(ConfigError, match=told):
            load_config(path)


def test_host_and_device_parts_come_out_of_one_memory_where_there_is_one(load):
    model = "models: {a: {engine: synthetic, footprint: {host: 600MiB, 'cuda:0': 900MiB}}}"
    one = load(f"memory: {{budget: 1400MiB}}\n{model}")
    spec = one.models["a"].to_spec()
    assert {pool: part.resident_bytes for pool, part in spec.footprint.items()} == {
        "unified": 1500 * MIB
    }
    (finding, *_) = check(one, {"unified": 8 * GIB})
    assert finding.fatal
    assert finding.text.startswith("a never fits: needs 1.46 GiB")
    pools = "{host: {budget: 1000MiB}, 'cuda:0': {budget: 1000MiB}}"
    two = load(f"memory: {{pools: {pools}}}\n{model}")
    assert not any(finding.fatal for finding in check(two, {"host": 8 * GIB, "cuda:0": 8 * GIB}))
