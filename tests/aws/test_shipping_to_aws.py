"""A real capture shipped to the emulator: Firehose, S3, and what goes wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.firehose import Fault, Firehose
from support.ministack import Ministack

sys.path.insert(0, str(Path(__file__).parents[1] / "capture"))
