"""Any bytes from a client, any bytes from an upstream, through the whole data plane."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "properties"))

from joined import World
from oracle import KNOWN, request_opinion
from strict_reader import Unsound, read_request, read_response
from wires import Wire

SEPARATOR = b"\xff\xfe\xff"
"""Between what the client sends and what the upstream answers, in an input."""

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class _Upstream:
    """Answers each sound request with the next of the fuzzed answers."""

    def __init__(self, world: World, wire: Wire) -> None:
        self.wire = wire
        self._world = world
        self._at = 0
        self.tunnel = False

    def flow(self, answer: bytes, size: int) -> bool:
        """Take what was sent, answer what is whole; return whether anything moved."""
        before = len(self.wire.arrived)
        self.wire.take(1 << 20)
        data = bytes(self.wire.arrived)
        moved = len(data) > before
        while not self.tunnel and self._at < len(data):
            seen = read_request(data, self._at)
            if seen is None:
                break
            check_second_opinion(data[self._at : seen.end])
            self._at = seen.end
            self.tunnel = bool(seen.values(b"upgrade"))
            moved = True
            for start in range(0, len(answer), size):
                if self.wire.is_readable:
                    self.wire.deliver(answer[start : start + size])
        return moved


def wire(data: bytes) -> None:
    """Whatever comes from either side, what goes out is sound, and everything ends."""
    if not data:
        return
    size = data[0] % 61 + 1 if data[0] < 128 else 1 << 20
    asked, found, answer = data[1:].partition(SEPARATOR)
    world = World([[]])
    try:
        _play(world, asked, answer if found else _ANSWER, size)
    finally:
        world.close()


def _play(world: World, asked: bytes, answer: bytes, size: int) -> None:
    client = world.clients[0].wire
    upstreams: list[_Upstream] = []

    def settle() -> None:
        moved = True
        while moved:
            moved = world.loop.turn()
            while world.loop.attempts:
                one = world.loop.attempts[0].establish()
                upstreams.append(_Upstream(world, one))
                moved = True
            moved = sum(one.flow(answer, size) for one in upstreams) > 0 or moved
            client.take(1 << 20)

    for start in range(0, len(asked), size):
        if client.is_readable:
            client.deliver(asked[start : start + size])
        settle()
    is_whole = client.ended is None
    while still_open := [one.wire for one in upstreams if one.wire.is_readable]:
        for one_wire in still_open:
            one_wire.deliver_eof()
        settle()
    if not any(one.tunnel for one in upstreams):
        _check_answers(world, client)
    if client.is_readable:
        client.deliver_eof()
    settle()
    for seconds in (3.0, 70.0, 130.0):
        world.loop.wait(seconds)
        settle()
    assert world.proxy.active == 0
    assert world.proxy.open_connections == 0
    assert world.pool.open_connections == 0
    assert all(tap.end for tap in world.taps), "a tap without an end"
    assert is_whole or client.is_gone


def _check_answers(world: World, client: Wire) -> None:
    """Demand sound answers, one for each request at most, and one error at the end."""
    data, at, answered = bytes(client.arrived), 0, 0
    methods = [tap.head.method for tap in world.taps]
    while at < len(data):
        to_head = answered < len(methods) and methods[answered] == b"HEAD"
        seen = read_response(data, at, to_head=to_head)
        if seen is None:
            break
        at = seen.end
        if seen.start[9:10] != b"1":
            answered += 1
        if seen.values(b"connection") == [b"close"] and b"mirrorproxy: " in data[at : at + 20]:
            break  # the body of a refusal: nobody knew that it was a HEAD
    assert answered <= len(methods) + 1
    if at < len(data) and client.ended is None and not client.eof_written:
        raise Unsound("half an answer on a connection that stays")


def check_second_opinion(message: bytes) -> None:
    """Demand that llhttp reads a forwarded request as one, too."""
    opinion = request_opinion(message)
    if opinion.error is None:
        assert opinion.completed == 1
    else:
        assert opinion.error.startswith(tuple(KNOWN)), opinion.error
