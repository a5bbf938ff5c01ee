"""Raw requests whose length could be read in more than one way, and those that only look odd.

Every desync class: CL.TE, TE.CL, TE.TE, CL.0, 0.CL, and chunks. What follows
the first reading's end is a request for ``/smuggled``, which no origin may see.
"""

from __future__ import annotations

from support.conformance import Expect, RequestCase

REFUSED = Expect(refused=(400,))
REFUSED_CODING = Expect(refused=(400, 501))
HELLO = Expect(passed=True, body=b"hello")
EITHER_HELLO = Expect(refused=(400,), passed=True, body=b"hello")
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
_CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"


def post(*fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """Return a POST with these field lines and this body, byte for byte."""
    lines = [b"POST /case/@ID HTTP/" + version, b"Host: a.test", *fields, b"", body]
    return b"\r\n".join(lines)


def _length(name: str, line: bytes, expect: Expect = REFUSED) -> RequestCase:
    return RequestCase(f"length: {name}", post(line, body=b"hello"), expect)


def _coding(name: str, *lines: bytes, expect: Expect = REFUSED_CODING) -> RequestCase:
    return RequestCase(f"coding: {name}", post(*lines, body=_CHUNKED), expect)


def _chunks(name: str, body: bytes, expect: Expect = REFUSED, **more: bool) -> RequestCase:
    raw = post(b"Transfer-Encoding: chunked", body=body)
    return RequestCase(f"chunks: {name}", raw, expect, **more)


LENGTHS = [
    _length("plain", b"Content-Length: 5", HELLO),
    _length("lower-case name", b"content-length: 5", HELLO),
    _length("no white space", b"Content-Length:5", HELLO),
    _length("much white space", b"Content-Length: \t 5 \t", HELLO),
    _length("leading zeros", b"Content-Length: 005", EITHER_HELLO),
    _length("plus sign", b"Content-Length: +5"),
    _length("minus sign", b"Content-Length: -5"),
    _length("minus zero", b"Content-Length: -0"),
    _length("hexadecimal", b"Content-Length: 0x5"),
    _length("exponent", b"Content-Length: 5e0"),
    _length("fraction", b"Content-Length: 5.0"),
    _length("digits parted by an underscore", b"Content-Length: 0_5"),
    _length("digits parted by white space", b"Content-Length: 0 5"),
    _length("superscript digit", b"Content-Length: \xb2"),
    _length("Arabic digit", b"Content-Length: \xd9\xa5"),
    _length("no-break space", b"Content-Length: 5\xa0"),
    _length("empty", b"Content-Length:"),
    _length("a word", b"Content-Length: five"),
    _length("quoted", b'Content-Length: "5"'),
    _length("with a parameter", b"Content-Length: 5;x"),
    _length("twenty digits", b"Content-Length: 18446744073709551621", Expect((400, 413))),
    _length("forty digits", b"Content-Length: " + b"9" * 40, Expect((400, 413))),
    _length("5,000 digits", b"Content-Length: " + b"9" * 5000, Expect((400, 413))),
    _length("joined, equal", b"Content-Length: 5, 5"),
    _length("joined, different", b"Content-Length: 5, 6"),
    _length("joined, empty element", b"Content-Length: 5,"),
    _length("repeated, equal", b"Content-Length: 5\r\nContent-Length: 5"),
    _length("repeated, different", b"Content-Length: 5\r\nContent-Length: 6"),
    _length("repeated, in another case", b"Content-Length: 5\r\ncontent-length: 0"),
    _length("repeated, one empty", b"Content-Length: 5\r\nContent-Length:"),
    _length("space before the colon", b"Content-Length : 5"),
    _length("tab before the colon", b"Content-Length\t: 5"),
    _length("NUL before the colon", b"Content-Length\x00: 5"),
    _length("vertical tab before the number", b"Content-Length: \x0b5"),
    _length("folded", b"Content-Length:\r\n 5"),
    _length("after a bare LF", b"X: y\nContent-Length: 5"),
    _length("after a bare CR", b"X: y\rContent-Length: 5"),
    RequestCase(
        "length: CL.0, the body looks like a request",
        post(b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        Expect(passed=True, body=SMUGGLED),
    ),
    RequestCase(
        "length: CL.0 with GET",
        b"GET /case/@ID HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s"
        % (len(SMUGGLED), SMUGGLED),
        Expect(passed=True, body=SMUGGLED),
    ),
    RequestCase(
        "length: named by Connection",
        post(b"Connection: Content-Length", b"Content-Length: 38", body=SMUGGLED[:38]),
        Expect(refused=(400,), passed=True, body=SMUGGLED[:38]),
    ),
    RequestCase("length: zero", post(b"Content-Length: 0"), Expect(passed=True, keep=True)),
    RequestCase("length: none in a POST", post(), Expect(passed=True, keep=True)),
    RequestCase(
        "length: the client stops half-way",
        post(b"Content-Length: 10", body=b"hello"),
        Expect(refused=(400, 408), dropping=True),
        finish=True,
    ),
]

BOTH = [
    RequestCase(
        "both: CL.TE",
        post(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nG"),
        REFUSED,
    ),
    RequestCase(
        "both: TE.CL",
        post(
            b"Transfer-Encoding: chunked",
            b"Content-Length: 4",
            body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        ),
        REFUSED,
    ),
    RequestCase(
        "both: that agree",
        post(b"Content-Length: 15", b"Transfer-Encoding: chunked", body=_CHUNKED),
        REFUSED,
    ),
    RequestCase(
        "both: the coding obscured by a vertical tab",
        post(b"Content-Length: 6", b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\nG"),
        REFUSED,
    ),
    RequestCase(
        "both: an unknown coding",
        post(b"Content-Length: 5", b"Transfer-Encoding: identity", body=b"hello"),
        REFUSED_CODING,
    ),
    RequestCase(
        "both: an empty coding",
        post(b"Content-Length: 5", b"Transfer-Encoding:", body=b"hello"),
        REFUSED_CODING,
    ),
    RequestCase(
        "both: the coding named by Connection",
        post(
            b"Connection: Transfer-Encoding",
            b"Transfer-Encoding: chunked",
            b"Content-Length: 6",
            body=b"0\r\n\r\nG",
        ),
        REFUSED,
    ),
]

CODINGS = [
    _coding("chunked", b"Transfer-Encoding: chunked", expect=HELLO),
    _coding("in capitals", b"TRANSFER-ENCODING: CHUNKED", expect=HELLO),
    _coding("after a tab", b"Transfer-Encoding:\tchunked", expect=HELLO),
    _coding("before white space", b"Transfer-Encoding: chunked \t", expect=HELLO),
    _coding(
        "named by Connection",
        b"Connection: Transfer-Encoding",
        b"Transfer-Encoding: chunked",
        expect=EITHER_HELLO,
    ),
    _coding("prefixed", b"Transfer-Encoding: xchunked"),
    _coding("suffixed", b"Transfer-Encoding: chunkedx"),
    _coding("twice in one line", b"Transfer-Encoding: chunked, chunked"),
    _coding("then identity", b"Transfer-Encoding: chunked, identity"),
    _coding("after identity", b"Transfer-Encoding: identity, chunked"),
    _coding("gzip under chunked", b"Transfer-Encoding: gzip, chunked"),
    _coding("chunked under gzip", b"Transfer-Encoding: chunked, gzip"),
    _coding("gzip alone", b"Transfer-Encoding: gzip"),
    _coding("identity", b"Transfer-Encoding: identity"),
    _coding("empty", b"Transfer-Encoding:"),
    _coding("empty element before", b"Transfer-Encoding: , chunked"),
    _coding("empty element after", b"Transfer-Encoding: chunked,"),
    _coding("in quotes", b'Transfer-Encoding: "chunked"'),
    _coding("in single quotes", b"Transfer-Encoding: 'chunked'"),
    _coding("with a parameter", b"Transfer-Encoding: chunked;q=1"),
    _coding("after a vertical tab", b"Transfer-Encoding: \x0bchunked"),
    _coding("after a form feed", b"Transfer-Encoding: \x0cchunked"),
    _coding("after a NUL", b"Transfer-Encoding: \x00chunked"),
    _coding("before a NUL", b"Transfer-Encoding: chunked\x00"),
    _coding("before a no-break space", b"Transfer-Encoding: chunked\xa0"),
    _coding("folded", b"Transfer-Encoding:\r\n chunked"),
    _coding("folded after the word", b"Transfer-Encoding: chunked\r\n , identity"),
    _coding("space before the colon", b"Transfer-Encoding : chunked"),
    _coding("space before the name", b"X: y", b" Transfer-Encoding: chunked"),
    _coding("form feed in the name", b"Transfer-Encoding\x0c: chunked"),
    _coding("repeated", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    _coding("then unknown", b"Transfer-Encoding: chunked", b"Transfer-Encoding: x"),
    _coding("after unknown", b"Transfer-Encoding: x", b"Transfer-Encoding: chunked"),
    _coding(
        "then identity in a line", b"Transfer-Encoding: chunked", b"Transfer-encoding: identity"
    ),
    _coding("after a bare LF", b"X: y\nTransfer-Encoding: chunked"),
    _coding("after a bare CR", b"X: y\rTransfer-Encoding: chunked"),
    _coding("after CR CR LF", b"X: y\r\r\nTransfer-Encoding: chunked"),
    _coding(
        "with an underscore is another field",
        b"Transfer_Encoding: chunked",
        b"Content-Length: 15",
        expect=Expect((400,), passed=True, body=_CHUNKED),
    ),
    RequestCase(
        "coding: chunked in HTTP/1.0",
        post(b"Transfer-Encoding: chunked", body=_CHUNKED, version=b"1.0"),
        REFUSED_CODING,
    ),
]

CHUNKS = [
    _chunks("one", _CHUNKED, HELLO),
    _chunks("none", b"0\r\n\r\n", Expect(passed=True)),
    _chunks("several", b"2\r\nhe\r\n1\r\nl\r\n2\r\nlo\r\n0\r\n\r\n", HELLO),
    _chunks(
        "capital digits", b"A\r\n0123456789\r\n0\r\n\r\n", Expect(passed=True, body=b"0123456789")
    ),
    _chunks("leading zeros", b"0005\r\nhello\r\n000\r\n\r\n", HELLO),
    _chunks("an extension", b"5;a=b\r\nhello\r\n0;last\r\n\r\n", HELLO),
    _chunks("a quoted extension", b'5;a="b;\\"c"\r\nhello\r\n0\r\n\r\n', HELLO),
    _chunks(
        "a body like a request",
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        Expect(passed=True, body=SMUGGLED),
    ),
    _chunks(
        "trailers",
        b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n",
        Expect(passed=True, body=b"hello", trailers=((b"X-Sum", b"1"), (b"x-sum", b"2"))),
    ),
    _chunks("space after the size", b"5 \r\nhello\r\n0\r\n\r\n"),
    _chunks("tab after the size", b"5\t\r\nhello\r\n0\r\n\r\n"),
    _chunks("space before the size", b" 5\r\nhello\r\n0\r\n\r\n"),
    _chunks("size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    _chunks("size with a sign", b"+5\r\nhello\r\n0\r\n\r\n"),
    _chunks("negative size", b"-5\r\nhello\r\n0\r\n\r\n"),
    _chunks("size with an underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
    _chunks("no size", b"\r\nhello\r\n0\r\n\r\n"),
    _chunks("only an extension", b";a=b\r\nhello\r\n0\r\n\r\n"),
    _chunks("size not a number", b"g\r\nhello\r\n0\r\n\r\n"),
    _chunks("size past 64 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n", Expect((400, 413))),
    _chunks("size of 2^64 - 1", b"FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", Expect((400, 413))),
    _chunks(
        "size of 2^63",
        b"8000000000000000\r\nhello\r\n0\r\n\r\n",
        Expect((400, 413), dropping=True),
        finish=True,
    ),
    _chunks("size in 5,000 digits", b"0" * 5000 + b"5\r\nhello\r\n0\r\n\r\n"),
    _chunks("size line ended by LF", b"5\nhello\r\n0\r\n\r\n"),
    _chunks("size line ended by CR", b"5\rhello\r\n0\r\n\r\n"),
    _chunks("last size ended by LF", b"5\r\nhello\r\n0\n\r\n"),
    _chunks("empty line ended by LF", b"5\r\nhello\r\n0\r\n\n"),
    _chunks("data not ended", b"5\r\nhello0\r\n\r\n"),
    _chunks("data ended by LF", b"5\r\nhello\n0\r\n\r\n"),
    _chunks("data ended by CR and a letter", b"5\r\nhello\rX0\r\n\r\n"),
    _chunks("data longer than its size", b"4\r\nhello\r\n0\r\n\r\n"),
    _chunks("extension with a bare LF", b"5;a\nxx\r\nhello\r\n0\r\n\r\n"),
    _chunks("extension with a bare CR", b"5;a\rxx\r\nhello\r\n0\r\n\r\n"),
    _chunks("extension with a NUL", b"5;a=\x00\r\nhello\r\n0\r\n\r\n"),
    _chunks("extension without a name", b"5;=b\r\nhello\r\n0\r\n\r\n"),
    _chunks("extension without a value", b"5;a=\r\nhello\r\n0\r\n\r\n"),
    _chunks("extension quote left open", b'5;a="b\r\nhello\r\n0\r\n\r\n'),
    _chunks("extension after white space", b"5 ;a=b\r\nhello\r\n0\r\n\r\n", EITHER_HELLO),
    _chunks(
        "extension of 100 KiB",
        b"5;a=" + b"b" * 102400 + b"\r\nhello\r\n0\r\n\r\n",
        Expect((400, 413, 431)),
    ),
    _chunks("TERM.EXT", b"5;\n" + b"x" * 3 + b"\r\nhello\r\n0\r\n\r\n"),
    _chunks("trailer with a bare LF", b"5\r\nhello\r\n0\r\nX: y\nZ: z\r\n\r\n"),
    _chunks("trailer folded", b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"),
    _chunks("trailer without a colon", b"5\r\nhello\r\n0\r\nX\r\n\r\n"),
    _chunks("trailer with space before the colon", b"5\r\nhello\r\n0\r\nX : y\r\n\r\n"),
    _chunks("trailer with a NUL", b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n"),
    _chunks(
        "trailer Content-Length", b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", EITHER_HELLO
    ),
    _chunks(
        "trailer Transfer-Encoding",
        b"5\r\nhello\r\n0\r\nTransfer-Encoding: x\r\n\r\n",
        EITHER_HELLO,
    ),
    _chunks("trailer Host", b"5\r\nhello\r\n0\r\nHost: b.test\r\n\r\n", EITHER_HELLO),
    _chunks(
        "trailers of 2 MiB",
        b"0\r\n" + b"X: %s\r\n" % (b"y" * 1000) * 2100 + b"\r\n",
        Expect((400, 413, 431)),
    ),
    _chunks(
        "the client stops in a chunk", b"a\r\nhello", Expect((400, 408), dropping=True), finish=True
    ),
    _chunks(
        "the client stops before the last chunk",
        b"5\r\nhello\r\n",
        Expect((400, 408), dropping=True),
        finish=True,
    ),
    _chunks(
        "the client stops in the trailers",
        b"5\r\nhello\r\n0\r\nX: y\r\n",
        Expect((400, 408), dropping=True),
        finish=True,
    ),
]

_INSIDE = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)


def _with_method(method: bytes) -> RequestCase:
    raw = post(b"Transfer-Encoding: chunked", body=_INSIDE).replace(b"POST", method, 1)
    name = f"methods: TE.0 with {method.decode()}"
    return RequestCase(name, raw, Expect(passed=True, body=SMUGGLED))


METHODS = [_with_method(method) for method in (b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"FROB")] + [
    RequestCase(
        "methods: Expect with a body that does not wait",
        post(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello"),
        HELLO,
    ),
    RequestCase(
        "methods: Expect obscured",
        post(b"Expect: y 100-continue", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        Expect(refused=(400, 417), passed=True, body=SMUGGLED),
    ),
    RequestCase(
        "methods: Expect twice",
        post(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 5", body=b"hello"),
        EITHER_HELLO,
    ),
    RequestCase(
        "methods: GET that expects and announces a body it sends",
        b"GET /case/@ID HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(SMUGGLED), SMUGGLED),
        Expect(passed=True, body=SMUGGLED),
    ),
    RequestCase(
        "methods: override",
        post(b"X-HTTP-Method-Override: DELETE", b"Content-Length: 5", body=b"hello"),
        HELLO,
    ),
    RequestCase(
        "methods: a compressed body",
        post(b"Content-Encoding: gzip", b"Content-Length: 5", body=b"\x1f\x8b\x00\r\n"),
        Expect(passed=True, body=b"\x1f\x8b\x00\r\n"),
    ),
    RequestCase(
        "methods: the length's name broken by a line's end",
        post(b"Content-Length\r\n: 5", body=b"hello"),
        REFUSED,
    ),
]

CASES = [*LENGTHS, *BOTH, *CODINGS, *CHUNKS, *METHODS]
