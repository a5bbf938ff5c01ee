"""Bodies out of their framing, whatever way the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.errors import PeerError
from mirrorproxy.http1.body import ChunkedDecoder, LengthDecoder, chunk, last_chunk


def decoded(data: bytes, sizes: list[int]) -> tuple[bytes, bytes, bytes]:
    """Return body, trailers and what is left over, fed in pieces of these sizes (repeated)."""
    body = ChunkedDecoder(400)
    pieces: list[bytes] = []
    start, turn = 0, 0
    while start < len(data) and not body.done:
        piece = data[start : start + sizes[turn % len(sizes)]]
        taken = body.feed(piece, pieces)
        assert taken == len(piece) or body.done
        start += taken
        turn += 1
    assert body.done
    return b"".join(pieces), body.trailers, data[start:]


def feed_all(data: bytes, size: int) -> None:
    body = ChunkedDecoder(400)
    for start in range(0, len(data), size):
        body.feed(data[start : start + size], [])


SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=8)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6), SIZES)
def test_what_was_framed_is_what_is_decoded(bodies: list[bytes], sizes: list[int]) -> None:
    """Any body, any split; the next message's bytes stay where they are."""
    framed = b"".join(b"".join(chunk([body])) for body in bodies) + last_chunk(b"")
    assert decoded(framed + b"NEXT", sizes) == (b"".join(bodies), b"", b"NEXT")


@given(SIZES)
def test_extensions_are_dropped_and_trailers_kept(sizes: list[int]) -> None:
    """Extensions say nothing beyond one hop; trailers are end to end."""
    framed = b'5;a=b;c="x;\\"y"\r\nhello\r\n003;d\r\nabc\r\n0;e\r\nX-T: 1\r\nX-T: 2\r\n\r\nNEXT'
    assert decoded(framed, sizes) == (b"helloabc", b"X-T: 1\r\nX-T: 2\r\n", b"NEXT")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"5 \r\nhello\r\n", id="space behind the size"),
        pytest.param(b" 5\r\nhello\r\n", id="space before it"),
        pytest.param(b"0x5\r\nhello\r\n", id="0x"),
        pytest.param(b"-1\r\n", id="negative"),
        pytest.param(b"\r\n", id="no size"),
        pytest.param(b"g\r\n", id="not hexadecimal"),
        pytest.param(b"1_0\r\n", id="underscore"),
        pytest.param(b"f" * 16 + b"\r\n", id="beyond 63 bits"),
        pytest.param(b"5\nhello\r\n", id="bare LF behind the size"),
        pytest.param(b"5\rX\nhello", id="bare CR behind the size"),
        pytest.param(b"5;\r\nhello\r\n", id="extension without a name"),
        pytest.param(b"5;a=\r\nhello\r\n", id="extension without a value"),
        pytest.param(b'5;a="\r\nhello\r\n', id="open quote"),
        pytest.param(b"5;a b\r\nhello\r\n", id="space in an extension"),
        pytest.param(b"5;a\x00\r\nhello\r\n", id="NUL in an extension"),
        pytest.param(b"5;" + b"a" * 5000, id="endless extension"),
        pytest.param(b"1;" + b"a" * 4000 + b"\r\nx\r\n", id="flood of extensions"),
        pytest.param(b"5\r\nhelloX", id="longer than its size"),
        pytest.param(b"5\r\nhello\n", id="bare LF behind the data"),
        pytest.param(b"0\r\nX\r\n\r\n", id="a trailer without a colon"),
        pytest.param(b"0\r\nX: a\n\r\n\r\n", id="bare LF in a trailer"),
        pytest.param(b"0\r\nContent-Length: 5\r\n\r\n", id="a length as a trailer"),
        pytest.param(b"0\r\ntransfer-encoding: chunked\r\n\r\n", id="a coding as a trailer"),
        pytest.param(b"0\r\nX: " + b"a" * 70_000, id="endless trailer"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_chunks_that_two_parsers_could_read_differently_are_refused(data: bytes, size: int) -> None:
    """Whatever way the bytes arrive."""
    data = data * 6 if data.startswith(b"1;") else data  # a flood is many
    with pytest.raises(PeerError):
        feed_all(data, size)


def test_a_length_takes_no_byte_more() -> None:
    """What stands behind the body belongs to the next message."""
    body = LengthDecoder(5)
    pieces: list[bytes] = []
    assert body.feed(b"he", pieces) == 2
    assert body.feed(b"lloNEXT", pieces) == 3
    assert (b"".join(pieces), body.done) == (b"hello", True)
