"""Access logs: what one line of Traefik's says, whoever shipped it."""

from __future__ import annotations

import json

import pytest
from support.access_lines import PLAIN, SHIPPED, STARTED_US, TRAEFIK_1, TRAEFIK_3, line

from mirrorproxy.clock import id_time_us
from mirrorproxy.codec import MalformedRecord, encode_line
from mirrorproxy.record import BODY_NOT_LOGGED
from mirrorproxy.sources.access_log import COMMON_LOG_FORMAT, decode


def test_a_line_of_traefik_3():
    """Method, target and headers are the client's; what Traefik added is gone."""
    exchange = decode(PLAIN.encode())
    request = exchange.request
    assert (request.method, request.target, request.version) == ("GET", "/orders?x=1&y=%20", "1.1")
    assert request.headers == [
        ("Host", "api.example.com:8443"),
        ("Accept", "application/json"),
        ("User-Agent", "curl/8"),
        ("X-Multi", "one,two"),
    ]
    assert (request.body_bytes, request.omitted) == (0, None)
    assert (exchange.via, exchange.service, exchange.upstream, exchange.scheme) == (
        "access-log",
        "orders",
        "http://10.0.3.7:8080",
        "https",
    )
    assert (exchange.client, exchange.started_us, exchange.duration_us) == (
        "203.0.113.7",
        STARTED_US,
        1432,
    )
    assert exchange.response is not None
    assert exchange.response.status == 201
    assert exchange.observed is False


def test_a_line_of_traefik_1():
    """Backends are services, their URL is an object, and the scheme is what was forwarded."""
    exchange = decode(line(TRAEFIK_1))
    assert (exchange.service, exchange.upstream, exchange.scheme, exchange.client) == (
        "backend-orders",
        "http://10.0.3.7:8080",
        "https",
        "203.0.113.7",
    )
    assert exchange.request.headers == [("Host", "api.example.com"), ("Accept", "application/json")]


def test_a_line_of_traefik_1_3():
    """Its first JSON logs called everything HTTP..., and had the request's line."""
    old = {
        "BackendURL": "http://10.0.3.7:8080",
        "ClientRemoteAddr": "203.0.113.7:4711",
        "Duration": 1000000,
        "HTTPHost": "api.example.com",
        "HTTPMethod": "GET",
        "HTTPProtocol": "HTTP/1.0",
        "HTTPRequestPath": "/old",
        "OriginStatus": 204,
        "StartUTC": "2017-05-01T00:00:00Z",
    }
    exchange = decode(line(old))
    assert (exchange.request.method, exchange.request.target, exchange.request.version) == (
        "GET",
        "/old",
        "1.0",
    )
    assert (exchange.client, exchange.response and exchange.response.status) == ("203.0.113.7", 204)
    by_line = {"HTTPRequestLine": "GET /a b HTTP/1.1", "StartUTC": "2017-05-01T00:00:00Z"}
    assert decode(line(by_line)).request.target == "/a b"


@pytest.mark.parametrize("shipped", SHIPPED.values(), ids=SHIPPED)
def test_shippers_change_nothing(shipped):
    """The same line is the same exchange, its id included, whoever handed it on."""
    assert decode(shipped.encode()) == decode(PLAIN.encode())


def test_the_same_line_has_the_same_id_and_another_line_another():
    """The id holds the time to a quarter of a microsecond, and is a UUIDv7."""
    one, again, other = decode(line()), decode(line()), decode(line(RequestCount=8))
    assert one.id == again.id
    assert one.id != other.id
    assert abs(id_time_us(one.id) - STARTED_US) <= 1
    assert (one.id[12], one.id[16] in "89ab") == ("7", True)


@pytest.mark.parametrize(
    ("changes", "omitted", "size"),
    [
        pytest.param({}, None, 0, id="no body"),
        pytest.param({"RequestContentSize": 3}, BODY_NOT_LOGGED, 3, id="counted: chunked too"),
        pytest.param({"request_Content-Length": "3"}, BODY_NOT_LOGGED, 3, id="announced, unread"),
        pytest.param({"request_Content-Length": "0"}, None, 0, id="announced as empty"),
        pytest.param(
            {"RequestMethod": "POST", "RequestContentSize": None}, BODY_NOT_LOGGED, None,
            id="a POST of unknown length",
        ),
        pytest.param({"RequestMethod": "POST"}, None, 0, id="a POST of nothing"),
        pytest.param({"RequestContentSize": None}, None, 0, id="a GET of unknown length"),
    ],
)  # fmt: skip
def test_whether_there_was_a_body(changes, omitted, size):
    """The log never holds it, but says whether there was one."""
    request = decode(line(**changes)).request
    assert (request.omitted, request.body_bytes) == (omitted, size)


def test_redacted_secrets_become_marks_and_other_redacted_headers_are_left_out():
    """Nobody can send what the log does not know; sessions are the client's address."""
    names = ("Authorization", "Cookie", "User-Agent")
    redacted = {f"request_{name}": "REDACTED" for name in names}
    one, other = (
        decode(line(**redacted, ClientHost=client)) for client in ("203.0.113.7", "203.0.113.8")
    )
    assert [name for name, _ in one.request.headers] == [
        "Host",
        "Accept",
        "X-Multi",
        "Authorization",
        "Cookie",
    ]
    marks = {name: value for name, value in one.request.headers if value.startswith("{h1:0000:")}
    assert list(marks) == ["Authorization", "Cookie"]
    assert [(c.place, c.name, f"{{{c.fingerprint}}}") for c in one.credentials] == [
        ("header", "Authorization", marks["Authorization"]),
        ("cookie", "Cookie", marks["Cookie"]),
    ]
    assert one.credentials[0].fingerprint != other.credentials[0].fingerprint


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"StartUTC": "2023-11-14T22:13:20Z"}, 1_700_000_000_000_000, id="no fraction"),
        pytest.param({"StartUTC": "2023-11-14T22:13:20.1Z"}, 1_700_000_000_100_000, id="a tenth"),
        pytest.param({"StartUTC": None}, STARTED_US, id="local time"),
        pytest.param(
            {"StartUTC": None, "StartLocal": None}, 1_700_000_000_000_000 - 1432,
            id="when it was written, less how long it took",
        ),
    ],
)  # fmt: skip
def test_when_it_began(changes, expected):
    """The best clock that the log kept."""
    assert decode(line(**changes)).started_us == expected


def test_unicode_is_its_bytes():
    """Records hold bytes as latin-1."""
    exchange = decode(
        json.dumps({**TRAEFIK_3, "RequestPath": "/?q=ü", "request_X-Name": "ü"}).encode()
    )
    assert exchange.request.target == "/?q=Ã¼"
    assert ("X-Name", "Ã¼") in exchange.request.headers


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param(
            b'203.0.113.7 - - [14/Nov/2023:22:13:20 +0000] "GET / HTTP/1.1" 200 1 "-" "-" 1',
            COMMON_LOG_FORMAT,
            id="the common log format",
        ),
        pytest.param(
            b'{"log":"203.0.113.7 - - [14/Nov/2023:22:13:20 +0000] \\"GET / HTTP/1.1\\" 200"}',
            COMMON_LOG_FORMAT,
            id="the common log format, shipped",
        ),
        pytest.param(line(RequestPath=None, RequestLine=None), "names no path", id="no path"),
        pytest.param(line(RequestMethod=None), "names no method", id="no method"),
        pytest.param(
            line(StartUTC=None, StartLocal=None, time=None), "holds no time", id="no time"
        ),
        pytest.param(line()[:-20], "truncated", id="cut"),
        pytest.param(
            b'{"level":"info","msg":"Starting"}', "missing required field", id="another log"
        ),
        pytest.param(b'{"log":{"log":{"log":{"log":{"log":{}}}}}}', "missing", id="nested"),
        pytest.param(b"\xff{", "JSON is malformed|UTF-8|not a valid record", id="noise"),
    ],
)
def test_what_is_no_entry_is_refused_in_one_line(bad, reason):
    """And nothing of the line is repeated."""
    with pytest.raises(MalformedRecord, match=reason):
        decode(bad)


def test_records_are_records_whatever_comes_first_in_them():
    """Both kinds may lie in one directory; other makers order keys their own way."""
    exchange = decode(line())
    record = encode_line(exchange)
    assert decode(record) == exchange
    assert decode(json.dumps(dict(reversed(json.loads(record).items()))).encode()) == exchange
