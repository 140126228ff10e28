from __future__ import annotations

import sys
from pathlib import Path

# The tests of TensorRT share modules that belong to no package.
sys.path.append(str(Path(__file__).parent))
