"""The image: what it writes to has a place, also with a read-only root."""

from __future__ import annotations

import json
import re
from pathlib import Path

DOCKERFILE = (Path(__file__).parents[2] / "Dockerfile").read_text()


def test_the_sealing_key_has_a_volume_of_its_own():
    """Its user has no home, and the key must be neither lost nor within the capture."""
    volumes = re.search(r"^VOLUME (.+)$", DOCKERFILE, re.MULTILINE)
    assert volumes is not None
    assert json.loads(volumes[1]) == ["/capture", "/state"]
    assert "XDG_STATE_HOME=/state\n" in DOCKERFILE
