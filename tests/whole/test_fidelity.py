"""Fidelity: what a client sends is what the application gets, the record holds and replay sends.

A thousand generated requests go through a real capture to an origin that keeps
raw bytes, and from its records through a real replay to another such origin.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.commands import capturing, free_port, run
from support.messages import Field, Message
from support.origin import RawOrigin
from support.peer import Peer

from mirrorproxy import codec
from mirrorproxy.sources.bodies import read_body
from mirrorproxy.sources.events import Captured, CaptureObject
from mirrorproxy.sources.reading import read_capture

REQUESTS = 1000
MARKER = b"X-Number"
MIB = 1 << 20


class Sent(NamedTuple):
    """One request. body: None for none; chunks: sizes to split it by, None for a Content-Length."""

    method: bytes
    target: bytes
    fields: list[Field]
    body: bytes | None = None
    chunks: list[int] | None = None

    def raw(self, number: int, host: bytes) -> bytes:
        lines = [b"%s %s HTTP/1.1" % (self.method, self.target), b"Host: " + host]
        lines += [b"%s: %s" % field for field in self.fields]
        lines.append(b"%s: %d" % (MARKER, number))
        if self.body is None:
            return b"\r\n".join(lines) + b"\r\n\r\n"
        if self.chunks is None:
            lines.append(b"Content-Length: %d" % len(self.body))
            return b"\r\n".join(lines) + b"\r\n\r\n" + self.body
        lines.append(b"Transfer-Encoding: chunked")
        return b"\r\n".join(lines) + b"\r\n\r\n" + chunked(self.body, self.chunks)


def chunked(body: bytes, sizes: list[int]) -> bytes:
    parts, at = [], 0
    for size in sizes:
        if part := body[at : at + size]:
            parts.append(b"%x\r\n%s\r\n" % (len(part), part))
        at += size
    if rest := body[at:]:
        parts.append(b"%X\r\n%s\r\n" % (len(rest), rest))
    return b"".join(parts) + b"0\r\n\r\n"


PIECES = [
    *(
        b"orders",
        b"/",
        b"//",
        b"..",
        b".",
        b"%2F",
        b"%2e%2E",
        b"%zz",
        b"%",
        b"bl\xe5b",
        b"\xc3\xa4",
    ),
    *(b"{}", b"|", b'"', b"^", b"<>", b"`", b"\\", b"[]", b"?", b"&", b"=", b"+", b";", b"~", b"'"),
]
NAMES = [
    b"X-Env",
    b"x-env",
    b"X-ENV",
    b"Accept",
    b"accept-LANGUAGE",
    b"X_Under.score",
    b"X-!#$%&'*",
]
VALUE_BYTES = bytes(byte for byte in range(0x20, 0x100) if byte != 0x7F)

targets = st.lists(st.sampled_from(PIECES), max_size=12).map(lambda pieces: b"/" + b"".join(pieces))
values = st.lists(st.sampled_from(VALUE_BYTES), max_size=40).map(lambda one: bytes(one).strip(b" "))
fields = st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=12)
texts = st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))
texts_with_ends = st.sampled_from(
    [b'{"a": 1,\n "b":[1.50]}', b" \r\n{}\t\n", b"\xef\xbb\xbf{}", b"a=1&b=%zz", b"\x00"]
)
bodies = st.one_of(st.binary(max_size=2000), texts, st.just(b""), texts_with_ends)
chunks = st.none() | st.lists(st.integers(1, 400), max_size=8)
methods = st.sampled_from([b"POST", b"PUT", b"PATCH", b"DELETE", b"PURGE", b"M-SEARCH"])
requests = st.one_of(
    st.builds(
        Sent,
        st.sampled_from([b"GET", b"HEAD", b"OPTIONS", b"DELETE"]),
        targets,
        fields,
        st.none(),
        st.none(),
    ),
    st.builds(Sent, methods, targets, fields, bodies, chunks),
)


def number_of(message: Message) -> int:
    return int(message.values(MARKER)[0])


def plain(sent: Sent) -> tuple[bytes, bytes, list[Field], bytes]:
    """Return what must arrive whatever the framing: method, target, fields, body."""
    return sent.method, sent.target, sent.fields, sent.body or b""


def arrived(message: Message) -> tuple[bytes, bytes, list[Field], bytes]:
    without = (b"Host", MARKER, b"X-Mirrorproxy-Replay")
    return message.method, message.target, message.end_to_end(without), message.body


def recorded(exchange, source: CaptureObject) -> tuple[bytes, bytes, list[Field], bytes]:
    request = exchange.request
    if request.body_ref is not None:
        body = read_body(source, request.body_ref, request.body_bytes)
    else:
        body = codec.body_of(request)
    kept = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
    left_out = (b"Host", MARKER, b"Content-Length")
    others = [field for field in kept if field[0] not in left_out]
    return request.method.encode(), request.target.encode("latin-1"), others, body


@pytest.mark.timeout(400)
def test_bytes_arrive_are_recorded_and_are_replayed(tmp_path):
    """Methods, odd targets, repeated and mixed-case headers, bodies of every kind and framing."""
    port = free_port()
    everything: list[Sent] = []
    with RawOrigin() as production, RawOrigin() as staging:

        @settings(max_examples=REQUESTS, derandomize=True, database=None)
        @given(requests)
        @example(Sent(b"POST", b"/large", [], b"\x00\xff" * (MIB // 2)))
        @example(Sent(b"POST", b"/large", [], bytes(range(256)) * (MIB // 256), [65536] * 20))
        @example(Sent(b"PUT", b"/ends", [], b" \r\n{}\t\n"))
        @example(Sent(b"PUT", b"/ends", [(b"X-Env", b"\xff \t b"), (b"x-env", b"")], b"\n", [1]))
        @example(Sent(b"PUT", b"/larger", [], b"text " * (4 * MIB)))
        def send(sent: Sent) -> None:
            number = len(everything)
            everything.append(sent)
            with Peer.connect(("127.0.0.1", port), 60) as client:
                client.send(sent.raw(number, b"orders.example"))
                assert client.read_response(sent.method).status == 200
            message = production.seen[-1]
            assert number_of(message) == number
            assert message.values(b"Host") == [b"orders.example"]
            assert arrived(message) == plain(sent)

        arguments = ["capture", "--listen", f"127.0.0.1:{port}", "--to", "capture"]
        arguments += ["--upstream", f"http://{production.authority}", "--admin", "off"]
        with capturing([*arguments, "--workers", "1"], tmp_path, port):
            send()
        assert len(everything) >= REQUESTS

        captured = list(read_capture([str(tmp_path / "capture")]))
        assert len(captured) == len(everything)
        for event in captured:
            assert isinstance(event, Captured)
            headers = dict(event.exchange.request.headers)
            sent = everything[int(headers[MARKER.decode()])]
            assert recorded(event.exchange, event.source) == plain(sent)

        replayed = run(
            ["replay", "capture", "--target", f"http://{staging.authority}", "--speed", "max"],
            tmp_path,
        )
        assert replayed.returncode == 0, replayed.stderr
        assert staging.faults == []
        assert sorted(map(number_of, staging.seen)) == list(range(len(everything)))
        for message in staging.seen:
            assert arrived(message) == plain(everything[number_of(message)])
            assert message.values(b"Host") == [staging.authority.encode()]
            (mark,) = message.values(b"X-Mirrorproxy-Replay")
            assert re.fullmatch(rb"[^/]+/[0-9a-f]{32}", mark)
