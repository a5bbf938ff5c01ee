"""What a supervisor says to its children over the control socket."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from mirrorproxy.capture.child import DRAIN, LIVE, Child, Words

LONG = b"x" * 3_000_000


def framed(payload: bytes) -> bytes:
    return LIVE + len(payload).to_bytes(4, "big") + payload


def test_words_are_found_however_they_are_cut() -> None:
    """A socket keeps the order of bytes, not their packets."""
    said = framed(b"one") + DRAIN + framed(b"") + framed(b"DDDD")
    words = Words()
    heard = [word for byte in said for word in words.feed(bytes([byte]))]
    assert heard == [(LIVE, b"one"), (DRAIN, b""), (LIVE, b""), (LIVE, b"DDDD")]
    assert Words().feed(said) == heard


def test_an_absurd_length_is_an_error() -> None:
    """Not a promise of memory."""
    with pytest.raises(ValueError, match="a word of 4294967295 bytes"):
        Words().feed(LIVE + b"\xff\xff\xff\xff")


LISTENER = """
import socket, sys
from mirrorproxy.capture.child import Words, receive_settings
control = socket.socket(fileno=int(sys.argv[sys.argv.index("--control") + 1]))
words, heard = Words(), []
wait = open(sys.argv[1]).read()
settings = receive_settings(control)
while not heard or heard[-1][0] != b"D":
    heard += words.feed(control.recv(65536))
print([len(settings), *((word, len(payload), payload[:1]) for word, payload in heard)],
      file=open(sys.argv[2], "w"))
"""


async def test_a_child_that_does_not_listen_keeps_nobody_waiting(tmp_path: Path) -> None:
    """The newest of each word reaches it once it listens; what it superseded is never sent."""
    gate, heard = tmp_path / "gate", tmp_path / "heard"
    os.mkfifo(gate)
    child = await Child.start(
        [sys.executable, "-c", LISTENER, str(gate), str(heard)], b"s" * 1_000_000
    )
    try:
        for first in (b"a", b"b", b"c"):
            child.tell(LIVE, first + LONG)
        child.tell(DRAIN)
        with gate.open("w"):
            pass
        assert await asyncio.wait_for(child.wait(), 20) == 0
    finally:
        child.kill()
    assert heard.read_text() == f"[1000000, (b'L', {len(LONG) + 1}, b'c'), (b'D', 0, b'')]\n"


async def test_a_child_that_is_gone_hears_nothing(tmp_path: Path) -> None:
    """Nothing is raised, whatever is said to it."""
    child = await Child.start([sys.executable, "-c", "pass"], b"")
    await child.wait()
    child.tell(LIVE, LONG)
    child.tell(DRAIN)


def test_a_socket_pair_holds_less_than_is_said_above() -> None:
    """Otherwise the tests above would show nothing."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        assert ours.send(LONG) < 1_000_000
