"""What passes through Traefik and a mirror is what passes through Traefik alone.

Each dialogue is led twice: with an app that has the tag and one that has not, by
the same client and with the same origin behind both.
"""

from __future__ import annotations

import gzip
import hashlib
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from support.consul import ConsulAgent
from support.joined_mirror import Mirror, app
from support.messages import Message
from support.origin import RawOrigin, Script, answer_for, send_raw
from support.peer import Closed, Peer
from support.stage import request
from support.steady import wait_until
from support.traefik import Traefik

MIB = 1 << 20
SIZE = 100 * MIB
PIECE = bytes(range(256)) * 4096


class Way(NamedTuple):
    """A way from a client to the origin. hosts: those of the app without the tag and with it."""

    address: tuple[str, int]
    origin: RawOrigin
    mirror: Mirror
    host: bytes

    def client(self) -> Peer:
        return Peer.connect(self.address, 30)

    def request(
        self, target: bytes, *fields: bytes, method: bytes = b"GET", body: bytes = b""
    ) -> bytes:
        raw = request(target, *fields, method=method, body=body)
        return raw.replace(b"Host: a.test", b"Host: " + self.host)

    def target(self, script: Script) -> bytes:
        key = b"%s%d" % (self.host.partition(b".")[0], len(self.origin.scripts))
        self.origin.script(key, script)
        return b"/case/" + key


@pytest.fixture(scope="module")
def ground(
    consul: ConsulAgent, traefik: Traefik, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RawOrigin, Mirror]]:
    """An origin that is two apps, and a mirror of one of them."""
    folder = tmp_path_factory.mktemp("mirror")
    with RawOrigin() as origin, Mirror(folder, consul.url, "--drain-wait", "0s") as mirror:
        for name, tags in (("plain", []), ("mirrored", ["mirrorproxy.enable=true"])):
            consul.register(
                app(
                    name, origin.port, f"traefik.http.routers.{name}.rule=Host(`{name}.test`)",
                    *tags,
                    Check={"TTL": "1h", "Status": "passing"},
                )
            )  # fmt: skip
        traefik.wait_for_router("plain@consulcatalog")
        traefik.wait_for_router("mirror-mirrored-mirrored@consulcatalog")
        way = Way(traefik.address(), origin, mirror, b"mirrored.test")

        def is_mirrored() -> bool:
            with way.client() as client:
                client.send(way.request(b"/"))
                return client.read_final()[0].status == 200 and mirror.captured() > 0

        wait_until(is_mirrored, "the mirror's router")
        yield origin, mirror
        ledger = mirror.end()
        assert ledger["exit"] == 0
        assert ledger["balanced"]


@pytest.fixture(params=["plain", "mirrored"])
def way(
    request: pytest.FixtureRequest, traefik: Traefik, ground: tuple[RawOrigin, Mirror]
) -> Iterator[Way]:
    """One of the two ways; what it recorded is counted."""
    origin, mirror = ground
    before = mirror.captured()
    yield Way(traefik.address(), origin, mirror, f"{request.param}.test".encode())
    # Dialogues of the app without the tag must not be its: the test would prove nothing.
    if request.param == "plain":
        assert mirror.captured() == before
    else:
        wait_until(lambda: seen(mirror) > before, "a record of the dialogue")


def seen(mirror: Mirror) -> int:
    """Return how many exchanges a mirror has seen the end of."""
    ledger = (mirror.status() or {})["ledger"]
    count: int = ledger["seen"] - ledger["in_flight"]
    return count


def test_websocket_echo(way: Way) -> None:
    """After 101 every byte passes both ways, and the end is passed on."""

    def script(peer: Peer, head: Message) -> bool:
        assert head.values(b"Upgrade") == [b"websocket"]
        peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        )
        while (data := peer.read(4)) != b"\x88\x02\x03\xe8":
            peer.send(data)
        peer.send(b"bye!")
        return False

    upgrade = (
        b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )  # fmt: skip
    with way.client() as client:
        client.send(way.request(way.target(script), *upgrade))
        switch = client.read_final()[0]
        assert switch.status == 101
        assert switch.values(b"Sec-WebSocket-Accept") == [b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
        for data in (b"\x81\x02hi", b"\x00\xff\r\n"):
            client.send(data)
            assert client.read(4) == data
        client.send(b"\x88\x02\x03\xe8")
        assert client.read_to_end() == b"bye!"


def test_an_event_arrives_at_once(way: Way) -> None:
    """Each server-sent event before the next one is made."""
    steps = [threading.Event() for _ in range(3)]

    def script(peer: Peer, head: Message) -> bool:
        peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for number, step in enumerate(steps):
            peer.send(b"9\r\ndata: %d\n\n\r\n" % number)
            assert step.wait(20)
        peer.send(b"0\r\n\r\n")
        return True

    with way.client() as client:
        client.send(way.request(way.target(script), b"Accept: text/event-stream"))
        client.read_head()
        for number, step in enumerate(steps):
            assert client.read(14) == b"9\r\ndata: %d\n\n\r\n" % number
            step.set()
        assert client.read(5) == b"0\r\n\r\n"


def test_expect_100_continue(way: Way) -> None:
    """The client is told to go on before it sends its body."""

    def script(peer: Peer, head: Message) -> bool:
        if head.values(b"Expect"):
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.send(answer_for(peer.read_body(head)))
        return True

    with way.client() as client:
        head = way.request(
            way.target(script), b"Expect: 100-continue", b"Content-Length: 5", method=b"POST"
        )
        client.send(head)
        assert client.read_response().status == 100
        client.send(b"hello")
        answer, interim = client.read_final()
        assert (answer.status, {one.status for one in interim} - {100}) == (200, set())
    assert way.origin.wait_for(lambda it: any(one.body == b"hello" for one in it.seen))


def test_a_body_is_refused_before_it_is_sent(way: Way) -> None:
    """Where the origin answers 417 at once the client gets that."""
    refusal = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"
    target = way.target(send_raw(refusal, then="close", read_body=False))
    with way.client() as client:
        client.send(
            way.request(target, b"Expect: 100-continue", b"Content-Length: 5", method=b"POST")
        )
        assert client.read_final()[0].status == 417


def test_100_mib_up(way: Way) -> None:
    """Every byte arrives, while the client still sends."""
    arrived: list[str] = []
    digest = hashlib.sha256()
    for _ in range(SIZE // len(PIECE)):
        digest.update(PIECE)

    def script(peer: Peer, head: Message) -> bool:
        found = hashlib.sha256()
        left = head.length
        while left:
            data = peer.read(min(left, MIB))
            found.update(data)
            left -= len(data)
        arrived.append(found.hexdigest())
        peer.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        return True

    with way.client() as client:
        client.send(way.request(way.target(script), b"Content-Length: %d" % SIZE, method=b"PUT"))
        for _ in range(SIZE // len(PIECE)):
            client.send(PIECE)
        assert client.read_final(b"PUT")[0].status == 201
    assert arrived == [digest.hexdigest()]


def test_100_mib_down(way: Way) -> None:
    """Every byte arrives."""

    def script(peer: Peer, head: Message) -> bool:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        for _ in range(SIZE // len(PIECE)):
            peer.send(PIECE)
        return True

    with way.client() as client:
        client.send(way.request(way.target(script)))
        head = client.read_head()
        assert b"Content-Length: %d\r\n" % SIZE in head
        for _ in range(SIZE // len(PIECE)):
            assert client.read(len(PIECE)) == PIECE


def test_gzip_bodies(way: Way) -> None:
    """Compressed bodies pass as they are, both ways."""
    packed = gzip.compress(b'{"sku": "A-1"}' * 1000, mtime=0)
    target = way.target(
        send_raw(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
            % (len(packed), packed)
        )
    )
    way.origin.forget()
    with way.client() as client:
        client.send(
            way.request(
                target,
                b"Content-Encoding: gzip",
                b"Accept-Encoding: gzip",
                method=b"POST",
                body=packed,
            )
        )
        answer = client.read_final()[0]
    assert (answer.body, answer.values(b"Content-Encoding")) == (packed, [b"gzip"])
    (arrived,) = way.origin.seen
    assert (arrived.body, arrived.values(b"Content-Encoding")) == (packed, [b"gzip"])


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(b'/raw?q=bl\xe5b|{}"^<>`', id="raw bytes in the query"),
        pytest.param(b"/a%20b/%C3%A4?x=%zz&&=", id="escapes, right and wrong"),
        pytest.param(b"/" + b"x" * 30_000, id="30 KB"),
    ],
)
def test_targets(way: Way, target: bytes) -> None:
    """They arrive byte for byte."""
    way.origin.forget()
    with way.client() as client:
        client.send(way.request(target))
        assert client.read_final()[0].status == 200
    assert [one.target for one in way.origin.seen] == [target]


def test_100_kib_of_cookies(way: Way) -> None:
    """They arrive as they were sent."""
    cookies = b"; ".join(b"name%d=%s" % (number, b"v" * 1000) for number in range(103))
    assert len(cookies) > 100 * 1024
    way.origin.forget()
    with way.client() as client:
        client.send(way.request(b"/", b"Cookie: " + cookies))
        assert client.read_final()[0].status == 200
    assert way.origin.seen[0].values(b"Cookie") == [cookies]


def test_a_client_that_aborts_its_request(way: Way) -> None:
    """The origin hears of it, and gets no whole request."""
    gone = threading.Event()

    def script(peer: Peer, head: Message) -> bool:
        with pytest.raises(Closed):
            peer.read_body(head)
        gone.set()
        return False

    with way.client() as client:
        client.send(
            way.request(way.target(script), b"Content-Length: 1000", method=b"POST") + b"half"
        )
        time.sleep(0.05)  # so that the half is sent before the reset
        client.reset()
    assert gone.wait(20)


def test_a_client_that_leaves_before_its_answer(way: Way) -> None:
    """The origin's connection is closed, and the next client is served."""
    asked, gone = threading.Event(), threading.Event()

    def script(peer: Peer, head: Message) -> bool:
        asked.set()
        if peer.is_closed(20):
            gone.set()
        return False

    with way.client() as client:
        client.send(way.request(way.target(script)))
        assert asked.wait(20)
        client.reset()
    assert gone.wait(20)
    with way.client() as client:
        client.send(way.request(b"/next"))
        assert client.read_final()[0].status == 200
