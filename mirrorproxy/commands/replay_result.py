"""What a replay leaves: its summary, its ledger as JSON, and the files of ``--out``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO, NamedTuple

from mirrorproxy.commands.decoding import Told
from mirrorproxy.commands.replay_compare import Compared
from mirrorproxy.commands.replay_correlation import correlation_json, correlation_lines
from mirrorproxy.errors import ConfigError, MirrorproxyError
from mirrorproxy.replay.correlate import Correlation
from mirrorproxy.replay.ledger import Ledger, times
from mirrorproxy.replay.order import FORGOTTEN
from mirrorproxy.replay.outcomes import OutcomeFile
from mirrorproxy.replay.unmapped import Unmapped
from mirrorproxy.report.summary import (
    SHOWN_UNREADABLE,
    Details,
    summary_lines,
    unreadable_lines,
)
from mirrorproxy.report.unmapped_text import unmapped_lines
from mirrorproxy.sources.events import Unreadable


class UnreadableParts:
    """The first parts that could not be read, and how many there were."""

    def __init__(self) -> None:
        self._shown: list[str] = []
        self._total = 0
        self._told = Told()

    def add(self, event: Unreadable) -> None:
        """Take one."""
        self._total += 1
        if len(self._shown) < SHOWN_UNREADABLE and self._told.is_new(event):
            self._shown.append(str(event))

    def say(self) -> None:
        """Tell of them."""
        for line in unreadable_lines(self._shown, self._total):
            say(line, sys.stderr)


class Result(NamedTuple):
    """All that a replay is told of by. correlation: None where there was none."""

    ledger: Ledger
    unreadable: UnreadableParts
    unmapped: Unmapped
    correlation: Correlation | None
    compared: Compared

    def show(self, seconds: float, *, as_json: bool) -> None:
        """Print it. seconds: how long the replay took."""
        self.unreadable.say()
        if as_json:
            say(json.dumps(self._to_json()), sys.stdout)
            return
        for line in (
            *summary_lines(self.ledger.to_json(), self._details(seconds)),
            *correlation_lines(self.correlation),
            *unmapped_lines(self.unmapped.rows()),
            *self.compared.lines(),
        ):
            say(line, sys.stdout)

    def write(self, out: Path) -> None:
        """Write it into the folder of ``--out``. Raises MirrorproxyError."""
        try:
            (out / "ledger.json").write_text(json.dumps(self._to_json(), indent=1) + "\n")
            self.compared.write(out)
        except OSError as error:
            raise MirrorproxyError(f"{out}/ledger.json: {error.strerror}") from error

    def _to_json(self) -> dict[str, object]:
        found = {
            "unmapped": self.unmapped.to_json(),
            "correlation": correlation_json(self.correlation),
        }
        return self.ledger.to_json() | found | self.compared.to_json()

    def _details(self, seconds: float) -> Details:
        ledger = self.ledger
        return Details(
            seconds=seconds,
            late=ledger.late,
            differing=ledger.differing,
            cookies_removed=ledger.cookies_removed,
            lag_by_cause={
                cause: times(lag, 50, 99) for cause, lag in ledger.lag_by_cause.items() if lag.count
            },
            left_out=ledger.left_out,
            shared={key: shots for key, shots in ledger.unordered.items() if key != FORGOTTEN},
        )


def open_outcomes(out: str | None) -> OutcomeFile | None:
    """Return the file of outcome lines in the folder of ``--out``. Raises ConfigError."""
    if out is None:
        return None
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        return OutcomeFile(Path(out) / "outcomes.jsonl")
    except OSError as error:
        raise ConfigError(f"{out}: {error.strerror}", file="--out") from error


def say(line: str, stream: IO[str]) -> None:
    """Print a line."""
    print(line, file=stream)
