"""Raw answers of an origin: odd ones that pass, broken ones that must not, and what they hide.

The client must get the answer unchanged, a 502, or a connection that ends
before the answer is whole; never an answer that could be read in two ways, and
never the rest of another's.
"""

from __future__ import annotations

from support.conformance import ExpectAnswer, ResponseCase

OK = b"HTTP/1.1 200 OK\r\nX-Origin: 1\r\n"
HELLO = ExpectAnswer(passed=True, body=b"hello")
EMPTY = ExpectAnswer(passed=True)
REFUSED = ExpectAnswer(refused=True)
REFUSED_OR_CUT = ExpectAnswer(refused=True, cut=True)
EITHER_HELLO = ExpectAnswer(passed=True, refused=True, body=b"hello")
CUT = ExpectAnswer(cut=True)
POISON = b"HTTP/1.1 200 OK\r\nX-Origin: 1\r\nContent-Length: 6\r\n\r\npoison"
_SIZED = b"Content-Length: 5\r\n\r\nhello"
_CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
_CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def _passes(name: str, raw: bytes, expect: ExpectAnswer = HELLO, **more: object) -> ResponseCase:
    return ResponseCase(f"passes: {name}", raw, expect, **more)  # type: ignore[arg-type]


def _sized(name: str, fields: bytes, expect: ExpectAnswer = REFUSED) -> ResponseCase:
    return ResponseCase(f"framing: {name}", OK + fields + b"\r\n\r\nhello", expect)


def _chunked(name: str, body: bytes, expect: ExpectAnswer = REFUSED_OR_CUT) -> ResponseCase:
    return ResponseCase(f"chunks: {name}", _CHUNKED + body, expect)


def _head(name: str, raw: bytes, expect: ExpectAnswer = REFUSED) -> ResponseCase:
    return ResponseCase(f"head: {name}", raw, expect)


PASSES = [
    _passes("a plain answer", OK + _SIZED),
    _passes("chunks", _CHUNKED + _CHUNKS),
    _passes("a chunk extension", _CHUNKED + b"5;a=b\r\nhello\r\n0\r\n\r\n"),
    _passes(
        "trailers",
        OK + b"Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n",
        ExpectAnswer(passed=True, body=b"hello", trailers=((b"X-Sum", b"1"), (b"x-sum", b"2"))),
    ),
    _passes("a body ended by close", OK + b"\r\nhello", then="close"),
    _passes("an empty body ended by close", OK + b"\r\n", EMPTY, then="close"),
    _passes("Connection: close", OK + b"Connection: close\r\n" + _SIZED, then="close"),
    _passes("Connection: close, not closed", OK + b"Connection: close\r\n" + _SIZED),
    _passes("HTTP/1.0", b"HTTP/1.0 200 OK\r\nX-Origin: 1\r\n\r\nhello", then="close"),
    _passes("HTTP/1.0 with a length", b"HTTP/1.0 200 OK\r\nX-Origin: 1\r\n" + _SIZED),
    _passes(
        "HTTP/1.0 kept alive",
        b"HTTP/1.0 200 OK\r\nX-Origin: 1\r\nConnection: keep-alive\r\n" + _SIZED,
    ),
    _passes("a reason of its own", b"HTTP/1.1 200 All is well!\r\nX-Origin: 1\r\n" + _SIZED),
    _passes("a reason in latin-1", b"HTTP/1.1 200 Bl\xe5b\r\nX-Origin: 1\r\n" + _SIZED),
    _passes("an empty reason", b"HTTP/1.1 200 \r\nX-Origin: 1\r\n" + _SIZED),
    _passes("no reason and no space", b"HTTP/1.1 200\r\nX-Origin: 1\r\n" + _SIZED),
    _passes("an unknown status", b"HTTP/1.1 299 Odd\r\nX-Origin: 1\r\n" + _SIZED),
    _passes("status 599", b"HTTP/1.1 599 Odd\r\nX-Origin: 1\r\n" + _SIZED),
    _passes("status 500", b"HTTP/1.1 500 Oops\r\nX-Origin: 1\r\n" + _SIZED),
    _passes(
        "order, case and repeats",
        OK + b"Set-Cookie: a=1\r\nset-cookie: b=2\r\nX-B: 1\r\nSet-Cookie: c=3\r\n" + _SIZED,
    ),
    _passes("obs-text", OK + b"X-Name: bl\xe5b \xff\r\n" + _SIZED),
    _passes("an empty value", OK + b"X-Empty:\r\n" + _SIZED),
    _passes("300 lines", OK + b"".join(b"X-%d: v\r\n" % n for n in range(300)) + _SIZED),
    _passes("a line of 100 KiB", OK + b"X: " + b"v" * 102400 + b"\r\n" + _SIZED),
    _passes("Date, Server, Via", OK + b"Date: x\r\nServer: y\r\nVia: 1.1 z\r\n" + _SIZED),
    _passes("fields of the hop", OK + b"Keep-Alive: timeout=5\r\nProxy-Connection: x\r\n" + _SIZED),
    _passes(
        "a field that Connection names",
        OK + b"Connection: X-Hop\r\nX-Hop: 1\r\n" + _SIZED,
        ExpectAnswer(passed=True, body=b"hello", dropped=(b"X-Hop",)),
    ),
    _passes("an offer to upgrade", OK + b"Upgrade: h2c\r\nConnection: Upgrade\r\n" + _SIZED),
    _passes(
        "Proxy-Authenticate",
        b"HTTP/1.1 407 No\r\nX-Origin: 1\r\nProxy-Authenticate: x\r\n" + _SIZED,
    ),
    _passes("204", b"HTTP/1.1 204 No Content\r\nX-Origin: 1\r\n\r\n", EMPTY),
    _passes("304", b"HTTP/1.1 304 Not Modified\r\nX-Origin: 1\r\nETag: x\r\n\r\n", EMPTY),
    _passes(
        "304 with a length",
        b"HTTP/1.1 304 Not Modified\r\nX-Origin: 1\r\nContent-Length: 5\r\n\r\n",
        EMPTY,
    ),
    _passes(
        "204 with a length of 0",
        b"HTTP/1.1 204 x\r\nX-Origin: 1\r\nContent-Length: 0\r\n\r\n",
        EMPTY,
    ),
    _passes("205", b"HTTP/1.1 205 Reset\r\nX-Origin: 1\r\nContent-Length: 0\r\n\r\n", EMPTY),
    _passes("HEAD with a length", OK + b"Content-Length: 5\r\n\r\n", EMPTY, method=b"HEAD"),
    _passes("HEAD with chunks", OK + b"Transfer-Encoding: chunked\r\n\r\n", EMPTY, method=b"HEAD"),
    _passes("HEAD without framing", OK + b"\r\n", EMPTY, method=b"HEAD"),
    _passes("chunks to HTTP/1.0", _CHUNKED + _CHUNKS, version=b"1.0"),
    _passes("a length to HTTP/1.0", OK + _SIZED, version=b"1.0"),
    _passes(
        "103 before",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK + _SIZED,
        ExpectAnswer(passed=True, body=b"hello", interim=(103,)),
    ),
    _passes(
        "100 unasked, 102 and 103 before",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + _SIZED,
        ExpectAnswer(passed=True, body=b"hello", interim=(100, 102, 103)),
    ),
    _passes(
        "103 is not for HTTP/1.0",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK + _SIZED,
        version=b"1.0",
    ),
    _passes("white space around the length", OK + b"Content-Length: \t5 \r\n\r\nhello"),
    _passes("Chunked in capitals", OK + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n" + _CHUNKS),
]

FRAMING = [
    ResponseCase(
        "framing: both",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + _CHUNKS,
        REFUSED,
    ),
    ResponseCase(
        "framing: both, the length first",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + _CHUNKS,
        REFUSED,
    ),
    _sized("lengths that differ", b"Content-Length: 5\r\nContent-Length: 6"),
    _sized("lengths that agree", b"Content-Length: 5\r\nContent-Length: 5", EITHER_HELLO),
    _sized("lengths joined, different", b"Content-Length: 5, 6"),
    _sized("lengths joined, equal", b"Content-Length: 5, 5", EITHER_HELLO),
    _sized("length with a sign", b"Content-Length: +5"),
    _sized("negative length", b"Content-Length: -5"),
    _sized("hexadecimal length", b"Content-Length: 0x5"),
    _sized("empty length", b"Content-Length:"),
    _sized("length with an underscore", b"Content-Length: 0_5"),
    _sized("superscript length", b"Content-Length: \xb2"),
    _sized("length past 64 bits", b"Content-Length: 18446744073709551621"),
    _sized("space before the colon of the length", b"Content-Length : 5", EITHER_HELLO),
    ResponseCase(
        "framing: gzip coding", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + _CHUNKS, REFUSED
    ),
    ResponseCase(
        "framing: identity coding",
        OK + b"Transfer-Encoding: identity\r\n\r\nhello",
        EITHER_HELLO,
        then="close",
    ),
    ResponseCase(
        "framing: unknown coding", OK + b"Transfer-Encoding: x\r\n\r\nhello", REFUSED, then="close"
    ),
    ResponseCase(
        "framing: coding twice",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + _CHUNKS,
        REFUSED,
    ),
    ResponseCase(
        "framing: chunked in HTTP/1.0",
        b"HTTP/1.0 200 OK\r\nX-Origin: 1\r\nTransfer-Encoding: chunked\r\n\r\n" + _CHUNKS,
        EITHER_HELLO,
        then="close",
    ),
    ResponseCase(
        "framing: 204 with a body",
        b"HTTP/1.1 204 x\r\nX-Origin: 1\r\n" + _SIZED,
        ExpectAnswer(passed=True, refused=True),
    ),
    ResponseCase(
        "framing: 204 with chunks",
        b"HTTP/1.1 204 x\r\nX-Origin: 1\r\nTransfer-Encoding: chunked\r\n\r\n" + _CHUNKS,
        ExpectAnswer(passed=True, refused=True),
    ),
    ResponseCase(
        "framing: 304 with a body",
        b"HTTP/1.1 304 x\r\nX-Origin: 1\r\n" + _SIZED,
        ExpectAnswer(passed=True, refused=True),
    ),
    ResponseCase("framing: HEAD with a body", OK + _SIZED, EMPTY, method=b"HEAD"),
    ResponseCase(
        "framing: HEAD with a hidden answer",
        OK + b"Content-Length: 5\r\n\r\n" + POISON,
        EMPTY,
        method=b"HEAD",
    ),
    ResponseCase("framing: a second answer", OK + _SIZED + POISON, HELLO),
    ResponseCase("framing: a second answer after chunks", _CHUNKED + _CHUNKS + POISON, HELLO),
    ResponseCase(
        "framing: a second answer after 204",
        b"HTTP/1.1 204 x\r\nX-Origin: 1\r\n\r\n" + POISON,
        EMPTY,
    ),
    ResponseCase("framing: more bytes than the length", OK + _SIZED + b" and more", HELLO),
    ResponseCase(
        "framing: 101 that was not asked for",
        b"HTTP/1.1 101 Switching Protocols\r\nX-Origin: 1\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\n\r\n" + POISON,
        REFUSED,
    ),
    ResponseCase(
        "framing: 103 with a length",
        b"HTTP/1.1 103 x\r\nContent-Length: 5\r\n\r\n" + OK + _SIZED,
        ExpectAnswer(passed=True, refused=True, body=b"hello", interim=(103,)),
    ),
]

CHUNKS = [
    _chunked("size not a number", b"g\r\nhello\r\n0\r\n\r\n"),
    _chunked("size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    _chunked("negative size", b"-5\r\nhello\r\n0\r\n\r\n"),
    _chunked("size past 64 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    _chunked("size line ended by LF", b"5\nhello\r\n0\r\n\r\n"),
    _chunked("data not ended", b"5\r\nhello0\r\n\r\n"),
    _chunked("data ended by LF", b"5\r\nhello\n0\r\n\r\n"),
    _chunked("empty line ended by LF", b"5\r\nhello\r\n0\r\n\n"),
    _chunked("trailer without a colon", b"5\r\nhello\r\n0\r\nX\r\n\r\n"),
    _chunked("trailer with a NUL", b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n"),
]

CHUNKS += [
    _chunked("extension of 100 KiB", b"5;a=" + b"b" * 102400 + b"\r\nhello\r\n0\r\n\r\n"),
    _chunked(
        "trailer Content-Length",
        b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
        ExpectAnswer(passed=True, refused=True, cut=True, body=b"hello"),
    ),
    _chunked("trailers of 2 MiB", b"0\r\n" + b"X: %s\r\n" % (b"y" * 1000) * 2100 + b"\r\n"),
]
FRAMING += [
    ResponseCase(
        f"framing: {name} named by Connection",
        OK + b"Connection: " + name.encode() + b"\r\n" + rest,
        EITHER_HELLO,
    )
    for name, rest in (
        ("Content-Length", _SIZED),
        ("Transfer-Encoding", b"Transfer-Encoding: chunked\r\n\r\n" + _CHUNKS),
    )
]

CUT_SHORT = [
    ResponseCase("cut: nothing, then close", b"", REFUSED, then="close"),
    ResponseCase("cut: nothing, then a reset", b"", REFUSED, then="reset"),
    ResponseCase("cut: in the status line", b"HTTP/1.1 20", REFUSED, then="close"),
    ResponseCase("cut: in the head", OK + b"Content-", REFUSED, then="close"),
    ResponseCase("cut: in the head, by a reset", OK + b"Content-", REFUSED, then="reset"),
    ResponseCase("cut: after a 103", b"HTTP/1.1 103 x\r\n\r\n", REFUSED_OR_CUT, then="close"),
    ResponseCase(
        "cut: in a body with a length", OK + b"Content-Length: 9\r\n\r\nhello", CUT, then="close"
    ),
    ResponseCase(
        "cut: before a body with a length",
        OK + b"Content-Length: 9\r\n\r\n",
        REFUSED_OR_CUT,
        then="close",
    ),
    ResponseCase("cut: in a chunk", _CHUNKED + b"9\r\nhello", CUT, then="close"),
    ResponseCase("cut: between chunks", _CHUNKED + b"5\r\nhello\r\n", CUT, then="close"),
    ResponseCase(
        "cut: before the last empty line", _CHUNKED + b"5\r\nhello\r\n0\r\n", CUT, then="close"
    ),
]

HEADS = [
    _head("garbage", b"garbage\r\n\r\n"),
    _head("another protocol", b"ICY 200 OK\r\nX-Origin: 1\r\n" + _SIZED),
    _head("HTTP/2.0", b"HTTP/2.0 200 OK\r\nX-Origin: 1\r\n" + _SIZED),
    _head("lower-case protocol", b"http/1.1 200 OK\r\nX-Origin: 1\r\n" + _SIZED),
    _head("status of two digits", b"HTTP/1.1 20 OK\r\nX-Origin: 1\r\n" + _SIZED),
    _head("status of four digits", b"HTTP/1.1 2000 OK\r\nX-Origin: 1\r\n" + _SIZED),
    _head("status of letters", b"HTTP/1.1 abc OK\r\nX-Origin: 1\r\n" + _SIZED),
    _head("status 099", b"HTTP/1.1 099 OK\r\nX-Origin: 1\r\n" + _SIZED),
    _head("two spaces before the status", b"HTTP/1.1  200 OK\r\nX-Origin: 1\r\n" + _SIZED),
    _head("control byte in the reason", b"HTTP/1.1 200 O\x00K\r\nX-Origin: 1\r\n" + _SIZED),
    _head("bare CR in the reason", b"HTTP/1.1 200 O\rK\r\nX-Origin: 1\r\n" + _SIZED),
    _head("NUL in a value", OK + b"X: a\x00b\r\n" + _SIZED),
    _head("bare CR in a value", OK + b"X: a\rY: b\r\n" + _SIZED),
    _head(
        "bare LF in a value",
        OK + b"X: a\nY: b\r\n" + _SIZED,
        ExpectAnswer(passed=True, refused=True, body=b"hello"),
    ),
    _head("control byte in a value", OK + b"X: a\x01b\r\n" + _SIZED),
    _head("name that is no token", OK + b"X(Y): a\r\n" + _SIZED),
    _head("no colon", OK + b"X\r\n" + _SIZED),
    _head("no name", OK + b": a\r\n" + _SIZED),
    _head("space before the colon", OK + b"X : a\r\n" + _SIZED),
    _head("folded", OK + b"X: a\r\n b\r\n" + _SIZED),
    _head("folded first line", b"HTTP/1.1 200 OK\r\n X-Origin: 1\r\n" + _SIZED),
    _head("lines ended by LF", b"HTTP/1.1 200 OK\nX-Origin: 1\nContent-Length: 5\n\nhello"),
    _head("2 MiB", OK + b"X: " + b"v" * 2097152 + b"\r\n" + _SIZED),
]

CASES = [*PASSES, *FRAMING, *CHUNKS, *CUT_SHORT, *HEADS]
