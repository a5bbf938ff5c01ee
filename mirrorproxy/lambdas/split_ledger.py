"""The ledger of one call of `split`: what it read, and what it gave away.

Pure but for its end. read = duplicates + skipped + selected, and planned = shed + given; what was
handed on counts where it is split, what failed when it is split again.
"""

from __future__ import annotations

import json
import time
from collections import Counter

from mirrorproxy.lambdas.lines import metrics_line, say
from mirrorproxy.lambdas.settings import Settings
from mirrorproxy.replay.ledger import Ledger


class SplitLedger:
    """The counts of one call; see the module."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.objects = 0
        self.read = 0
        self.duplicates = 0
        self.skipped: Counter[str] = Counter()
        self.selected = 0
        self.planned = 0
        self.shed: Counter[str] = Counter()
        self.unreadable = 0
        self.given = 0
        self.chunks = 0
        self.stored = 0
        self.handed_on = 0
        self.failed: list[str] = []
        self.throttled = 0

    def take(self, ledger: Ledger, shots: int, chunks: int) -> None:
        """Take a part of which every chunk was given away."""
        self.read += ledger.read
        self.duplicates += ledger.duplicates
        self.skipped += ledger.skipped
        self.selected += ledger.selected
        self.planned += ledger.planned
        self.shed += ledger.shed
        self.unreadable += ledger.unreadable
        self.given += shots
        self.chunks += chunks

    @property
    def is_balanced(self) -> bool:
        """Whether every exchange and every shot is accounted for, once."""
        exchanges = self.duplicates + self.skipped.total() + self.selected
        return self.read == exchanges and self.planned == self.shed.total() + self.given

    def to_json(self) -> dict[str, object]:
        """Return the line to read."""
        return {
            "function": "split",
            "objects": self.objects,
            "read": self.read,
            "duplicates": self.duplicates,
            "skipped": dict(self.skipped),
            "selected": self.selected,
            "planned": self.planned,
            "shed": dict(self.shed),
            "given": self.given,
            "chunks": self.chunks,
            "stored": self.stored,
            "unreadable": self.unreadable,
            "handed_on": self.handed_on,
            "failed": self.failed,
            "throttled": self.throttled,
            "balanced": self.is_balanced,
        }

    def log(self) -> None:
        """Write both lines."""
        counts = {
            "Read": self.read,
            "Selected": self.selected,
            "Skipped": self.skipped.total(),
            "Planned": self.planned,
            "Shed": self.shed.total(),
            "Unreadable": self.unreadable,
            "HandedOn": self.handed_on,
        }
        settings = self._settings
        at_ms = time.time_ns() // 1_000_000
        say(metrics_line(settings.namespace, settings.function, at_ms, counts))
        say(json.dumps(self.to_json()))
