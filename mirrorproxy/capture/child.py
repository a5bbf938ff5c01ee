"""One child process: started with its settings over a control socket, told when to end.

Owns the process and its socket pair. Settings never stand in arguments or the
environment. A child that reads the end of its control socket knows that its
supervisor has died.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence

DRAIN = b"D"
"""Finish what was begun, then exit."""

LIVE = b"L"
"""What a length and so many bytes behind it say is so from now on; see `live`."""

MAX_SETTINGS_BYTES = 64 << 20
"""Of settings, and of what follows a word: some hundred thousand instances."""

_WITH_PAYLOAD = frozenset({LIVE})

_STDERR = 2
_LENGTH = struct.Struct("!I")


class Child:
    """A running child. Made by `start`; `wait` must be awaited to the end."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._loop = asyncio.get_running_loop()
        self._unsent: dict[bytes, bytes] = {}  # by word, in order
        self._half_sent = b""
        self._is_waiting = False
        self.pid = process.pid

    @classmethod
    async def start(
        cls, argv: Sequence[str], settings: bytes, descriptors: Sequence[int] = ()
    ) -> Child:
        """Start a process and hand it its settings.

        argv: the command; ``--control FD`` is added. descriptors: more of ours
        that it inherits, under the same numbers. What it prints goes to our
        standard error: standard output belongs to the ledger.
        Raises OSError if it cannot be started.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *argv,
                    "--control",
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=_STDERR,
                    pass_fds=(theirs.fileno(), *descriptors),
                    # Ctrl-C reaches the whole foreground group; only the supervisor answers it.
                    process_group=0,
                )
        except BaseException:
            ours.close()
            raise
        child = cls(process, ours)
        # What it does not read at once is sent while it runs: a child that hangs keeps nobody.
        child._half_sent = _LENGTH.pack(len(settings)) + settings
        child._send()
        return child

    def tell(self, word: bytes, payload: bytes | None = None) -> None:
        """Send one word of one byte, with what belongs to it; a child that is gone hears nothing.

        Never waits: what cannot be sent now goes when there is room, and what
        was said under the same word and is still unsent is not said at all.
        payload: for words that have one, `MAX_SETTINGS_BYTES` at most.
        """
        framed = word if payload is None else word + _LENGTH.pack(len(payload)) + payload
        self._unsent.pop(word, None)  # the newest comes last
        self._unsent[word] = framed
        if not self._is_waiting:
            self._send()

    def _send(self) -> None:
        try:
            while self._half_sent or self._unsent:
                if not self._half_sent:
                    self._half_sent = self._unsent.pop(next(iter(self._unsent)))
                sent = self._control.send(self._half_sent)
                self._half_sent = self._half_sent[sent:]
        except BlockingIOError:
            if not self._is_waiting:
                self._is_waiting = True
                self._loop.add_writer(self._control.fileno(), self._send)
            return
        except OSError:
            # Closed: it is dying, which `wait` notices.
            self._unsent.clear()
            self._half_sent = b""
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._loop.remove_writer(self._control.fileno())

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        try:
            self._process.kill()
        except ProcessLookupError:
            pass

    async def wait(self) -> int:
        """Wait for its end and return the exit status, negative for a signal."""
        try:
            return await self._process.wait()
        finally:
            if self._process.returncode is not None:
                self._stop_waiting()
                self._control.close()


def receive_settings(control: socket.socket) -> bytes:
    """Return the settings that a supervisor sent; for the child's side, blocking.

    Raises EOFError if the supervisor died first, ValueError if the length is absurd.
    """
    (length,) = _LENGTH.unpack(_exactly(control, _LENGTH.size))
    if length > MAX_SETTINGS_BYTES:
        raise ValueError(f"settings of {length} bytes")
    return _exactly(control, length)


class Words:
    """Splits what a supervisor says after the settings into words; for the child's side."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return each whole word with what belongs to it, b"" for nothing.

        Raises ValueError if a length is absurd.
        """
        self._buffer += data
        found: list[tuple[bytes, bytes]] = []
        while self._buffer:
            word = bytes(self._buffer[:1])
            start = end = 1
            if word in _WITH_PAYLOAD:
                start += _LENGTH.size
                if len(self._buffer) < start:
                    break
                (length,) = _LENGTH.unpack_from(self._buffer, 1)
                if length > MAX_SETTINGS_BYTES:
                    raise ValueError(f"a word of {length} bytes")
                end = start + length
                if len(self._buffer) < end:
                    break
            found.append((word, bytes(self._buffer[start:end])))
            del self._buffer[:end]
        return found


def _exactly(control: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        chunk = control.recv(count - len(data))
        if not chunk:
            raise EOFError("the supervisor is gone")
        data += chunk
    return bytes(data)
