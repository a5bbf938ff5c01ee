"""Corners where two things happen at once: retries in mid-body, half-closed tunnels, crowds."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.messages import Message
from support.mirror import Mirror
from support.origin import answer_for
from support.peer import Peer
from support.stage import Stage, ask, request

_SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
_UPGRADE = (b"Connection: Upgrade", b"Upgrade: echo")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_kept_connection_that_dies_in_the_midst_of_a_body(stage: Stage, framing: str) -> None:
    """What was sent of a PUT goes out again on a fresh connection, and the rest follows once."""
    kept, fresh = threading.Event(), threading.Event()
    calls: list[int] = []

    def script(peer: Peer, head: Message) -> bool:
        calls.append(1)
        if len(calls) == 2:
            kept.set()
            return False
        if len(calls) == 3:
            fresh.set()
        peer.send(answer_for(peer.read_body(head)))
        return True

    target = stage.target(script)
    chunked = framing == "chunked"
    field = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 10"
    first, rest = (
        (b"5\r\nhello\r\n", b"5\r\nworld\r\n0\r\n\r\n") if chunked else (b"hello", b"world")
    )
    with stage.client() as client:
        assert ask(client, target).status == 200
        client.send(request(target, field, method=b"PUT") + first)
        assert kept.wait(5)
        assert fresh.wait(5)
        client.send(rest)
        assert client.read_final()[0].status == 200
    assert stage.origin.seen[-1].body == b"helloworld"
    assert bytes(stage.tap(target).body) == b"helloworld"
    stage.assert_sound()


def test_client_half_closes_a_tunnel(stage: Stage) -> None:
    """A client that has said all it has to say still hears the other side's last words."""

    def script(peer: Peer, head: Message) -> bool:
        peer.send(_SWITCH)
        peer.send(b"heard " + peer.read_to_end())
        return False

    with stage.client() as client:
        client.send(request(stage.target(script), *_UPGRADE))
        assert client.read_response().status == 101
        client.send(b"all")
        client.finish()
        assert client.read_to_end() == b"heard all"
    stage.assert_sound()


def test_upgrade_with_a_body(stage: Stage) -> None:
    """The body of a request that asks for an upgrade is a body; the tunnel begins behind it."""

    def script(peer: Peer, head: Message) -> bool:
        assert peer.read_body(head).body == b"hello"
        peer.send(_SWITCH)
        peer.send(peer.read(4).upper())
        return False

    target = stage.target(script)
    with stage.client() as client:
        client.send(request(target, *_UPGRADE, method=b"POST", body=b"hello"))
        assert client.read_response().status == 101
        client.send(b"more")
        assert client.read_to_end() == b"MORE"
    assert bytes(stage.tap(target).body) == b"hello"


def test_refused_upgrade_in_http_1_0(stage: Stage) -> None:
    """HTTP/1.0 knows no upgrade: the offer does not go on (RFC 9110, 7.8)."""
    target = stage.target()
    with stage.client() as client:
        client.send(
            b"GET %s HTTP/1.0\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
            % target
        )
        assert client.read_final()[0].status == 200
    assert stage.origin.seen[-1].fields == [(b"Host", b"a.test")]


def test_failed_head_request_has_no_body() -> None:
    """A 502 to a HEAD is a head alone, so that the connection can go on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Mirror(f"127.0.0.1:{port}") as mirror, Peer.connect(mirror.address) as client:
        for method in (b"HEAD", b"GET", b"HEAD", b"GET"):
            client.send(request(b"/a", method=method))
            assert client.read_final(method)[0].status == 502
        assert client.pending() == b""


def test_upstream_closes_behind_its_answer(stage: Stage) -> None:
    """An origin that closes every connection without saying so costs no request."""

    def script(peer: Peer, head: Message) -> bool:
        peer.send(answer_for(peer.read_body(head)))
        return False

    with stage.client() as client:
        for _ in range(50):
            assert ask(client, stage.target(script)).status == 200
    stage.assert_sound()


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="at once"),
        pytest.param(b"GET /a HTTP/1.1\r\nHo", id="in the head"),
        pytest.param(
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx", id="in the body"
        ),
        pytest.param(b"GET @T HTTP/1.1\r\nHost: a\r\n\r\n", id="before the answer"),
        pytest.param(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" * 9, id="with nine requests"),
        pytest.param(b"bad\r\n\r\n" + b"x" * 100000, id="after a bad request"),
    ],
)
def test_nothing_is_left_of_a_client_that_has_gone(stage: Stage, sent: bytes, leave: str) -> None:
    """Wherever a client leaves, its connection and its requests end with it."""

    def script(peer: Peer, head: Message) -> bool:
        peer.is_closed(5)
        return False

    with stage.client() as client:
        client.send(sent.replace(b"@T", stage.target(script)))
        stage.mirror.settle()
        getattr(client, leave)()
    assert stage.mirror.wait_until_empty()
    stage.assert_clean()


def test_crowd(stage: Stage) -> None:
    """Of 40 clients at once, each with requests of its own, everyone gets the answers asked for."""

    def visit(number: int) -> int:
        wrong = 0
        with stage.client() as client:
            for turn in range(15):
                target = b"/crowd/%d/%d" % (number, turn)
                body = b"x" * (turn * 997) if turn % 2 else b""
                method = b"POST" if body else b"GET"
                client.send(request(target, method=method, body=body))
                wrong += client.read_final()[0].body != b"%s %s HTTP/1.1" % (method, target)
        return wrong

    with ThreadPoolExecutor(40) as crowd:
        assert sum(crowd.map(visit, range(40))) == 0
    assert len({one.target for one in stage.origin.seen}) == 600
    assert all(
        len(one.body) in {0, int(one.target.split(b"/")[3]) * 997} for one in stage.origin.seen
    )
    stage.assert_sound()
