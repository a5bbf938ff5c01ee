"""The few errors of the project, named by what the caller can do about them.

Library exceptions are translated into one of these once, at the edge. What a
user sees of any of them is one line.
"""

from __future__ import annotations


class MirrorproxyError(Exception):
    """Base of every error that is shown to a user as one line."""


class ConfigError(MirrorproxyError):
    """A file, option or URL that the user can mend; the command ends with status 2.

    file: the path or option it stands in; line: 1-based; key: the dotted key,
    such as ``rules[0].match.path``. Each may be None where it is not known.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
    ) -> None:
        self.message = message
        self.file = file
        self.line = line
        self.key = key
        where = file or ""
        if line is not None:
            where += f":{line}" if file else f"line {line}"
        super().__init__(": ".join(part for part in (where, key, message) if part))


class SourceError(MirrorproxyError):
    """A capture that cannot be read at all (missing, forbidden, of a newer version)."""


class SinkRejected(MirrorproxyError):
    """The sink refuses these records for good: quarantine them, do not resend."""


class SinkUnavailable(MirrorproxyError):
    """The sink cannot take anything just now: try the same records again later."""


class CatalogUnavailable(MirrorproxyError):
    """The service catalog says or takes nothing just now: go on with what was known, try again."""


class PeerError(MirrorproxyError):
    """A peer broke the protocol.

    status: the HTTP status that tells the peer so when the peer is a client
    (400, 408, 413, 414, 431, 501, 505); 502 when the peer is an upstream.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
