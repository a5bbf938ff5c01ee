"""Repeats: which shots were sent more than once, by one worker or by several.

Owns the counting of outcome lines, in memory that does not grow with them: keys
go to temporary files by their hash, and each of these is counted by itself. A
shot is one exchange, one target, one copy.
"""

from __future__ import annotations

import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import IO, NamedTuple

import msgspec

SHARE_BYTES = 32 << 20
"""Outcome lines of this size are counted at once: some 100,000 shots in about 50 MiB."""

MAX_FILES = 256
"""Open at once; the usual limit is 1,024. 8 GiB of outcomes fill them as said above."""

SENT = ("answered", "failed")
_STATES = (*SENT, "shed", "unsent")


class Line(msgspec.Struct):
    """What counts of an outcome line; see `outcome.Outcome`."""

    id: str
    copy: int
    target: str
    latency_us: int | None = None
    status: int | None = None
    failure: str | None = None
    shed: str | None = None
    unsent: bool = False

    @property
    def state(self) -> str:
        """Return which of the ledger's places it has."""
        if self.shed is not None:
            return "shed"
        if self.unsent:
            return "unsent"
        return "answered" if self.failure is None else "failed"


class Repeated(NamedTuple):
    """One shot that was sent more than once. workers: name -> how often that one sent it."""

    id: str
    copy: int
    target: str
    workers: dict[str, int]


class Once(msgspec.Struct, frozen=True, kw_only=True):
    """How often shots were sent, each counted once, whoever planned it.

    shots: different ones. sent: of these, at least once; answered: with an
    answer at least once; not_sent: shed or unsent wherever they were planned.
    repeated: sent more than once, by_several of them by more than one worker.
    extra: how often something was sent beyond the first time.
    """

    shots: int = 0
    sent: int = 0
    answered: int = 0
    not_sent: int = 0
    repeated: int = 0
    by_several: int = 0
    extra: int = 0


class Repeats:
    """Takes the outcome lines of a fleet, one worker after the other. Use as a context.

    size: of all outcome files, in bytes; decides how many temporary files there are.
    """

    def __init__(self, size: int, *, share_bytes: int = SHARE_BYTES) -> None:
        self._count = min(MAX_FILES, size // share_bytes + 1)
        self._files: list[IO[bytes]] = []
        self._workers: list[str] = []
        self._stack = ExitStack()
        self._decode = msgspec.json.Decoder(Line).decode

    def __enter__(self) -> Repeats:
        for _ in range(self._count):
            self._files.append(self._stack.enter_context(tempfile.TemporaryFile()))
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def add_worker(self, name: str, lines: Iterator[bytes]) -> tuple[Counter[str], int]:
        """Take a worker's lines; return how many there are of each state, and how many are none.

        name: differs from that of any other. Raises OSError if the temporary files cannot be
        written.
        """
        number = len(self._workers)
        self._workers.append(name)
        states: Counter[str] = Counter()
        damaged = 0
        for text in lines:
            try:
                line = self._decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError):
                damaged += 1
                continue
            state = line.state
            states[state] += 1
            key = msgspec.json.encode((line.id, line.copy, line.target))
            file = self._files[zlib.crc32(key) % self._count]
            file.write(b"%d %d %b\n" % (number, _STATES.index(state), key))
        return states, damaged

    def count(self, repeated: Callable[[Repeated], None]) -> Once:
        """Count everything that was taken. repeated: is told of each shot sent more than once."""
        sums: Counter[str] = Counter()
        for file in self._files:
            file.seek(0)
            self._count_share(_entries(file), sums, repeated)
        return Once(**sums)

    def _count_share(
        self,
        entries: Iterator[tuple[bytes, int, int]],
        sums: Counter[str],
        repeated: Callable[[Repeated], None],
    ) -> None:
        # Of a shot that nobody sent: none. Else who sent it; most were sent once.
        senders: dict[bytes, tuple[int, ...]] = {}
        answered: set[bytes] = set()
        for key, number, state in entries:
            before = senders.setdefault(key, ())
            if _STATES[state] in SENT:
                senders[key] = (*before, number)
                if _STATES[state] == "answered":
                    answered.add(key)
        sums["answered"] += len(answered)
        for key, numbers in senders.items():
            sums["shots"] += 1
            sums["sent" if numbers else "not_sent"] += 1
            if len(numbers) < 2:
                continue
            sums["repeated"] += 1
            sums["extra"] += len(numbers) - 1
            by = Counter(self._workers[number] for number in numbers)
            sums["by_several"] += len(by) > 1
            exchange_id, copy, target = msgspec.json.decode(key)
            repeated(Repeated(exchange_id, copy, target, dict(by)))


def _entries(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    for text in file:
        number, state, key = text.split(b" ", 2)
        yield key.rstrip(b"\n"), int(number), int(state)
