"""Connections that end badly: aborts, retries, cut answers, poison."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest
from support.messages import Message
from support.mirror import Mirror
from support.origin import Script, answer_for, send_raw
from support.peer import Closed, Peer
from support.stage import Stage, ask, request

_POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"


class Calls:
    """A script that acts differently each time it is asked; counts its calls."""

    def __init__(self, *acts: Callable[[Peer, Message], bool]) -> None:
        self.count = 0
        self._acts = acts

    def __call__(self, peer: Peer, head: Message) -> bool:
        act = self._acts[min(self.count, len(self._acts) - 1)]
        self.count += 1
        return act(peer, head)


def _answer(peer: Peer, head: Message) -> bool:
    peer.send(answer_for(peer.read_body(head)))
    return True


def _close(peer: Peer, head: Message) -> bool:
    peer.read_body(head)
    return False


def _reset(peer: Peer, head: Message) -> bool:
    peer.read_body(head)
    peer.reset()
    return False


# -- kept upstream connections that turn out to be dead ----------------------------------


@pytest.mark.parametrize("end", [_close, _reset], ids=["closed", "reset"])
@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE"])
def test_dead_kept_connection_is_tried_once_more(stage: Stage, method: bytes, end: Script) -> None:
    """A request that may be repeated goes out again when its kept connection dies unanswered."""
    calls = Calls(_answer, end, _answer)
    target = stage.target(calls)
    with stage.client() as client:
        assert ask(client, target).status == 200
        client.send(request(target, method=method, body=b"hello" if method == b"PUT" else b""))
        assert client.read_final()[0].status == 200
    assert calls.count == 3
    assert stage.origin.connections == 2
    stage.assert_sound()


@pytest.mark.parametrize("end", [_close, _reset], ids=["closed", "reset"])
def test_write_is_never_sent_twice(stage: Stage, end: Script) -> None:
    """A POST that the origin may have acted on is answered 502, not repeated."""
    calls = Calls(_answer, end, _answer)
    target = stage.target(calls)
    with stage.client() as client:
        assert ask(client, target).status == 200
        client.send(request(target, method=b"POST", body=b"hello"))
        assert client.read_final()[0].status == 502
    assert calls.count == 2
    assert stage.tap(target).ends[0].startswith("failed: ")
    stage.assert_clean()
    stage.assert_sound()


def test_fresh_connection_that_dies_is_not_tried_again(stage: Stage) -> None:
    """An origin that closes a new connection unanswered has failed: 502."""
    calls = Calls(_close)
    with stage.client() as client:
        assert ask(client, stage.target(calls)).status == 502
    assert calls.count == 1


def test_second_connection_that_dies_is_the_last(stage: Stage) -> None:
    """One retry, never more."""
    calls = Calls(_answer, _close)
    target = stage.target(calls)
    with stage.client() as client:
        assert ask(client, target).status == 200
        assert ask(client, target).status == 502
    assert calls.count == 3


def test_answer_that_has_begun_is_not_asked_for_again(stage: Stage) -> None:
    """Half a head and then the end: the origin has acted, so nothing is repeated."""
    calls = Calls(_answer, send_raw(b"HTTP/1.1 200 OK\r\nX-", then="close"))
    target = stage.target(calls)
    with stage.client() as client:
        assert ask(client, target).status == 200
        assert ask(client, target).status == 502
    assert calls.count == 2


def test_unasked_answer_on_a_kept_connection(stage: Stage) -> None:
    """Bytes that come while nobody asks end the connection; no later request gets them."""
    go, dropped = threading.Event(), threading.Event()

    def script(peer: Peer, head: Message) -> bool:
        peer.send(answer_for(head))
        assert go.wait(5)
        peer.send(_POISON)
        if peer.is_closed(2):  # well before the pool would let it go as idle
            dropped.set()
        return False

    with stage.client() as client:
        assert ask(client, stage.target(script)).status == 200
        go.set()
        assert dropped.wait(5)
        target = stage.target()
        assert ask(client, target).body == b"GET %s HTTP/1.1" % target
    stage.assert_clean()


def test_refused_upstream() -> None:
    """An upstream that does not listen is a 502; the client's connection goes on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Mirror(f"127.0.0.1:{port}") as mirror, Peer.connect(mirror.address) as client:
        assert ask(client, b"/a").status == 502
        assert ask(client, b"/b").status == 502
        mirror.settle()
        assert [tap.ends for tap in mirror.recorder.taps] == [["failed: connect_refused"]] * 2


# -- an answer before its time -----------------------------------------------------------


@pytest.mark.parametrize("then", ["keep", "close"])
@pytest.mark.parametrize("framing", [b"Content-Length: 8000000", b"Transfer-Encoding: chunked"])
def test_answer_before_the_body_is_sent(stage: Stage, framing: bytes, then: str) -> None:
    """A 413 in the midst of an upload reaches the client whole; then the connection ends."""
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig"
    target = stage.target(send_raw(refusal, then=then, read_body=False))
    with stage.client() as client:
        client.send(request(target, framing, method=b"POST"))
        client.send(b"100\r\n" + b"x" * 256 + b"\r\n" if b"chunked" in framing else b"x" * 300)
        answer = client.read_final()[0]
        assert (answer.status, answer.body) == (413, b"big")
        assert answer.values(b"Connection") == [b"close"]
        assert client.is_closed(5)
    stage.assert_clean()
    stage.assert_sound()


def test_refusal_outlives_what_the_client_still_sends(stage: Stage) -> None:
    """A client that is refused in the midst of sending gets the refusal and a proper end.

    A connection closed with bytes unread is reset, and the refusal may be lost with it.
    """
    raw = request(stage.target(), b"Content-Length: 1", b"Content-Length: 2", method=b"POST")
    with stage.client() as client:
        client.send(raw + b"x" * 1000000)
        assert client.read_final()[0].status == 400
        assert client.read_to_end() == b""
    assert stage.origin.seen == []
    stage.assert_clean()


# -- clients that leave ------------------------------------------------------------------


@pytest.mark.parametrize("leave", ["close", "reset", "finish"])
@pytest.mark.parametrize(
    "part",
    [
        pytest.param(b"Content-Length: 10\r\n\r\nhello", id="with a length"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", id="in chunks"),
    ],
)
def test_client_leaves_in_its_body(stage: Stage, part: bytes, leave: str) -> None:
    """Half a request never becomes a whole one at the origin, and is not recorded."""
    arrived = threading.Event()

    def script(peer: Peer, head: Message) -> bool:
        arrived.set()
        peer.read_body(head)
        return True

    target = stage.target(script)
    with stage.client() as client:
        client.send(b"POST %s HTTP/1.1\r\nHost: a.test\r\n%s" % (target, part))
        assert arrived.wait(5)
        getattr(client, leave)()
        assert stage.origin.wait_for(lambda origin: bool(origin.partial))
    assert stage.origin.seen == []
    assert stage.tap(target).ends == ["abandoned: client_aborted"]
    stage.assert_clean()
    stage.assert_sound()


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_client_leaves_before_its_answer(stage: Stage, leave: str) -> None:
    """The upstream connection ends with the client; the answer reaches nobody else."""
    asked, gone = threading.Event(), threading.Event()

    def script(peer: Peer, head: Message) -> bool:
        asked.set()
        if peer.is_closed(5):
            gone.set()
        return False

    with stage.client() as client:
        client.send(request(stage.target(script)))
        assert asked.wait(5)
        getattr(client, leave)()
        assert gone.wait(5)
    stage.assert_clean()
    stage.assert_sound()


def test_client_leaves_in_the_midst_of_its_answer(stage: Stage) -> None:
    """What is left of an answer nobody reads is not read from the origin for ever."""
    stopped = threading.Event()

    def script(peer: Peer, head: Message) -> bool:
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        if peer.is_closed(5):
            stopped.set()
        return False

    with stage.client() as client:
        client.send(request(stage.target(script)))
        assert client.read_head()
    assert stopped.wait(5)
    stage.assert_clean()
    stage.assert_sound()


def test_half_closed_client_is_still_answered(stage: Stage) -> None:
    """A client that ends its sending side behind a whole request waits for the answer."""
    target = stage.target()
    with stage.client() as client:
        client.send(request(target))
        client.finish()
        assert client.read_final()[0].body == b"GET %s HTTP/1.1" % target
        assert client.is_closed(5)
    stage.assert_sound()


# -- answers that are cut ----------------------------------------------------------------


_CUTS = {
    "a length, closed": (b"Content-Length: 9\r\n\r\nhello", "close"),
    "a length, reset": (b"Content-Length: 9\r\n\r\nhello", "reset"),
    "chunks": (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "close"),
    "until close, reset": (b"\r\nhello", "reset"),
}


@pytest.mark.parametrize(
    ("version", "raw", "then"),
    [
        pytest.param(version, raw, then, id=f"{name}, to HTTP/{version.decode()}")
        for name, (raw, then) in _CUTS.items()
        for version in (b"1.1", b"1.0")
    ],
)
def test_cut_answer_looks_cut(stage: Stage, version: bytes, raw: bytes, then: str) -> None:
    """A client can tell that an answer was not whole, and the record says so."""
    seen = threading.Event()

    def script(peer: Peer, head: Message) -> bool:
        peer.send(b"HTTP/1.1 200 OK\r\n" + raw)
        assert seen.wait(5)  # the client has the head, so the reset cannot outrun it
        if then == "reset":
            peer.reset()
        return False

    target = stage.target(script)
    with stage.client() as client:
        client.send(b"GET %s HTTP/%s\r\nHost: a.test\r\n\r\n" % (target, version))
        head = client.read_head()
        seen.set()
        with pytest.raises(Closed) as ended:
            client.read(1000)
    if b"content-length" not in head.lower() and b"chunked" not in head.lower():
        assert ended.value.reset, "nothing but a reset tells this end from a proper one"
    else:
        assert b"0\r\n\r\n" not in ended.value.rest
    assert stage.tap(target).ends[0].startswith("failed: ")
    stage.assert_clean()
