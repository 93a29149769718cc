"""Makes the plain modules of tests/servers and tests/support importable, and does nothing else."""

import sys
from pathlib import Path

for folder in ("servers", "support"):
    sys.path.insert(0, str(Path(__file__).parent / folder))
