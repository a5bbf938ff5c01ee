"""The ACL token of a catalog, from a file that may change while a mirror runs.

Owns the token. It is never logged, shown or put into an error's text.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from mirrorproxy.errors import ConfigError

_TOKEN = re.compile(r"[!-~]{1,512}")


class TokenFile:
    """An ACL token that is read again when its file changes.

    path: None for no file; then the environment's CONSUL_HTTP_TOKEN counts, if it is set.
    Raises ConfigError when the file cannot be used at the start. Later
    such a file is a reason to go on with the token that was.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token: str | None = None
        if path is not None:
            try:
                self._read(path)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                raise ConfigError(reason or "unreadable", file=str(path)) from None

    def value(self) -> str | None:
        """Return the token as it is now. One stat; a read when the file changed."""
        if self._path is not None:
            with contextlib.suppress(OSError, ValueError):
                self._read(self._path)
        return self._token

    def _read(self, path: Path) -> None:
        at = path.stat()
        seen = (at.st_mtime_ns, at.st_size, at.st_ino)
        if seen == self._seen:
            return
        token = path.read_text(encoding="ascii", errors="replace").strip()
        if not _TOKEN.fullmatch(token):
            raise ValueError("holds no token: one word is expected")
        self._token, self._seen = token, seen
