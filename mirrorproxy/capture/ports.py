"""What the recorder needs of its neighbours: a sealer and a writer of segments.

Only shapes, so that each side is built and tested without the other. The real
ones are `seal` and `spool.segment`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mirrorproxy.record import Credential, HeaderList


class SealedHead(Protocol):
    """A request's head without its secrets; the fields are those of `record.Request`."""

    @property
    def target(self) -> str:
        """The target, sealed."""

    @property
    def headers(self) -> HeaderList:
        """The headers, sealed."""

    @property
    def credentials(self) -> Sequence[Credential]:
        """What was sealed."""


class SealedBody(Protocol):
    """A body without its secrets. data is None where omitted says why."""

    @property
    def data(self) -> bytes | None:
        """The body, sealed."""

    @property
    def omitted(self) -> str | None:
        """Why it cannot be recorded."""

    @property
    def credentials(self) -> Sequence[Credential]:
        """What was sealed."""


class BodyStream(Protocol):
    """Seals a body piece by piece."""

    @property
    def omitted(self) -> str | None:
        """Why the body cannot be recorded, as soon as that is known."""

    @property
    def credentials(self) -> Sequence[Credential]:
        """What was sealed so far."""

    def feed(self, data: bytes) -> bytes:
        """Take more of the body; return what is sealed so far."""

    def finish(self) -> bytes:
        """Return the rest."""


class Sealer(Protocol):
    """Takes secrets out of whatever is recorded."""

    def target(self, target: str) -> tuple[str, Sequence[Credential]]:
        """Seal a request's target."""

    def line(self, line: tuple[str, str]) -> tuple[tuple[str, str] | None, tuple[Credential, ...]]:
        """Seal one header line; None where it is dropped."""

    def request(self, target: str, headers: HeaderList) -> SealedHead:
        """Seal a request's head, or its trailers."""

    def response(self, headers: HeaderList) -> HeaderList:
        """Seal an answer's headers, or its trailers."""

    def body(
        self, data: bytes, content_type: str | None, content_encoding: str | None
    ) -> SealedBody:
        """Seal a body that is in memory."""

    def stream(self, content_type: str | None, content_encoding: str | None) -> BodyStream:
        """Seal a body that is not."""


class BodyFile(Protocol):
    """A body object that is being written to the spool."""

    def write(self, data: bytes) -> None:
        """Append; raises SpoolFull or OSError."""

    def commit(self) -> None:
        """Make it appear under its name; raises OSError."""

    def discard(self) -> None:
        """Remove it; does nothing once it is committed or discarded."""


class Writer(Protocol):
    """Appends lines to the worker's segment.

    created_us, seq: the two numbers in the name of the segment that holds the
    last line. size: its length in bytes.
    """

    created_us: int
    seq: int
    size: int

    def append(self, line: bytes) -> None:
        """Write one line, its newline included.

        Raises SpoolFull or OSError; nothing of the line is left then.
        """

    def open_body(self, ref: str) -> BodyFile:
        """Begin a body object; raises OSError."""

    def close(self) -> None:
        """Let go of the segment; raises OSError."""
