"""A loop and transports that do nothing until told: any interleaving can be played.

The transports behave as asyncio's and uvloop's do: what is written waits until the
peer takes it, the protocol is told when too much waits, and a connection's loss
is told in a later turn of the loop. What those would forgive is an error here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

HIGH_BYTES = 3000
"""A protocol whose writes wait for the peer is paused beyond this."""


class Wire(asyncio.Transport):
    """One connection, seen from the proxy; the test is the peer.

    written: all that the protocol ever wrote. arrived: what the peer has of it.
    ended: None, "closed", "aborted" or "reset". is_gone: connection_lost was called.
    """

    def __init__(self, loop: TurnLoop, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.written = bytearray()
        self.arrived = bytearray()
        self.ended: str | None = None
        self.is_gone = False
        self.is_reading = True
        self.eof_written = False
        self.eof_delivered = False
        self.on_write: Callable[[], None] = lambda: None
        self._loop = loop
        self._protocol = protocol
        self._is_blocked = False
        self._is_leaving = False

    # -- what the protocol calls ----------------------------------------------

    def write(self, data: bytes) -> None:  # type: ignore[override]
        assert isinstance(data, bytes)
        assert self.ended is None, "written after the end"
        assert not self.eof_written, "written after the end of writing"
        self.written += data
        self.on_write()
        if self.waiting > HIGH_BYTES and not self._is_blocked:
            self._is_blocked = True
            self._protocol.pause_writing()

    def is_closing(self) -> bool:
        return self.ended is not None

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof_written = True

    def pause_reading(self) -> None:
        assert not self.is_gone
        self.is_reading = False

    def resume_reading(self) -> None:
        assert not self.is_gone
        self.is_reading = True

    def close(self) -> None:
        if self.ended is None:
            self.ended = "closed"
            if not self.waiting:
                self._leave(None)

    def abort(self) -> None:
        if not self._is_leaving:
            self.ended = "aborted"
            self._leave(None)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("203.0.113.7", 4711) if name == "peername" else default

    # -- what the peer does ---------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many bytes wait for the peer."""
        return len(self.written) - len(self.arrived)

    @property
    def is_readable(self) -> bool:
        """Whether the loop would read what the peer sends."""
        return self.is_reading and self.ended is None and not self.eof_delivered

    @property
    def shows_end(self) -> bool:
        """Whether the peer sees that nothing more comes, be it whole or cut."""
        return not self.waiting and (self.eof_written or self.ended is not None)

    def deliver(self, data: bytes) -> None:
        """Hand over what the peer sent."""
        assert self.is_readable
        self._protocol.data_received(data)

    def deliver_eof(self) -> None:
        """The peer sends no more."""
        assert self.is_readable
        self.eof_delivered = True
        if not self._protocol.eof_received():
            self.close()

    def reset(self) -> None:
        """The connection breaks, and what waited with it."""
        if not self._is_leaving:
            self.ended = "reset"
            self._leave(ConnectionResetError(104, "reset"))

    def take(self, size: int) -> None:
        """The peer reads so many bytes."""
        if self.ended in ("aborted", "reset"):
            return
        self.arrived += self.written[len(self.arrived) : len(self.arrived) + size]
        if self._is_blocked and self.waiting <= HIGH_BYTES // 4:
            self._is_blocked = False
            self._protocol.resume_writing()
        if self.ended == "closed" and not self.waiting:
            self._leave(None)

    def _leave(self, error: Exception | None) -> None:
        if self._is_leaving:
            return
        self._is_leaving = True
        del self.written[len(self.arrived) :]
        self._loop.call_soon(self._lost, error)

    def _lost(self, error: Exception | None) -> None:
        self.is_gone = True
        self._protocol.connection_lost(error)


class _Timer:
    def __init__(self, at_s: float, callback: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.at_s = at_s
        self.callback = callback
        self.args = args

    def cancel(self) -> None:
        self.at_s = float("inf")


class Connecting:
    """An attempt to connect: the task that waits for it, and what the test may do to it."""

    def __init__(self, loop: TurnLoop, coroutine: Coroutine[Any, Any, None]) -> None:
        self._loop = loop
        self._coroutine = coroutine
        self._is_over = False
        self._is_cancelled = False
        self._done: list[Callable[[Any], object]] = []
        self.wire: Wire | None = None
        self.factory: Callable[[], asyncio.Protocol] = coroutine.send(None)
        loop.attempts.append(self)

    def establish(self) -> Wire:
        """The connection is there; whoever waits for it learns so in the next turn.

        What the peer does at once may come before (uvloop polls in between).
        """
        protocol = self.factory()
        self.wire = Wire(self._loop, protocol)
        protocol.connection_made(self.wire)
        self._loop.attempts.remove(self)
        self._loop.call_soon(self._resume, protocol)
        return self.wire

    def refuse(self) -> None:
        """There will be no connection."""
        self._loop.attempts.remove(self)
        self._loop.call_soon(self._resume, ConnectionRefusedError(111, "refused"))

    def cancel(self) -> bool:
        """See asyncio.Task."""
        if self._is_over or self._is_cancelled:
            return False
        self._is_cancelled = True
        if self in self._loop.attempts:
            self._loop.attempts.remove(self)
        if self.wire is not None:
            self.wire.close()
        self._loop.call_soon(self._resume, None)
        return True

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """See asyncio.Task."""
        self._done.append(callback)

    def _resume(self, outcome: asyncio.Protocol | BaseException | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._is_cancelled:  # whatever else it was about to learn
            outcome = asyncio.CancelledError()
        try:
            if isinstance(outcome, BaseException):
                self._coroutine.throw(outcome)
            else:
                self._coroutine.send((self.wire, outcome))
        except (StopIteration, asyncio.CancelledError):
            pass
        for callback in self._done:
            callback(self)


class _Awaited:
    """What a coroutine waits for: yields the factory, is sent the connection."""

    def __init__(self, factory: Callable[[], asyncio.Protocol]) -> None:
        self._factory = factory

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self._factory)


class TurnLoop:
    """A loop that turns only when told. attempts: connections that are being opened."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.attempts: list[Connecting] = []
        self._ready: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._timers: list[_Timer] = []

    def time(self) -> float:
        """See asyncio."""
        return self.now_s

    def call_soon(self, callback: Callable[..., None], *args: Any) -> None:
        """See asyncio."""
        self._ready.append((callback, args))

    def call_later(self, delay_s: float, callback: Callable[..., None], *args: Any) -> _Timer:
        """See asyncio."""
        timer = _Timer(self.now_s + delay_s, callback, args)
        self._timers.append(timer)
        return timer

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> Connecting:
        """Run a coroutine that opens a connection."""
        return Connecting(self, coroutine)

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], *_: Any, **__: Any
    ) -> Any:
        """See asyncio."""
        return await _Awaited(factory)

    def turn(self) -> bool:
        """Run what is due; return whether anything was."""
        for _ in range(due := len(self._ready)):
            callback, args = self._ready.popleft()
            callback(*args)
        return due > 0

    def wait(self, seconds: float) -> None:
        """Let time pass, then run the timers that are due."""
        self.now_s += seconds
        due = [timer for timer in self._timers if timer.at_s <= self.now_s]
        self._timers = [timer for timer in self._timers if timer.at_s > self.now_s]
        for timer in due:
            timer.callback(*timer.args)
