"""The quarantine: lines that a sink refuses for good, kept for people to look at.

Owns ``quarantine/`` in the spool. Bounded: what does not fit is discarded and
counted. Nothing here is ever shipped again or deleted by itself. Bodies are
linked, not moved: whoever settles their record removes them from the spool.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mirrorproxy.spool.files import private

QUARANTINE = "quarantine"
DEFAULT_LIMIT_BYTES = 256 * 1024 * 1024


class Quarantine:
    """limit_bytes: what lines and their bodies may take together."""

    def __init__(self, spool: Path, limit_bytes: int) -> None:
        self._spool = spool
        self._folder = spool / QUARANTINE
        self._limit = limit_bytes

    def keep(self, name: str, lines: bytes, bodies: Sequence[str]) -> bool:
        """Keep lines as a file of that name, with the bodies they name; False if it is full.

        The same name again replaces the file, so that a crash in between keeps
        nothing twice. Raises OSError if it cannot be written.
        """
        path = self._folder / name
        found = [ref for ref in bodies if (self._spool / ref).exists()]
        size = len(lines) + sum((self._spool / ref).stat().st_size for ref in found)
        if not path.exists() and self._used() + size > self._limit:
            return False
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{name}.part")
        with open(temporary, "wb", opener=private) as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        for ref in found:
            target = self._folder / ref
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not target.exists():
                os.link(self._spool / ref, target)
        return True

    def _used(self) -> int:
        return sum(
            (Path(folder) / file).stat().st_size
            for folder, _, files in os.walk(self._folder)
            for file in files
        )
