"""The recorder: what a record holds, and which exchanges become one."""

import pytest
from recorder_fakes import MARK, STARTED_US, Bench, answered

from mirrorproxy.capture.filters import Filters
from mirrorproxy.capture.recorder import ServicePolicy
from mirrorproxy.clock import id_time_us
from mirrorproxy.record import Request, Response


def test_an_exchange_becomes_a_record():
    """Everything that was seen stands in the line, in its order and case."""
    bench = Bench()
    tap = bench.begin(
        "PATCH",
        "/orders/1?x=%zz&\xe5",
        "x-Odd:  spaced \t\r\nX-ODD: again\r\n"
        "Content-Type: application/json\r\nContent-Length: 9\r\n",
    )
    tap.request_data(b'{"a":')
    tap.request_data(b"[1]}")
    tap.request_end()
    tap.response_head(answered("201 Created\r\nLocation: /orders/1\r\nContent-Length: 2\r\n"))
    tap.response_data(b"ok")
    tap.finish(12_345)

    [exchange] = bench.exchanges
    assert exchange.v == 1
    assert exchange.service == "orders"
    assert exchange.via == "inline"
    assert exchange.node == "mirror-1/0"
    assert exchange.started_us == STARTED_US
    assert id_time_us(exchange.id) == STARTED_US
    assert exchange.duration_us == 12_345
    assert exchange.client == "192.0.2.1"
    assert exchange.scheme == "http"
    assert exchange.upstream == "http://10.0.3.7:8080"
    assert exchange.failure is None
    assert exchange.request == Request(
        method="PATCH",
        target="/orders/1?x=%zz&\xe5",
        version="1.1",
        headers=[
            ("Host", "api.example.com"),
            ("x-Odd", "spaced"),
            ("X-ODD", "again"),
            ("Content-Type", "application/json"),
            ("Content-Length", "9"),
        ],
        body='{"a":[1]}',
        body_encoding="utf8",
        body_bytes=9,
    )
    assert exchange.response == Response(
        status=201,
        headers=[("Location", "/orders/1"), ("Content-Length", "2")],
        body_bytes=2,
    )
    assert bench.counts == {"seen": 1, "captured": 1}


def test_a_request_without_a_body():
    """A body that never came is absent, its length zero."""
    bench = Bench()
    bench.run("GET")
    [exchange] = bench.exchanges
    assert exchange.request.body is None
    assert exchange.request.body_bytes == 0
    assert not exchange.request.truncated


def test_a_body_that_is_no_text():
    """Other bytes than UTF-8 stand in base64."""
    bench = Bench()
    bench.run(body=[b"\xff\x00"])
    [exchange] = bench.exchanges
    assert (exchange.request.body, exchange.request.body_encoding) == ("/wA=", "base64")


def test_headers_of_one_connection_are_not_recorded():
    """Hop-by-hop headers, what Connection names, and the routing header are left out."""
    bench = Bench()
    bench.run(
        headers="Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nUpgrade: x\r\n"
        "X-Mirrorproxy-App: orders\r\nTrailer: X-T\r\nX-Kept: 1\r\n",
        answer="200 OK\r\nConnection: close\r\nKeep-Alive: timeout=5\r\nX-Kept: 2\r\n",
    )
    [exchange] = bench.exchanges
    assert exchange.request.headers == [
        ("Host", "api.example.com"),
        ("Trailer", "X-T"),
        ("X-Kept", "1"),
    ]
    assert exchange.response.headers == [("X-Kept", "2")]


def test_trailers_are_recorded_sealed():
    """Trailers of both messages stand in the record, and a secret in them does not."""
    bench = Bench()
    tap = bench.begin()
    tap.request_data(b"x")
    tap.request_end([("X-Token", "s3cret")])
    tap.response_head(answered())
    tap.response_end([("X-Sum", "1"), ("X-Token", "s3cret")])
    tap.finish(1)
    [exchange] = bench.exchanges
    assert exchange.request.trailers == [("X-Token", MARK.decode())]
    assert exchange.response.trailers == [("X-Sum", "1"), ("X-Token", MARK.decode())]
    assert [(c.place, c.name) for c in exchange.credentials] == [("header", "X-Token")]


def test_nothing_unsealed_is_written():
    """Target, headers, bodies and the answer pass the sealer; what it found is listed."""
    bench = Bench(policy=ServicePolicy(response_body=True))
    tap = bench.begin("POST", "/login?t=s3cret", "Authorization: Bearer s3cret\r\n")
    tap.request_data(b"password=s3")
    tap.request_data(b"cret")
    tap.request_end()
    tap.response_head(
        answered("200 OK\r\nContent-Type: application/json\r\nSet-Cookie: s=s3cret\r\n")
    )
    tap.response_data(b'{"token":"s3cret"}')
    tap.finish(1)
    [exchange] = bench.exchanges
    mark = MARK.decode()
    assert b"s3cret" not in bench.writer.lines[0]
    assert exchange.request.target == f"/login?t={mark}"
    assert exchange.request.headers[1] == ("Authorization", f"Bearer {mark}")
    assert exchange.request.body == f"password={mark}"
    assert exchange.request.body_bytes == 15
    assert exchange.response.headers[1] == ("Set-Cookie", f"s={mark}")
    assert exchange.response.body == f'{{"token":"{mark}"}}'
    assert [(c.place, c.name) for c in exchange.credentials] == [
        ("header", "Authorization"),
        ("body", "password"),
    ]


def test_a_body_that_cannot_be_sealed_is_omitted():
    """The record stays, the body does not, and both are counted."""
    bench = Bench()
    bench.run(body=[b"opaque secret"])
    [exchange] = bench.exchanges
    assert exchange.request.omitted == "unsealable"
    assert exchange.request.body is None
    assert exchange.request.body_bytes == 13
    assert bench.counts == {"seen": 1, "captured": 1, "omitted_unsealable": 1}


def test_an_answer_that_cannot_be_sealed_is_omitted():
    """Its body stays out, with the reason, and it counts like a request's."""
    bench = Bench(policy=ServicePolicy(response_body=True))
    tap = bench.begin()
    tap.request_end()
    tap.response_head(answered("200 OK\r\nContent-Type: text/plain\r\n"))
    tap.response_data(b"opaque")
    tap.finish(1)
    response = bench.exchanges[0].response
    assert (response.body, response.omitted, response.body_bytes) == (None, "unsealable", 6)
    assert bench.counts == {"seen": 1, "captured": 1, "omitted_unsealable": 1}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param("application/json; charset=utf-8", "abc", id="JSON"),
        pytest.param("application/problem+json", "abc", id="JSON by suffix"),
        pytest.param("text/html", "abc", id="text"),
        pytest.param("application/xml", "abc", id="XML"),
        pytest.param("application/x-www-form-urlencoded", "abc", id="form"),
        pytest.param("image/png", None, id="binary"),
        pytest.param("application/jsonp", None, id="a longer name"),
    ],
)
def test_bodies_of_answers_are_recorded_by_type(content_type, body):
    """Only text is worth its bytes."""
    bench = Bench(policy=ServicePolicy(response_body=True))
    tap = bench.begin()
    tap.request_end()
    tap.response_head(answered(f"200 OK\r\nContent-Type: {content_type}\r\n"))
    tap.response_data(b"a")
    tap.response_data(b"bc")
    tap.finish(1)
    [exchange] = bench.exchanges
    assert exchange.response.body == body
    assert exchange.response.body_bytes == 3


def test_bodies_of_answers_are_recorded_only_when_asked_for():
    """By default an answer's body is counted, not kept."""
    bench = Bench()
    tap = bench.begin()
    tap.request_end()
    tap.response_head(answered("200 OK\r\nContent-Type: text/plain\r\n"))
    tap.response_data(b"abc")
    tap.finish(1)
    assert bench.exchanges[0].response.body is None
    assert bench.exchanges[0].response.body_bytes == 3


@pytest.mark.parametrize(
    ("headers", "client", "scheme"),
    [
        pytest.param("", "192.0.2.1", "http", id="none: the peer"),
        pytest.param(
            "X-Forwarded-For: 203.0.113.7, 10.0.0.1\r\nX-Forwarded-Proto: https\r\n",
            "203.0.113.7",
            "https",
            id="the first of the list",
        ),
        pytest.param("X-Real-Ip: 203.0.113.9\r\n", "203.0.113.9", "http", id="the other header"),
        pytest.param(
            "X-Real-Ip: 203.0.113.9\r\nx-forwarded-for: 2001:db8::1\r\n",
            "2001:db8::1",
            "http",
            id="both: the list",
        ),
        pytest.param("X-Forwarded-For: unknown\r\n", "192.0.2.1", "http", id="no address"),
        pytest.param("X-Forwarded-For: \r\n", "192.0.2.1", "http", id="empty"),
        pytest.param("X-Forwarded-Proto: wss\r\n", "192.0.2.1", "https", id="a secure socket"),
        pytest.param("X-Forwarded-Proto: gopher\r\n", "192.0.2.1", "http", id="no scheme"),
    ],
)
def test_the_client_is_who_the_proxy_in_front_says(headers, client, scheme):
    """Address and scheme as the client used them."""
    bench = Bench()
    bench.run(headers=headers)
    assert (bench.exchanges[0].client, bench.exchanges[0].scheme) == (client, scheme)


def test_without_a_proxy_in_front_the_client_is_the_peer():
    """Anybody can send these headers; facing clients directly they are not believed."""
    bench = Bench(trust=False)
    bench.run(
        headers="X-Forwarded-For: 203.0.113.7\r\nX-Real-Ip: 203.0.113.9\r\n"
        "X-Forwarded-Proto: https\r\n"
    )
    assert bench.exchanges[0].client == "192.0.2.1"
    assert bench.exchanges[0].scheme == "http"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        pytest.param(None, None, id="no answer at all"),
        pytest.param("200 OK\r\n", 200, id="an answer that broke off"),
    ],
)
def test_a_failed_exchange_is_recorded_with_its_failure(answer, status):
    """Production's failure is part of what happened."""
    bench = Bench()
    tap = bench.begin()
    tap.request_end()
    if answer:
        tap.response_head(answered(answer))
    tap.fail("closed_early", 99)
    [exchange] = bench.exchanges
    assert exchange.failure == "closed_early"
    assert exchange.duration_us == 99
    assert (exchange.response.status if exchange.response else None) == status
    assert bench.counts == {"seen": 1, "captured": 1}


def test_a_request_of_which_not_all_was_seen_is_marked():
    """Half a body must never be replayed as if it were whole."""
    bench = Bench()
    tap = bench.begin()
    tap.request_data(b"half")
    tap.response_head(answered("413 Too Large\r\n"))
    tap.finish(1)
    [exchange] = bench.exchanges
    assert exchange.request.truncated
    assert exchange.request.body == "half"
    assert bench.counts == {"seen": 1, "captured": 1, "truncated": 1}


def test_an_abandoned_request_is_counted_not_recorded():
    """A client that goes away before its request is complete leaves a number."""
    bench = Bench()
    tap = bench.begin()
    tap.request_data(b"half")
    tap.abandon("client_aborted")
    tap.finish(1)
    assert bench.writer.lines == []
    assert bench.counts == {"seen": 1, "dropped_client_aborted": 1}


def test_an_exchange_ends_once():
    """Whatever is told after the end is ignored."""
    bench = Bench()
    tap = bench.run()
    tap.fail("reset", 1)
    tap.abandon("client_aborted")
    tap.request_data(b"late")
    tap.response_data(b"late")
    assert bench.counts == {"seen": 1, "captured": 1}


@pytest.mark.parametrize(
    ("filters", "headers", "answer", "field"),
    [
        pytest.param(Filters(methods=["GET"]), "", "200 OK\r\n", "filtered_method", id="method"),
        pytest.param(Filters(exclude=["/o*"]), "", "200 OK\r\n", "filtered_path", id="path"),
        pytest.param(
            Filters(content_types=["application/json"]),
            "Content-Type: image/png\r\n",
            "200 OK\r\n",
            "filtered_content_type",
            id="content type",
        ),
        pytest.param(Filters(status=["5xx"]), "", "200 OK\r\n", "filtered_status", id="status"),
        pytest.param(
            Filters(),
            "x-mirrorproxy-REPLAY: run/id\r\n",
            "200 OK\r\n",
            "filtered_replay",
            id="replayed traffic",
        ),
    ],
)
def test_filtered_exchanges_are_counted_by_reason(filters, headers, answer, field):
    """Each filter has its number, and nothing is written."""
    bench = Bench(policy=ServicePolicy(filters=filters))
    bench.run(headers=headers, answer=answer, body=[b"x"])
    assert bench.writer.lines == []
    assert bench.counts == {"seen": 1, field: 1}


def test_the_mark_of_a_replay_counts_only_as_a_header():
    """Naming it in a value does not hide a request from the capture."""
    bench = Bench()
    bench.run(headers="X-Note: X-Mirrorproxy-Replay: x\r\n")
    assert bench.counts == {"seen": 1, "captured": 1}


def test_a_service_without_a_policy_is_recorded_whole():
    """Policies are by service."""
    bench = Bench(policy=ServicePolicy(filters=Filters(methods=["GET"])))
    head = bench.begin("POST", "/x")
    assert bench.counts == {"seen": 1, "filtered_method": 1}
    bench.recorder.set_policy("orders", ServicePolicy())
    bench.run("POST", "/x")
    assert head is not None
    assert bench.counts == {"seen": 2, "filtered_method": 1, "captured": 1}


def test_a_share_by_id():
    """About a tenth is recorded; each exchange is one or the other."""
    bench = Bench(policy=ServicePolicy(percent=10))
    for _ in range(500):
        bench.run()
    counts = bench.counts
    assert counts["captured"] + counts["sampled"] == 500
    assert 20 <= counts["captured"] <= 90
    assert len(bench.writer.lines) == counts["captured"]


@pytest.mark.parametrize("percent", [0, 100])
def test_none_and_all(percent):
    """0 % records nothing, 100 % everything."""
    bench = Bench(policy=ServicePolicy(percent=percent, percent_by="session"))
    for _ in range(20):
        bench.run()
    assert len(bench.writer.lines) == (20 if percent else 0)


@pytest.mark.parametrize(
    ("headers", "other"),
    [
        pytest.param(
            "Authorization: Bearer s3cret-{n:08d}\r\nCookie: sid=s3cret-{other:08d}\r\n",
            "Authorization",
            id="the credential",
        ),
        pytest.param(
            "Cookie: theme=s3cret-{other:08d}\r\nCookie: SESSIONID=s3cret-{n:08d}\r\n",
            "cookie",
            id="a cookie named like a session's",
        ),
        pytest.param(
            "X-Forwarded-For: 10.0.0.{n}\r\nCookie: theme=s3cret-{other:08d}\r\n",
            "client",
            id="the client",
        ),
    ],
)
def test_a_session_is_recorded_as_a_whole(headers, other):
    """All requests of a session share its fate, and about half of the sessions are kept."""
    bench = Bench(policy=ServicePolicy(percent=50, percent_by="session"))
    fates = []
    for n in range(40):
        before = len(bench.writer.lines)
        for repeat in range(5):
            bench.run(headers=headers.format(n=n, other=n * 10 + repeat))
        fates.append(len(bench.writer.lines) - before)
    assert set(fates) == {0, 5}
    assert 8 <= fates.count(5) <= 32


def test_the_head_is_sealed_once():
    """What sampling had to seal is not sealed again for the record."""
    bench = Bench(policy=ServicePolicy(percent=99.999, percent_by="session"))
    bench.run()
    assert bench.sealer.heads == 1


def test_what_is_counted_says_how_far_the_segment_is_counted():
    """A supervisor finds from the slot which lines of a dead worker are not counted."""
    bench = Bench()
    bench.run()
    bench.run()
    slot = bench.slot.tolist()
    assert slot[3:6] == [1_700_000_000_000_000, 1, sum(map(len, bench.writer.lines))]
