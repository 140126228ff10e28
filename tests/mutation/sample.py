"""Breaks the core in many small ways, and says which of them no test of the core notices.

`make mutants` runs it; a whole run takes hours, so a sample is drawn, the same for the same seed.
Survivors are printed as they differ from the code. SURVIVORS.md has those that were looked at.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

MUTMUT = Path(sys.executable).with_name("mutmut")
FIRST = "scheduler.core.amounts.x_plus__mutmut_1"
"""Any one: with it mutmut writes all mutants, and learns which test runs what."""
KILLED = ("killed", "timeout", "segfault")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=300, help="how many; 0 is all of them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--children", type=int, default=1, help="processes at a time")
    parser.add_argument("--log", type=Path, default=Path("mutants/log.txt"))
    options = parser.parse_args()
    options.log.parent.mkdir(exist_ok=True)
    run(options.log, options.children, [FIRST])
    names = sorted(statuses())
    count = min(options.mutants or len(names), len(names))
    sample = random.Random(options.seed).sample(names, count)  # noqa: S311
    print(f"{count:,} of {len(names):,} mutants, seed {options.seed}; {options.log}", flush=True)
    run(options.log, options.children, sample)
    return report(sample)


def run(log: Path, children: int, names: list[str]) -> None:
    """Let mutmut run these; what it says goes to the log, as it draws over its own lines."""
    command = [str(MUTMUT), "run", "--max-children", str(children), *names]
    with log.open("ab") as file:
        ended = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False)
    if ended.returncode:
        raise SystemExit(f"mutmut run ended with {ended.returncode}, see {log}")


def statuses() -> dict[str, str]:
    """What became of each mutant that there is."""
    text = asked("results", "--all", "true")
    return dict(line.strip().split(": ", 1) for line in text.splitlines() if "__mutmut_" in line)


def asked(*words: str) -> str:
    return subprocess.run([str(MUTMUT), *words], capture_output=True, text=True, check=True).stdout


def report(sample: list[str]) -> int:
    ended = statuses()
    count = Counter(ended[name] for name in sample)
    survivors = [name for name in sorted(sample) if ended[name] not in KILLED]
    for name in survivors:
        print(f"\n{ended[name]}\n{asked('show', name)}")
    killed = sum(count[status] for status in KILLED)
    print(f"{killed} of {len(sample)} killed ({killed / len(sample):.1%}): {dict(count)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
