"""The rover for as long as one likes: SOAK_MINUTES=30 make soak (10 minutes by default)."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROVER = Path(__file__).parents[2] / "configs" / "rover.yaml"
MINUTES = float(os.environ.get("SOAK_MINUTES", "10"))
MIB = 1024**2


def used_bytes(trace):
    """What the process held above its baseline, sample by sample."""
    for line in trace.open(encoding="utf-8"):
        event = json.loads(line).get("event", {})
        if event.get("type") == "MemorySampled":
            yield event["used_bytes"]


def test_memory_stays_flat_and_everybody_is_served(tmp_path):
    report_path, trace = tmp_path / "report.json", tmp_path / "trace.jsonl"
    seconds = f"{MINUTES * 60:.0f}s"
    command = [sys.executable, "-m", "scheduler", "run", ROVER, "--duration", seconds]
    subprocess.run([*command, "--report", report_path, "--trace", trace], check=True)
    report = json.loads(report_path.read_text())
    assert all(model["completed"] > 0 for model in report["models"].values())
    budget = report["memory"]["unified"]["budget_bytes"]
    used = list(used_bytes(trace))
    third = len(used) // 3
    early, late = max(used[third : 2 * third]), max(used[2 * third :])
    print(f"most in the second third {early / MIB:.0f} MiB, in the last {late / MIB:.0f} MiB")
    assert max(used) <= budget
    assert late <= early + 16 * MIB
