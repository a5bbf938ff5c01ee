"""The ledger of one call of `send`: the engine's, and what a chunk adds to it.

Pure but for its end. The shots of a chunk: shots = planned + handed_on + doubled + interrupted,
and planned = answered + failed + shed + unsent; other rules than those it was made by may
give it other shots.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from mirrorproxy.lambdas.chunk import ChunkEvent, Item
from mirrorproxy.lambdas.lines import metrics_line, say, spread_values
from mirrorproxy.lambdas.sending import Sent
from mirrorproxy.lambdas.settings import Settings
from mirrorproxy.replay.ledger import Ledger


class SendLedger:
    """The counts of one chunk; see the module."""

    def __init__(self, settings: Settings, chunk: ChunkEvent) -> None:
        self._settings = settings
        self._chunk = chunk
        self._ledger = Ledger()
        self._late_us = 0
        self.doubled = 0
        self.interrupted = 0
        self.handed_on = 0
        self._not_taken = 0
        self.rules_changed = False

    @property
    def unsent(self) -> int:
        """How many shots were not sent and not handed on."""
        return self._ledger.unsent + self._not_taken

    def take(self, sent: Sent) -> None:
        """Take what became of the chunk."""
        self._ledger = sent.ledger
        self._late_us = sent.late_us
        # What was not even planned is unsent too, unless it is handed on.
        self._not_taken = sum(item.shots for item in sent.left) - sent.ledger.unsent

    def handed_over(self, left: Sequence[Item]) -> None:
        """Take what was handed on: whoever sends it counts it."""
        self.handed_on = sum(item.shots for item in left)
        self._ledger.planned -= self._ledger.unsent
        self._ledger.unsent = 0
        self._not_taken = 0

    def to_json(self) -> dict[str, object]:
        """Return the line to read."""
        ledger = self._ledger.to_json()
        ledger["planned"] = self._ledger.planned + self._not_taken
        ledger["unsent"] = self.unsent
        del ledger["events"]
        return {
            "function": "send",
            "chunk": self._chunk.id,
            "object": f"s3://{self._chunk.bucket}/{self._chunk.key}",
            "run": self._chunk.run,
            "shots": self._chunk.shots,
            **ledger,
            "handed_on": self.handed_on,
            "doubled": self.doubled,
            "interrupted": self.interrupted,
            "late_ms": self._late_us // 1000,
            "rules_changed": self.rules_changed,
        }

    def log(self) -> None:
        """Write both lines."""
        ledger = self._ledger
        counts = {
            "Planned": ledger.planned + self._not_taken,
            "Answered": ledger.answered,
            "Failed": ledger.failed.total(),
            "Shed": ledger.shed.total(),
            "Unsent": self.unsent,
            "Unreadable": ledger.unreadable,
            "Doubled": self.doubled,
            "Interrupted": self.interrupted,
            "HandedOn": self.handed_on,
        }
        times = {
            "LagMs": spread_values(ledger.lag),
            "LatencyMs": spread_values(ledger.latency),
        }
        settings = self._settings
        at_ms = time.time_ns() // 1_000_000
        say(metrics_line(settings.namespace, settings.function, at_ms, counts, times))
        say(json.dumps(self.to_json()))
