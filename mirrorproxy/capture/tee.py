"""The tee: keeps a copy of a body within bounds while it flows by.

Owns where a request body is kept: in memory while it is small, sealed in a file
of the spool when it is not, and only its beginning when it passes the capture
limit. A small answer's body is kept in memory or not at all. Never holds the
flow back, and never writes what is not sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mirrorproxy.capture.ports import BodyFile, BodyStream
from mirrorproxy.record import Credential


@dataclass(frozen=True, slots=True)
class TeeLimits:
    """Bounds in bytes.

    memory: a request body up to this size stays in memory; in base64 it still
    fits into a line. body: the capture limit; a longer body is cut. beginning:
    what is kept of a cut body. response: the longest body of an answer that is
    recorded. buffered: all bodies in memory together; beyond it request bodies
    go to the spool at once and those of answers are left out.
    """

    memory: int = 640 * 1024
    body: int = 64 << 20
    beginning: int = 64 * 1024
    response: int = 64 * 1024
    buffered: int = 64 << 20


class Budget:
    """The bytes that all bodies of one recorder hold in memory together."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class Spill:
    """A body too large for memory, sealed on its way to the spool.

    omitted: why it cannot be recorded after all; its file is gone then.
    """

    __slots__ = ("_file", "_stream", "omitted")

    def __init__(self, stream: BodyStream, file: BodyFile) -> None:
        self._stream = stream
        self._file = file
        self.omitted: str | None = None

    @property
    def credentials(self) -> Sequence[Credential]:
        """What was sealed in it."""
        return self._stream.credentials

    def feed(self, data: bytes) -> None:
        """Take more of the body. Raises SpoolFull or OSError."""
        self._write(self._stream.feed(data))

    def finish(self) -> None:
        """Take the end of the body. Raises SpoolFull or OSError."""
        self._write(self._stream.finish())

    def commit(self) -> None:
        """Make the body object appear. Raises OSError."""
        self._file.commit()

    def discard(self) -> None:
        """Remove what was written."""
        self._file.discard()

    def _write(self, sealed: bytes) -> None:
        if self._stream.omitted is not None:
            self.omitted = self._stream.omitted
            self._file.discard()
        elif sealed:
            self._file.write(sealed)


class RequestBody:
    """The copy of one request body.

    length: bytes seen. spill: set once the body left memory and its object is
    still worth keeping. is_cut: it passed the capture limit. omitted: why it
    cannot be recorded.
    """

    __slots__ = (
        "_budget", "_chunks", "_declared", "_in_memory", "_kept", "_limits", "_open_spill",
        "is_cut", "length", "omitted", "spill",
    )  # fmt: skip

    def __init__(
        self,
        limits: TeeLimits,
        budget: Budget,
        declared: int,
        open_spill: Callable[[], Spill],
    ) -> None:
        """declared: the Content-Length in bytes, 0 or less where there is none."""
        self._limits = limits
        self._budget = budget
        self._declared = declared
        self._open_spill = open_spill
        self._chunks: list[bytes] = []
        self._kept = 0
        self._in_memory = True
        self.length = 0
        self.spill: Spill | None = None
        self.is_cut = False
        self.omitted: str | None = None

    def add(self, data: bytes) -> None:
        """Take more of the body. Raises SpoolFull or OSError once it left memory."""
        size = len(data)
        self.length += size
        if self._in_memory:
            self._chunks.append(data)
            self._kept += size
            self._budget.used += size
            if self._kept > self._limits.memory or self._budget.used > self._budget.limit:
                self._leave_memory()
        elif self.spill is not None:
            if self.length > self._limits.body:
                self._cut()
            else:
                self._feed(data)

    def finish(self) -> None:
        """Take the end of the body, complete or not. Raises SpoolFull or OSError."""
        if self.spill is not None:
            self.spill.finish()
            self._drop_omitted()

    def kept(self) -> bytes:
        """Return what is in memory: all of a small body, the beginning of another."""
        chunks = self._chunks
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def release(self) -> None:
        """Give the memory back, and remove what was not committed."""
        self._budget.used -= self._kept
        self._kept = 0
        self._chunks = []
        self._in_memory = False
        if self.spill is not None:
            self.spill.discard()
            self.spill = None

    def _leave_memory(self) -> None:
        data = b"".join(self._chunks)
        self._in_memory = False
        # Kept in case that it is cut later: a cut body is recorded by its beginning.
        self._chunks = [data[: self._limits.beginning]]
        self._budget.used -= self._kept - len(self._chunks[0])
        self._kept = len(self._chunks[0])
        if max(self._declared, self.length) > self._limits.body:
            self.is_cut = True
            return
        self.spill = self._open_spill()
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        if self.spill is not None:
            self.spill.feed(data)
            self._drop_omitted()

    def _drop_omitted(self) -> None:
        if self.spill is not None and self.spill.omitted is not None:
            self.omitted = self.spill.omitted
            self.spill = None

    def _cut(self) -> None:
        if self.spill is not None:
            self.spill.discard()
            self.spill = None
        self.is_cut = True


class ResponseBody:
    """The copy of one answer's body, as long as it is small enough."""

    __slots__ = ("_budget", "_chunks", "_kept", "_limit", "_whole")

    def __init__(self, limits: TeeLimits, budget: Budget) -> None:
        self._limit = limits.response
        self._budget = budget
        self._chunks: list[bytes] = []
        self._kept = 0
        self._whole = True

    def add(self, data: bytes) -> None:
        """Take more of the body; one that grows too long is let go of."""
        size = len(data)
        budget = self._budget
        if not self._whole:
            return
        if self._kept + size > self._limit or budget.used + size > budget.limit:
            self.release()
            return
        self._chunks.append(data)
        self._kept += size
        budget.used += size

    def kept(self) -> bytes | None:
        """Return the whole body, None if it was too long."""
        return b"".join(self._chunks) if self._whole else None

    def release(self) -> None:
        """Give the memory back."""
        self._budget.used -= self._kept
        self._kept = 0
        self._chunks = []
        self._whole = False
