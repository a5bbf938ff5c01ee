"""The shots, targets and rules that other tests have, too."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "replay"), str(HERE.parent / "rules")]
