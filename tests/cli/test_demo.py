"""The rover: five real models on real inputs, in the memory of three."""

import json
import subprocess
import sys
from pathlib import Path

ROVER = Path(__file__).parents[2] / "configs" / "rover.yaml"


def test_five_real_models_take_turns_within_the_budget(tmp_path):
    report_path = tmp_path / "report.json"
    command = [sys.executable, "-m", "scheduler", "run", ROVER, "--duration", "15s"]
    done = subprocess.run(
        [*command, "--report", report_path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(report_path.read_text())
    models, pool = report["models"], report["memory"]["unified"]
    assert set(models) == {"voice", "slam", "speech", "faces", "text"}
    assert all(model["completed"] > 0 for model in models.values())
    assert sum(model["loads"] for model in models.values()) > 5
    assert models["voice"]["loads"] == models["slam"]["loads"] == 1
    assert pool["high_water_bytes"] <= pool["budget_bytes"]
    assert pool["measured_high_water_bytes"] <= pool["budget_bytes"]
    for said in ("Ever tried", "saw faces", "Region", "somebody spoke", "drove"):
        assert said in done.stdout
