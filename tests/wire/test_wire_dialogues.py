"""Dialogues that are more than one request and one answer, byte for byte."""

from __future__ import annotations

import threading

import pytest
from support.messages import Message
from support.origin import answer_for, send_raw
from support.peer import Peer
from support.stage import Stage, ask, request

_SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
_UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x")
_CHUNKED_200 = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_continue_goes_to_the_client_before_its_body(stage: Stage) -> None:
    """A client that waits for 100 gets the origin's own, and the origin then gets the body."""

    def script(peer: Peer, head: Message) -> bool:
        assert head.values(b"Expect") == [b"100-continue"]
        peer.send(b"HTTP/1.1 100 Continue\r\nX-Note: go\r\n\r\n")
        peer.send(answer_for(peer.read_body(head)))
        return True

    target = stage.target(script)
    with stage.client() as client:
        client.send(
            b"POST %s HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n"
            b"Content-Length: 5\r\n\r\n" % target
        )
        interim = client.read_response()
        assert (interim.status, interim.fields) == (100, [(b"X-Note", b"go")])
        client.send(b"hello")
        assert client.read_response().status == 200
    assert stage.origin.seen[-1].body == b"hello"
    stage.assert_sound()


def test_refusal_in_place_of_continue(stage: Stage) -> None:
    """The final answer reaches a client that still holds its body; the connection then ends."""
    refusal = b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"
    target = stage.target(send_raw(refusal, read_body=False))
    with stage.client() as client:
        client.send(
            b"POST %s HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n"
            b"Content-Length: 5\r\n\r\n" % target
        )
        answer = client.read_response()
        assert answer.status == 417
        assert answer.values(b"Connection") == [b"close"]
        assert client.is_closed(5)
    stage.assert_clean()
    stage.assert_sound()


def test_upgrade_becomes_a_tunnel(stage: Stage) -> None:
    """After 101 every byte passes both ways, also what looks like HTTP; the end is passed on."""
    ended = threading.Event()

    def script(peer: Peer, head: Message) -> bool:
        assert head.values(b"Upgrade") == [b"websocket"]
        assert [value.lower() for value in head.values(b"Connection")] == [b"upgrade"]
        peer.send(_SWITCH + b"first")
        while (data := peer.read_some()) != b"end\x00":
            peer.send(data.upper())
        peer.send(b"bye")
        ended.set()
        return False

    with stage.client() as client:
        client.send(request(stage.target(script), *_UPGRADE))
        switch = client.read_response()
        assert switch.status == 101
        assert switch.values(b"Upgrade") == [b"websocket"]
        assert [value.lower() for value in switch.values(b"Connection")] == [b"upgrade"]
        assert client.read(5) == b"first"
        client.send(b"get / http/1.1\r\n\r\n\x00\xff")
        assert client.read(18) == b"GET / HTTP/1.1\r\n\r\n"
        assert client.read(2) == b"\x00\xff"
        client.send(b"end\x00")
        assert client.read_to_end() == b"bye"
    assert ended.is_set()
    stage.assert_sound()


def test_tunnel_ends_with_the_client(stage: Stage) -> None:
    """A client that leaves a tunnel takes the upstream's side with it."""
    gone = threading.Event()

    def script(peer: Peer, head: Message) -> bool:
        peer.send(_SWITCH)
        if peer.is_closed(5):
            gone.set()
        return False

    with stage.client() as client:
        client.send(request(stage.target(script), *_UPGRADE))
        assert client.read_response().status == 101
    assert gone.wait(5)


def test_bytes_sent_right_behind_an_upgrade(stage: Stage) -> None:
    """What the client sends before the 101 goes into the tunnel, never to another request."""

    def script(peer: Peer, head: Message) -> bool:
        peer.send(_SWITCH)
        peer.send(peer.read(5))
        return False

    with stage.client() as client:
        client.send(request(stage.target(script), *_UPGRADE) + b"early")
        assert client.read_response().status == 101
        assert client.read(5) == b"early"


def test_upgrade_that_is_declined(stage: Stage) -> None:
    """An answer other than 101 is an ordinary one; requests go on, on the same connection."""
    with stage.client() as client:
        assert ask(client, stage.target(), *_UPGRADE).status == 200
        assert ask(client, stage.target()).status == 200
    stage.assert_sound()


def test_declined_upgrade_does_not_hide_a_request(stage: Stage) -> None:
    """Bytes behind a declined upgrade are the next request, not tunnel data."""
    second = stage.target()
    with stage.client() as client:
        client.send(request(stage.target(), *_UPGRADE) + request(second))
        client.read_final()
        assert client.read_final()[0].body == b"GET %s HTTP/1.1" % second


@pytest.mark.parametrize("protocol", [b"h2c", b"H2C", b"h2", b"websocket, h2c", b"h2c-17"])
def test_http2_is_not_offered_on(stage: Stage, protocol: bytes) -> None:
    """A tunnel of HTTP/2 would carry requests that nobody here reads: the offer is taken out."""
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABk")
    with stage.client() as client:
        answer = ask(client, stage.target(), b"Upgrade: " + protocol, *offer)
        assert answer.status in {200, 400}
    for seen in stage.origin.seen:
        assert seen.fields == [(b"Host", b"a.test")]


def test_answers_are_not_buffered(stage: Stage) -> None:
    """Each piece of a streamed answer (SSE) arrives before the next one is made."""
    steps = [threading.Event() for _ in range(3)]

    def script(peer: Peer, head: Message) -> bool:
        peer.send(_CHUNKED_200)
        for step in steps:
            peer.send(b"6\r\nevent\n\r\n")
            assert step.wait(5)
        peer.send(b"0\r\n\r\n")
        return True

    with stage.client() as client:
        client.send(request(stage.target(script)))
        client.read_head()
        for step in steps:
            assert client.read(11) == b"6\r\nevent\n\r\n"
            step.set()
        assert client.read(5) == b"0\r\n\r\n"
    stage.assert_sound()


@pytest.mark.parametrize(
    ("framing", "pieces"),
    [
        pytest.param(b"Content-Length: 6", [b"abc", b"def"], id="with a length"),
        pytest.param(
            b"Transfer-Encoding: chunked",
            [b"3\r\nabc\r\n", b"3\r\ndef\r\n0\r\n\r\n"],
            id="in chunks",
        ),
    ],
)
def test_requests_are_not_buffered(stage: Stage, framing: bytes, pieces: list[bytes]) -> None:
    """The origin has the first piece of a body before the client sends the second."""
    arrived = threading.Event()

    def script(peer: Peer, head: Message) -> bool:
        first = b"3\r\nabc\r\n" if head.framing == "chunked" else b"abc"
        assert peer.read(len(first)) == first
        arrived.set()
        rest = b"3\r\ndef\r\n0\r\n\r\n" if head.framing == "chunked" else b"def"
        assert peer.read(len(rest)) == rest
        peer.send(answer_for(head))
        return True

    target = stage.target(script)
    with stage.client() as client:
        client.send(request(target, framing, method=b"POST") + pieces[0])
        assert arrived.wait(5)
        client.send(pieces[1])
        assert client.read_response().status == 200
    assert stage.tap(target).body == b"abcdef"
    stage.assert_sound()


_POST = request(b"@T", b"X-A: 1", method=b"POST", body=b"hello")
_CHUNKED_POST = (
    request(b"@T", b"Transfer-Encoding: chunked", method=b"POST")
    + b"3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 1\r\n\r\n"
)


@pytest.mark.parametrize("raw", [_POST, _CHUNKED_POST], ids=["with a length", "in chunks"])
def test_request_cut_anywhere(stage: Stage, raw: bytes) -> None:
    """Wherever the network cuts a request in two, the origin sees the same one."""
    target = stage.target()
    raw = raw.replace(b"@T", target)
    with stage.client() as client:
        for cut in range(1, len(raw)):
            client.send(raw[:cut])
            stage.mirror.settle()
            client.send(raw[cut:])
            assert client.read_response().status == 200
    assert len(stage.origin.seen) == len(raw) - 1
    assert {one.body for one in stage.origin.seen} == {b"hello"}
    assert {one.target for one in stage.origin.seen} == {target}
    stage.assert_sound()


def test_request_byte_by_byte(stage: Stage) -> None:
    """A request that comes one byte at a time is the same request."""
    target = stage.target()
    with stage.client() as client:
        for byte in _CHUNKED_POST.replace(b"@T", target):
            client.send(bytes([byte]))
            stage.mirror.settle()
        assert client.read_response().status == 200
    seen = stage.origin.seen[-1]
    assert (seen.body, seen.trailers) == (b"hello", [(b"X-Sum", b"1")])


_ANSWERS = [
    pytest.param(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello", id="a length"),
    pytest.param(
        b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + _CHUNKED_200
        + b"3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 1\r\n\r\n",
        id="chunks after a 103",
    ),
]  # fmt: skip


@pytest.mark.parametrize("raw", _ANSWERS)
def test_answer_cut_anywhere(stage: Stage, raw: bytes) -> None:
    """Wherever the network cuts an answer in two, the client sees the same one."""
    cuts = iter(range(1, len(raw)))

    def script(peer: Peer, head: Message) -> bool:
        cut = next(cuts)
        peer.send(raw[:cut])
        stage.mirror.settle()
        peer.send(raw[cut:])
        return True

    target = stage.target(script)
    with stage.client() as client:
        for _ in range(1, len(raw)):
            client.send(request(target))
            answer, _ = client.read_final()
            assert (answer.status, answer.body) == (200, b"hello")
    stage.assert_sound()


def test_pipelined_requests_are_answered_in_order(stage: Stage) -> None:
    """Many requests in one packet, bodies among them: each gets its own answer, in order."""
    targets = [stage.target() for _ in range(60)]
    raw = b"".join(
        request(target, method=b"POST", body=b"body %d" % n) if n % 3 else request(target)
        for n, target in enumerate(targets)
    )
    with stage.client() as client:
        client.send(raw)
        answers = [client.read_final()[0].body for _ in targets]
    assert answers == [
        b"%s %s HTTP/1.1" % (b"POST" if n % 3 else b"GET", target)
        for n, target in enumerate(targets)
    ]
    assert [one.target for one in stage.origin.seen] == targets
    stage.assert_sound()


def test_broken_request_behind_a_good_one(stage: Stage) -> None:
    """The good one is answered, the broken one refused, and nothing behind it is read."""
    good, never = stage.target(), stage.target()
    bad = request(stage.target(), b"Content-Length: 1\r\nTransfer-Encoding: chunked")
    with stage.client() as client:
        client.send(request(good) + bad + request(never))
        assert client.read_final()[0].status == 200
        assert client.read_final()[0].status == 400
        assert client.read_to_end() == b""
    assert [one.target for one in stage.origin.seen] == [good]
    stage.assert_sound()


def test_head_then_get_on_one_connection(stage: Stage) -> None:
    """A HEAD's answer has no body, so the next answer begins right behind its head."""
    with stage.client() as client:
        client.send(request(stage.target(), method=b"HEAD"))
        assert client.read_final(b"HEAD")[0].values(b"Content-Length") != []
        second = stage.target()
        assert ask(client, second).body == b"GET %s HTTP/1.1" % second


def test_http_1_0_kept_alive(stage: Stage) -> None:
    """An HTTP/1.0 client that asks to keep the connection is told so, and may go on."""
    with stage.client() as client:
        for _ in range(2):
            target = stage.target()
            client.send(
                b"GET %s HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n" % target
            )
            answer = client.read_response()
            assert answer.body == b"GET %s HTTP/1.1" % target
            assert [value.lower() for value in answer.values(b"Connection")] == [b"keep-alive"]


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
def test_large_bodies_both_ways(stage: Stage, chunked: bool) -> None:
    """Ten MiB up and down arrive as they were sent."""
    body = bytes(range(256)) * 40960
    raw = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)

    def script(peer: Peer, head: Message) -> bool:
        peer.read_body(head)
        peer.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + raw)
        return True

    with stage.client() as client:
        client.send(request(stage.target(script), framing, method=b"POST") + raw)
        assert client.read_response().body == body
    assert stage.origin.seen[-1].body == body
    stage.assert_sound()
