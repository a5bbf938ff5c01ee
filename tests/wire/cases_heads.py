"""Raw requests whose head is broken, odd, ugly or large."""

from __future__ import annotations

from cases_framing import post
from support.conformance import Expect, RequestCase

REFUSED = Expect(refused=(400,))
PASSED = Expect(passed=True)
EITHER = Expect(refused=(400,), passed=True)
UGLY = b'?q=bl\xe5b|{}"^<>'


def line(name: str, start: bytes, expect: Expect, strict: Expect | None = None) -> RequestCase:
    """Return a case of a request line with one good Host."""
    return RequestCase(f"line: {name}", start + b"\r\nHost: a.test\r\n\r\n", expect, strict)


def target(name: str, text: bytes, expect: Expect, strict: Expect | None = None) -> RequestCase:
    """Return a case of a target in a GET."""
    raw = b"GET " + text + b" HTTP/1.1\r\nHost: a.test\r\n\r\n"
    return RequestCase(f"target: {name}", raw, expect, strict)


def fields(name: str, block: bytes, expect: Expect, strict: Expect | None = None) -> RequestCase:
    """Return a case of field lines after one good Host."""
    raw = b"GET /case/@ID HTTP/1.1\r\nHost: a.test\r\n" + block + b"\r\n\r\n"
    return RequestCase(f"field: {name}", raw, expect, strict)


def host(name: str, block: bytes, expect: Expect, strict: Expect | None = None) -> RequestCase:
    """Return a case of all Host lines in a GET; block is empty or ends with CRLF."""
    raw = b"GET /case/@ID HTTP/1.1\r\n" + block + b"X: y\r\n\r\n"
    return RequestCase(f"host: {name}", raw, expect, strict)


LINES = [
    line("lower-case method", b"get /case/@ID HTTP/1.1", PASSED),
    line("unknown method", b"FROB /case/@ID HTTP/1.1", PASSED),
    line("method of all token signs", b"!#$%&'*+-.^_`|~ /case/@ID HTTP/1.1", PASSED),
    line("PURGE", b"PURGE /case/@ID HTTP/1.1", PASSED),
    line("M-SEARCH", b"M-SEARCH /case/@ID HTTP/1.1", PASSED),
    line("QUERY", b"QUERY /case/@ID HTTP/1.1", PASSED),
    line("PROPFIND", b"PROPFIND /case/@ID HTTP/1.1", PASSED),
    line("method with a parenthesis", b"G(T /case/@ID HTTP/1.1", REFUSED),
    line("method with a NUL", b"G\x00T /case/@ID HTTP/1.1", REFUSED),
    line("method with a colon", b"G:T /case/@ID HTTP/1.1", REFUSED),
    line("no method", b" /case/@ID HTTP/1.1", REFUSED),
    line("no target", b"GET HTTP/1.1", REFUSED),
    line("no version", b"GET /case/@ID", Expect((400, 505), dropping=True)),
    line("two spaces before the target", b"GET  /case/@ID HTTP/1.1", REFUSED),
    line("two spaces before the version", b"GET /case/@ID  HTTP/1.1", REFUSED),
    line("space after the version", b"GET /case/@ID HTTP/1.1 ", REFUSED),
    line("space before the method", b" GET /case/@ID HTTP/1.1", REFUSED),
    line("tabs for spaces", b"GET\t/case/@ID\tHTTP/1.1", REFUSED),
    line("vertical tab for a space", b"GET\x0b/case/@ID HTTP/1.1", REFUSED),
    line("bare CR before the version", b"GET /case/@ID\rHTTP/1.1", REFUSED),
    line("lower-case version", b"GET /case/@ID http/1.1", REFUSED),
    line(
        "HTTP/1.2",
        b"GET /case/@ID HTTP/1.2",
        Expect((400, 505), passed=True, start=b"GET /case/@ID HTTP/1.1"),
    ),
    line("HTTP/2.0", b"GET /case/@ID HTTP/2.0", Expect((400, 505))),
    line("HTTP/0.9 by name", b"GET /case/@ID HTTP/0.9", Expect((400, 505))),
    line("HTTP/9.9", b"GET /case/@ID HTTP/9.9", Expect((400, 505))),
    line("HTTP/1.10", b"GET /case/@ID HTTP/1.10", Expect((400, 505))),
    line("HTTP/01.1", b"GET /case/@ID HTTP/01.1", Expect((400, 505))),
    line("HTTP/1", b"GET /case/@ID HTTP/1", Expect((400, 505))),
    line("HTTP/1,1", b"GET /case/@ID HTTP/1,1", Expect((400, 505))),
    line("another protocol", b"GET /case/@ID SPDY/1.1", Expect((400, 505))),
    line("preface of HTTP/2", b"PRI * HTTP/2.0", Expect((400, 505), dropping=True)),
    line("empty line before", b"\r\nGET /case/@ID HTTP/1.1", PASSED),
    line("bare LF before", b"\nGET /case/@ID HTTP/1.1", EITHER),
    line("bare CR before", b"\rGET /case/@ID HTTP/1.1", REFUSED),
    RequestCase(
        "line: all lines ended by LF", b"GET /case/@ID HTTP/1.1\nHost: a.test\n\n", REFUSED
    ),
    RequestCase("line: ended by LF", b"GET /case/@ID HTTP/1.1\nHost: a.test\r\n\r\n", REFUSED),
    RequestCase(
        "line: a TLS greeting",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        Expect((400,), dropping=True),
    ),
    RequestCase(
        "line: CONNECT",
        b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
        Expect((400, 405, 501)),
    ),
]

TARGETS = [
    target("ugly query", b"/case/@ID" + UGLY, PASSED, REFUSED),
    target("raw UTF-8", b"/case/@ID/\xc3\xa5\xe2\x82\xac", PASSED, REFUSED),
    target("invalid UTF-8", b"/case/@ID/\xff\xfe", PASSED, REFUSED),
    target("backslash", b"/case/@ID\\..\\x", PASSED, REFUSED),
    target("brackets", b"/case/@ID?a[]=1&b[c]=2", PASSED, EITHER),
    target("broken escapes", b"/case/@ID/%?a=%zz%4", PASSED, EITHER),
    target("escapes in both cases", b"/case/@ID/%2f%2F%41", PASSED),
    target("encoded NUL, CR and LF", b"/case/@ID/%00%0d%0a", PASSED),
    target("dot segments", b"/a/../b/./case/@ID/..", PASSED),
    target("encoded dot segments", b"/case/@ID/%2e%2e/%2E", PASSED),
    target("many slashes", b"//case//case/@ID///", PASSED),
    target("empty query", b"/case/@ID?", PASSED),
    target("two question marks", b"/case/@ID??a?b", PASSED),
    target("semicolons and pluses", b"/case/@ID;v=1?a=1;b=2+3&a=4", PASSED),
    target("sub-delimiters", b"/case/@ID/!$&'()*+,;=:@-._~", PASSED),
    target("fragment", b"/case/@ID#part", EITHER, REFUSED),
    target("30 KiB", b"/case/@ID?" + b"a" * 30720, PASSED),
    target("100 KiB", b"/case/@ID?" + b"a" * 102400, PASSED),
    target("2 MiB", b"/case/@ID?" + b"a" * 2097152, Expect((414, 431))),
    target("space", b"/case/@ID a", REFUSED),
    target("tab", b"/case/@ID\ta", REFUSED),
    target("NUL", b"/case/@ID\x00a", REFUSED),
    target("escape byte", b"/case/@ID\x1ba", REFUSED),
    target("DEL", b"/case/@ID\x7fa", REFUSED),
    target("bare CR", b"/case/@ID\ra", REFUSED),
    target("bare LF", b"/case/@ID\na", REFUSED),
    target("no slash", b"case/@ID", REFUSED),
    target("query alone", b"?/case/@ID", REFUSED),
    target("asterisk with GET", b"*", REFUSED),
    target("authority with GET", b"a.test:80", REFUSED),
    target(
        "absolute, same host", b"http://a.test/case/@ID?x=1", Expect(passed=True, refused=(400,))
    ),
    target("absolute, other host than Host", b"http://b.test/case/@ID", REFUSED),
    target("absolute with user", b"http://u:p@a.test/case/@ID", EITHER),
    target("absolute without host", b"http:///case/@ID", REFUSED),
    target("absolute, another scheme", b"ftp://a.test/case/@ID", EITHER),
    RequestCase("target: OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", PASSED),
    RequestCase(
        "target: OPTIONS with a path", b"OPTIONS /case/@ID HTTP/1.1\r\nHost: a.test\r\n\r\n", PASSED
    ),
]

HOSTS = [
    host("missing", b"", REFUSED),
    host("empty", b"Host:\r\n", EITHER),
    host("repeated, equal", b"Host: a.test\r\nHost: a.test\r\n", REFUSED),
    host("repeated, different", b"Host: a.test\r\nhost: b.test\r\n", REFUSED),
    host("joined", b"Host: a.test, b.test\r\n", REFUSED),
    host("two words", b"Host: a.test b.test\r\n", REFUSED),
    host("user", b"Host: u@a.test\r\n", REFUSED),
    host("path", b"Host: a.test/x\r\n", REFUSED),
    host("query", b"Host: a.test?x\r\n", REFUSED),
    host("fragment", b"Host: a.test#x\r\n", REFUSED),
    host("backslash", b"Host: a.test\\x\r\n", REFUSED),
    host("scheme", b"Host: http://a.test\r\n", REFUSED),
    host("raw bytes", b"Host: \xc3\xa5.test\r\n", REFUSED),
    host("port not a number", b"Host: a.test:8o\r\n", REFUSED),
    host("open bracket", b"Host: [::1\r\n", REFUSED),
    host("folded", b"Host:\r\n a.test\r\n", REFUSED),
    host("space before the colon", b"Host : a.test\r\n", REFUSED),
    host("space before the name", b" Host: a.test\r\n", REFUSED),
    host("with a port", b"Host: a.test:8080\r\n", PASSED),
    host("with an empty port", b"Host: a.test:\r\n", EITHER),
    host("IPv6", b"Host: [::1]:8080\r\n", PASSED),
    host("underscore", b"Host: my_app.test\r\n", PASSED),
    host("capitals", b"HOST: A.Test\r\n", PASSED),
    RequestCase(
        "host: last of all lines", b"GET /case/@ID HTTP/1.1\r\nX: y\r\nHost: a.test\r\n\r\n", PASSED
    ),
    RequestCase(
        "host: missing in HTTP/1.0",
        b"GET /case/@ID HTTP/1.0\r\nX: y\r\n\r\n",
        Expect(refused=(400,), passed=True, added=(b"Host",), keep=False),
    ),
]

FIELDS = [
    fields(
        "order, case and repeats",
        b"x-b: 1\r\nX-A: 2\r\nX-b: 3\r\nCookie: a=1\r\ncookie: b=2",
        PASSED,
    ),
    fields("token signs in a name", b"!#$%&'*+-.^_`|~: y", PASSED),
    fields("underscore in a name", b"X_Y: z", PASSED),
    fields("empty value", b"X-Empty:\r\nX-Blank:   ", PASSED),
    fields("white space inside a value", b"X: a \t b", PASSED),
    fields("obs-text", b"X-Name: bl\xe5b \xff", PASSED),
    fields("quotes, commas, colons", b'X: "a, b": c; d=:', PASSED),
    fields("300 lines", b"\r\n".join(b"X-%d: v%d" % (n, n) for n in range(300)), PASSED),
    fields("cookie of 100 KiB", b"Cookie: a=" + b"c" * 102400, PASSED),
    fields(
        "800 KiB in all", b"\r\n".join(b"X-%d: %s" % (n, b"v" * 4000) for n in range(200)), PASSED
    ),
    fields(
        "2 MiB in all",
        b"\r\n".join(b"X-%d: %s" % (n, b"v" * 4000) for n in range(520)),
        Expect((431,)),
    ),
    fields("one line of 2 MiB", b"X: " + b"v" * 2097152, Expect((431,))),
    fields("folded", b"X: a\r\n b", REFUSED),
    fields("folded with a tab", b"X: a\r\n\tb", REFUSED),
    fields("folded first line", b" X: a", REFUSED),
    fields("a line of white space", b"X: a\r\n \r\nY: b", REFUSED),
    fields("space before the colon", b"X : a", REFUSED),
    fields("tab before the colon", b"X\t: a", REFUSED),
    fields("no colon", b"X", REFUSED),
    fields("no name", b": a", REFUSED),
    fields("space in a name", b"X Y: a", REFUSED),
    fields("parenthesis in a name", b"X(Y): a", REFUSED),
    fields("slash in a name", b"X/Y: a", REFUSED),
    fields("quote in a name", b'X"Y: a', REFUSED),
    fields("raw byte in a name", b"X\xe5: a", REFUSED),
    fields("NUL in a name", b"X\x00Y: a", REFUSED),
    fields("DEL in a name", b"X\x7f: a", REFUSED),
    fields("NUL in a value", b"X: a\x00b", REFUSED),
    fields("control byte in a value", b"X: a\x01b", REFUSED),
    fields("vertical tab in a value", b"X: a\x0bb", REFUSED),
    fields("escape byte in a value", b"X: a\x1bb", REFUSED),
    fields("DEL in a value", b"X: a\x7fb", REFUSED),
    fields("bare CR in a value", b"X: a\rY: b", REFUSED),
    fields("bare LF in a value", b"X: a\nY: b", REFUSED),
    fields("CR at the end of a value", b"X: a\r\r\nY: b", REFUSED),
    fields("bare LF that ends the head", b"X: a\n\nGET /smuggled HTTP/1.1\r\nHost: a", REFUSED),
    fields("bare CR that ends the head", b"X: a\r\rGET /smuggled HTTP/1.1\r\nHost: a", REFUSED),
]

HOP_BY_HOP = [
    fields("Connection: close", b"Connection: close", Expect(passed=True, keep=False)),
    fields("Connection: keep-alive", b"Connection: keep-alive", Expect(passed=True, keep=True)),
    fields("Connection: Close", b"connection: x, Close", Expect(passed=True, keep=False)),
    fields("Keep-Alive", b"Keep-Alive: timeout=5", PASSED),
    fields("Proxy-Connection", b"Proxy-Connection: keep-alive", PASSED),
    fields("TE", b"TE: trailers, deflate\r\nConnection: TE", PASSED),
    fields(
        "named by Connection",
        b"Connection: X-One, x-two\r\nX-One: 1\r\nX-TWO: 2\r\nX-3: 3",
        Expect(passed=True, dropped=(b"X-One", b"X-Two")),
    ),
    fields(
        "named by a second Connection",
        b"X-One: 1\r\nConnection: close\r\nConnection: X-One",
        Expect(passed=True, dropped=(b"X-One",), keep=False),
    ),
    fields("Host named by Connection", b"Connection: Host", EITHER),
    fields("Proxy-Authorization", b"Proxy-Authorization: Basic eDp5", PASSED),
    fields("Trailer", b"Trailer: X-Sum", PASSED),
    fields("Upgrade that is not asked for", b"Upgrade: websocket", PASSED),
    fields(
        "Upgrade: h2c",
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
        Expect(refused=(400,), passed=True, dropped=(b"HTTP2-Settings",)),
    ),
    fields(
        "forwarding fields",
        b"X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nVia: 1.1 x",
        PASSED,
    ),
    fields("Max-Forwards", b"Max-Forwards: 3", PASSED),
    fields("Expect that is unknown", b"Expect: the-moon", Expect(passed=True, refused=(417,))),
    RequestCase(
        "field: HTTP/1.0",
        b"GET /case/@ID HTTP/1.0\r\nHost: a.test\r\n\r\n",
        Expect(passed=True, keep=False),
    ),
    RequestCase(
        "field: HTTP/1.0 kept alive",
        b"GET /case/@ID HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n",
        Expect(passed=True),
    ),
    RequestCase(
        "field: HTTP/1.0 with a body",
        post(b"Content-Length: 5", body=b"hello", version=b"1.0"),
        Expect(passed=True, body=b"hello", keep=False),
    ),
    RequestCase(
        "field: DELETE with a body",
        b"DELETE /case/@ID HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
        Expect(passed=True, body=b"hello"),
    ),
    RequestCase(
        "field: HEAD",
        b"HEAD /case/@ID HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Expect(passed=True, keep=True),
    ),
    RequestCase(
        "field: TRACE",
        b"TRACE /case/@ID HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Expect(passed=True, refused=(405, 501)),
    ),
]

CASES = [*LINES, *TARGETS, *HOSTS, *FIELDS, *HOP_BY_HOP]
