"""The checkpoint: how far each segment is settled, and what became of its lines.

Owns the file ``checkpoint.json`` in the spool and how it is replaced. Offsets
and totals stand in one file, so that no crash can count a line twice or not at
all. Also owns a small reserve of disk space: a full disk is only freed by
deleting segments, and that needs a checkpoint first.
"""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import msgspec

from mirrorproxy.spool.files import private

_log = logging.getLogger(__name__)

_FILE = "checkpoint.json"
_RESERVE_FILE = "reserve"
_RESERVE_BYTES = 1 << 20  # far more than a checkpoint takes: others may be quicker to use it
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Totals(msgspec.Struct):
    """Lines by what became of them, since the spool's first use.

    shipped: stored by the sink. quarantined: refused for good and kept.
    discarded: refused for good and not kept, as the quarantine was full. torn:
    cut in mid-write by a crash, never a record.
    """

    shipped: int = 0
    quarantined: int = 0
    discarded: int = 0
    torn: int = 0


class Checkpoint(msgspec.Struct):
    """segments: the offset in bytes up to which each segment, by name, is settled."""

    segments: dict[str, int] = {}
    totals: Totals = msgspec.field(default_factory=Totals)
    v: int = 1


_decoder = msgspec.json.Decoder(Checkpoint)


def load(spool: Path) -> Checkpoint:
    """Return the spool's checkpoint, an empty one if it has none.

    A damaged file is set aside and said so in the log: everything is shipped
    again then, which only makes duplicates. Raises OSError if it cannot be read.
    """
    path = spool / _FILE
    try:
        return _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return Checkpoint()
    except (msgspec.DecodeError, UnicodeDecodeError):
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        _log.warning("the checkpoint was damaged: kept as %s; the spool is shipped again", aside)
        return Checkpoint()


def save(spool: Path, checkpoint: Checkpoint) -> None:
    """Replace the spool's checkpoint; it is on the disk when this returns.

    Raises OSError; the former one is in force then.
    """
    data = msgspec.json.encode(checkpoint)
    try:
        _replace(spool / _FILE, data)
    except OSError as error:
        if error.errno not in _FULL or not _give_reserve(spool):
            raise
        _replace(spool / _FILE, data)
    _keep_reserve(spool)


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.replace(path)


def _give_reserve(spool: Path) -> bool:
    try:
        (spool / _RESERVE_FILE).unlink()
    except FileNotFoundError:
        return False
    return True


def _keep_reserve(spool: Path) -> None:
    path = spool / _RESERVE_FILE
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.part")
    try:
        with open(temporary, "wb", opener=private) as file:
            # Written rather than allocated: not every file system can allocate.
            file.write(bytes(_RESERVE_BYTES))
        temporary.replace(path)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        temporary.unlink(missing_ok=True)
