"""The tally of correlation: what it learned and replaced, and what it had to learn from.

Pure. Counts only.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from mirrorproxy.shot import Shot

READS: Final = ("GET", "HEAD", "OPTIONS")
REFUSED: Final = 400
"""From this status on an answer gives nothing."""

_NO_CONTENT: Final = 204


class Tally:
    """What correlation did. replaced: by place, "sealed" for marks.

    writes, without_body: answers to what may have made something, and how many of them
    have no recorded body.
    """

    def __init__(self) -> None:
        self.learned = 0
        self.replaced: Counter[str] = Counter()
        self.shots = 0
        self.waited = 0
        self.gave_up = 0
        self.writes = 0
        self.without_body = 0

    def look(self, shot: Shot) -> None:
        """Take note of what production's answer to a shot offers."""
        recorded = shot.recorded
        if recorded is None or recorded.status >= REFUSED:
            return
        if shot.method not in READS and recorded.status != _NO_CONTENT:
            self.writes += 1
            if recorded.body is None and recorded.body_bytes != 0:
                self.without_body += 1

    def to_json(self, expired: int) -> dict[str, object]:
        """Return the counts, as ``--json`` shows them. expired: pairs that made room for others."""
        return {
            "learned": self.learned,
            "replaced": dict(self.replaced),
            "shots": self.shots,
            "waited": self.waited,
            "gave_up": self.gave_up,
            "expired": expired,
            "writes": self.writes,
            "writes_without_body": self.without_body,
        }
