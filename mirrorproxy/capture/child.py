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

MAX_SETTINGS_BYTES = 4 << 20

_STDERR = 2
_LENGTH = struct.Struct("!I")


class Child:
    """A running child. Made by `start`; `wait` must be awaited to the end."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._process = process
        self._control = control
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
        try:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(ours, _LENGTH.pack(len(settings)) + settings)
        except OSError:
            # It died before it had read them; `wait` says how.
            pass
        return child

    def tell(self, word: bytes) -> None:
        """Send one word of one byte; a child that is gone hears nothing."""
        try:
            self._control.send(word)
        except OSError:
            # Full or closed: it is dying, which `wait` notices.
            pass

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
                self._control.close()


def receive_settings(control: socket.socket) -> bytes:
    """Return the settings that a supervisor sent; for the child's side, blocking.

    Raises EOFError if the supervisor died first, ValueError if the length is absurd.
    """
    (length,) = _LENGTH.unpack(_exactly(control, _LENGTH.size))
    if length > MAX_SETTINGS_BYTES:
        raise ValueError(f"settings of {length} bytes")
    return _exactly(control, length)


def _exactly(control: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        chunk = control.recv(count - len(data))
        if not chunk:
            raise EOFError("the supervisor is gone")
        data += chunk
    return bytes(data)
