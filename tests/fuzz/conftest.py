"""Lets these tests import what stands beside them and in ``tests/properties``."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in ("fuzz", "properties"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / folder))
