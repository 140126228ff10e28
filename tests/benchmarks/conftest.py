from __future__ import annotations

import sys
from pathlib import Path

# The benchmarks share modules that belong to no package.
HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE.parent / "compiled")]
