"""Time-outs and back-pressure over raw sockets: nobody waits for ever, and nothing piles up."""

from __future__ import annotations

import threading

import pytest
from support.messages import Message
from support.mirror import Mirror
from support.origin import RawOrigin, answer_for
from support.peer import Peer, Silent
from support.stage import Stage, ask, request

from mirrorproxy.http1.limits import ClientLimits, ServerLimits

# -- time-outs ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: a", 408, id="in the head"),
        pytest.param(
            b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello",
            408,
            id="in the body",
        ),
        pytest.param(b"", None, id="before the head"),
    ],
)
def test_silent_client(sent: bytes, status: int | None) -> None:
    """A client that stops in a request gets 408; one that never began is just closed."""
    limits = ServerLimits(head_timeout_s=0.2, body_timeout_s=0.2, idle_timeout_s=0.2)
    with RawOrigin() as origin, Mirror(origin.authority, server=limits) as mirror:
        with Peer.connect(mirror.address) as client:
            client.send(sent)
            if status is not None:
                assert client.read_final()[0].status == status
            assert client.read_to_end() == b""
        assert origin.seen == []
        assert mirror.errors == []


def test_idle_client_is_closed() -> None:
    """A kept connection without a further request is closed without a word."""
    limits = ServerLimits(idle_timeout_s=0.2)
    with RawOrigin() as origin, Mirror(origin.authority, server=limits) as mirror:
        with Peer.connect(mirror.address) as client:
            assert ask(client, b"/a").status == 200
            assert client.read_to_end() == b""


def test_slow_head_is_not_prolonged() -> None:
    """One byte now and then does not stretch the time for a head (slowloris)."""
    limits = ServerLimits(head_timeout_s=0.5)
    with RawOrigin() as origin, Mirror(origin.authority, server=limits) as mirror:
        with Peer.connect(mirror.address, timeout_s=0.1) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
            for _ in range(50):
                client.send(b"y")
                try:
                    assert client.read_final()[0].status == 408
                    break
                except Silent:
                    continue
            else:
                pytest.fail("fifty bytes in five seconds were waited for")


def test_silent_upstream() -> None:
    """An upstream that does not answer within its limit is a 504; its connection is dropped."""
    limits = ClientLimits(response_timeout_s=0.2)
    dropped = threading.Event()

    def script(peer: Peer, head: Message) -> bool:
        if peer.is_closed(5):
            dropped.set()
        return False

    with RawOrigin() as origin, Mirror(origin.authority, client=limits) as mirror:
        stage = Stage(origin, mirror)
        with stage.client() as client:
            assert ask(client, stage.target(script)).status == 504
        assert dropped.wait(5)
        stage.assert_clean()
        stage.assert_sound()


# -- back-pressure -----------------------------------------------------------------------

_FLOOD_BYTES = 64 * 1024 * 1024
_HELD_AT_MOST_BYTES = 24 * 1024 * 1024  # kernel buffers of two connections, and ours


def _send_until_blocked(peer: Peer, total: int) -> int:
    """Return how much went out before the other side stopped taking."""
    piece = b"x" * 65536
    sent = 0
    peer.sock.settimeout(0.3)
    try:
        while sent < total:
            sent += peer.sock.send(piece)
    except TimeoutError:
        pass
    peer.sock.settimeout(30)
    return sent


def test_slow_reader_holds_the_origin_back(stage: Stage) -> None:
    """While the client does not read, the origin cannot send on; then all arrives."""
    held: list[int] = []
    blocked = threading.Event()

    def script(peer: Peer, head: Message) -> bool:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % _FLOOD_BYTES)
        held.append(_send_until_blocked(peer, _FLOOD_BYTES))
        blocked.set()
        peer.send(b"x" * (_FLOOD_BYTES - held[0]))
        return True

    with stage.client() as client:
        client.send(request(stage.target(script)))
        assert blocked.wait(10)
        assert held[0] < _HELD_AT_MOST_BYTES
        assert len(client.read_final()[0].body) == _FLOOD_BYTES


def test_slow_origin_holds_the_client_back(stage: Stage) -> None:
    """While the origin does not read, the client cannot send on; then all arrives."""
    read_on = threading.Event()

    def script(peer: Peer, head: Message) -> bool:
        assert read_on.wait(10)
        peer.send(answer_for(peer.read_body(head)))
        return True

    with stage.client() as client:
        fields = b"Content-Length: %d" % _FLOOD_BYTES
        client.send(request(stage.target(script), fields, method=b"POST"))
        sent = _send_until_blocked(client, _FLOOD_BYTES)
        assert sent < _HELD_AT_MOST_BYTES
        read_on.set()
        client.send(b"x" * (_FLOOD_BYTES - sent))
        assert client.read_final()[0].status == 200
    assert len(stage.origin.seen[-1].body) == _FLOOD_BYTES
