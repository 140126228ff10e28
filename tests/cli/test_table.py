"""The live table, rendered to text."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rich.console import Console

from scheduler.cli.table import QUEUE_ROWS, render_live
from scheduler.core.engine import EngineState
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.core.snapshot import EngineSnapshot, PoolSnapshot, Snapshot, WaitSnapshot
from scheduler.report.report import LatencyReport, ModelReport, PoolReport, Report

MIB = 1 << 20
MS = 1_000_000
SECOND = 1_000 * MS

ENGINE = EngineSnapshot(
    model="faces", state=EngineState.READY, instance=1, pinned=False, disabled=False, priority=60,
    reserved_bytes={"unified": 40 * MIB}, running=(), held_by=None, waiting=0, batch_limit=None,
    loads_ahead=0, loads_ahead_used=0,
    condemned=None, ready_again_ns=None,
)  # fmt: skip
POOL = PoolSnapshot(
    name="unified", budget_bytes=400 * MIB, reserved_bytes=200 * MIB, high_water_bytes=390 * MIB,
    overhead_bytes=0, residue_bytes=0, available_bytes=None, used_bytes=None,
)  # fmt: skip
SNAPSHOT = Snapshot(
    now_ns=10 * SECOND, draining=False, mode=None, switching=False, pools=(POOL,),
    engines=(ENGINE,), leases=(), waiting=(), resources_in_use={"gpu": 1},
)  # fmt: skip
REPORT = Report(
    duration_s=10.0,
    models={
        "faces": ModelReport(
            requests=1300, completed=1234, failed=4, rejected=3, deadline_missed=2, preempted=0,
            cancelled=0, loads=1, unloads=0, latency_ms=LatencyReport(p50=1, p99=2, max=3),
        )
    },
    memory={"unified": PoolReport(budget_bytes=400 * MIB, high_water_bytes=390 * MIB)},
    swaps_per_minute=6.0,
)  # fmt: skip


def text_of(snapshot, width=100, last=None):
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(render_live(snapshot, REPORT, last or {}))
    return capture.get()


def row_of(name, text):
    return next(line for line in text.splitlines() if line.startswith(name))


def faces(**changes):
    return row_of("faces", text_of(replace(SNAPSHOT, engines=(replace(ENGINE, **changes),))))


def test_a_model_shows_state_memory_counts_and_last_latency():
    text = text_of(SNAPSHOT, last={"faces": 26.96})
    assert row_of("faces", text).split() == [
        "faces",
        "in",
        "memory",
        "40.0",
        "MiB",
        "-",
        "1,234",
        "2",
        "3",
        "4",
        "27.0",
    ]
    assert text.splitlines()[0] == "10.0 s, 6.0 swaps per minute, gpu: 1 in use"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"state": EngineState.UNLOADED, "reserved_bytes": {}}, "faces  out "),
        ({"state": EngineState.LOADING}, "faces  loading "),
        ({"state": EngineState.UNLOADING}, "faces  unloading "),
        ({"running": (7,)}, "faces  running  "),
        ({"running": (7, 8, 9)}, "faces  running 3 "),
        ({"held_by": 5}, "faces  held by 5 "),
        ({"held_by": 5, "running": (7,)}, "faces  running  "),
        ({"condemned": Reason(ReasonCode.RUN_TIMEOUT)}, "faces  hung "),
        (
            {"state": EngineState.UNLOADED, "ready_again_ns": 12 * SECOND + 500 * MS},
            "faces  failed, again in 2.5 s",
        ),
        ({"state": EngineState.UNLOADED, "ready_again_ns": 9 * SECOND}, "faces  out "),
        ({"pinned": True}, "faces pinned  in memory"),
    ],
)
def test_each_state_has_its_word(changes, says):
    assert faces(**changes).startswith(says)


def test_an_engine_out_of_memory_takes_none():
    assert faces(state=EngineState.UNLOADED, reserved_bytes={}).split()[2] == "-"


def test_memory_shows_reserved_and_measured_against_the_budget():
    unknown = row_of("unified", text_of(SNAPSHOT)).split()
    assert unknown[:2] == ["unified", "█" * 10 + "·" * 10]
    assert unknown[2:] == [
        "200.0",
        "MiB",
        "of",
        "400.0",
        "MiB",
        "unknown",
        "390.0",
        "MiB",
        "unknown",
    ]
    pool = replace(POOL, used_bytes=100 * MIB, available_bytes=3 << 30)
    known = row_of("unified", text_of(replace(SNAPSHOT, pools=(pool,)))).split()
    assert known[1] == "████┃█████" + "·" * 10
    assert known[-6:] == ["100.0", "MiB", "390.0", "MiB", "3.00", "GiB"]


def waits(number):
    return tuple(
        WaitSnapshot(
            request_id=index, models=("faces", "text"), priority=60,
            arrived_ns=10 * SECOND - 70 * MS, deadline_ns=None,
            waits_for=Reason(ReasonCode.WAITS_FOR_MEMORY, "[bold] more") if index == 1 else None,
        )
        for index in range(1, number + 1)
    )  # fmt: skip


def test_who_waits_is_shown_with_what_for():
    first, second = text_of(replace(SNAPSHOT, waiting=waits(2))).splitlines()[-2:]
    assert re.fullmatch(r"faces \+ text #1 priority 60 +70 ms +\[bold\] more *", first)
    assert re.fullmatch(r"faces \+ text #2 priority 60 +70 ms +its turn *", second)


def test_a_long_queue_does_not_make_the_table_long():
    lines = text_of(replace(SNAPSHOT, waiting=waits(QUEUE_ROWS + 4))).splitlines()
    assert lines[-1].strip() == "and 4 more"
    assert sum("#" in line for line in lines) == QUEUE_ROWS


def test_stopping_is_said():
    assert ", stopping" in text_of(replace(SNAPSHOT, draining=True))
    assert ", stopping" not in text_of(SNAPSHOT)


def test_a_narrow_terminal_gets_no_line_that_wraps():
    text = text_of(replace(SNAPSHOT, waiting=waits(2)), width=60)
    assert max(map(len, text.splitlines())) <= 60
    assert len(text.splitlines()) == len(text_of(replace(SNAPSHOT, waiting=waits(2))).splitlines())


def test_a_model_without_figures_yet_has_dashes():
    engine = replace(ENGINE, model="new", reserved_bytes={})
    text = text_of(replace(SNAPSHOT, engines=(engine,)))
    assert row_of("new", text).split() == ["new", "in", "memory", *["-"] * 7]


def test_the_mode_is_told_and_what_it_disables():
    disabled = replace(ENGINE, disabled=True)
    docking = replace(SNAPSHOT, mode="docking", switching=True, engines=(disabled,))
    assert "mode docking (not reached yet)" in text_of(docking)
    assert "faces disabled" in text_of(docking)
    assert "not reached" not in text_of(replace(docking, switching=False))
    assert "mode" not in text_of(SNAPSHOT).splitlines()[0]


def test_loads_ahead_and_those_that_were_of_use_are_told_where_there_were_any():
    assert "ahead" not in text_of(SNAPSHOT)
    other = replace(ENGINE, model="text", loads_ahead=4, loads_ahead_used=3)
    told = text_of(replace(SNAPSHOT, engines=(ENGINE, other))).splitlines()
    assert told[1].split()[-1] == "ahead"
    assert told[2].split()[-1] == "-"
    assert told[3].endswith("3 of 4")


def test_the_form_is_shown_where_there_is_a_choice():
    assert faces(variant="int8", device="cuda:1").startswith("faces int8 on cuda:1 ")
    assert faces(variant="int8", pinned=True).startswith("faces int8 pinned ")
