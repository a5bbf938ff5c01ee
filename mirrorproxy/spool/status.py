"""The shipper's status: what it tells the supervisor, as a file in the spool.

Owns ``shipper-status.json``. Advice only: nothing is ever resumed from it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from mirrorproxy.spool.files import private

_FILE = "shipper-status.json"


class ShipperStatus(msgspec.Struct, frozen=True):
    """updated_us: when this was true, microseconds since 1970.

    shipped, quarantined, discarded, torn: lines since the spool's first use,
    see `checkpoint.Totals`. waiting: complete lines that are not settled yet,
    waiting_bytes with what is still being written. oldest_age_s: how long ago
    the oldest of them arrived, 0 when none waits. delay_s: how long the last pack
    took from the arrival of its first line to being settled. missing_bodies: body objects
    that were gone when their record was put. retries: how often something had
    to be tried again; rejected: how many packed records a sink refused for the
    moment and was sent again. retrying_in_s: time to the next
    attempt, None when nothing is wrong. error: the last thing that went wrong
    and still does. quarantine_error: why lines were last refused for good.
    """

    updated_us: int
    shipped: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    quarantined: int = 0
    discarded: int = 0
    torn: int = 0
    oldest_age_s: float = 0.0
    delay_s: float = 0.0
    missing_bodies: int = 0
    retries: int = 0
    rejected: int = 0
    retrying_in_s: float | None = None
    error: str | None = None
    quarantine_error: str | None = None


_decoder = msgspec.json.Decoder(ShipperStatus)


def write_status(spool: Path, status: ShipperStatus) -> None:
    """Replace the status file. Raises OSError."""
    path = spool / _FILE
    temporary = path.with_name(f".{path.name}.part")
    with open(temporary, "wb", opener=private) as file:
        file.write(msgspec.json.encode(status))
    temporary.replace(path)


def read_status(spool: Path) -> ShipperStatus | None:
    """Return what the shipper last said, None if it said nothing that can be read."""
    try:
        return _decoder.decode((spool / _FILE).read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
