"""What an inspection adds up, and how one exchange reads."""

from __future__ import annotations

from rich.console import Console

from mirrorproxy.record import Credential, Exchange, Request, Response
from mirrorproxy.report import inspection
from mirrorproxy.report.exchange_text import describe
from mirrorproxy.report.inspection import DamageFound, Inspection, Row, SealedName
from mirrorproxy.report.inspection_text import moment, render


def exchange(number=0, *, method="POST", target="/orders", status=201, **changes) -> Exchange:
    fields = {
        "v": 1,
        "id": f"{number:032x}",
        "service": "orders",
        "via": "inline",
        "node": "m/0",
        "started_us": 1_700_000_000_000_000 + number,
        "duration_us": 2_000,
        "client": "203.0.113.7",
        "scheme": "http",
        "upstream": "http://10.0.0.1:80",
        "request": Request(method, target, "1.1", [("Host", "a")], "{}", "utf8", 2),
        "response": Response(status, [], body_bytes=5),
    }
    return Exchange(**{**fields, **changes})


def summary_of(*exchanges):
    found = Inspection()
    for one in exchanges:
        found.add(one)
    return found.summary()


def test_requests_are_counted_by_shape():
    """Two orders are one row; the most frequent row comes first."""
    summary = summary_of(
        exchange(1, method="GET", target="/health", status=200),
        exchange(2, target="/orders/1"),
        exchange(3, target="/orders/2", status=409),
    )
    assert summary.exchanges == 3
    assert summary.status == {"200": 1, "201": 1, "409": 1}
    assert summary.rows == [
        Row("orders", "POST", "/orders/{int}", 2, {"201": 1, "409": 1}, 4, 10, 4_000, 2_000),
        Row("orders", "GET", "/health", 1, {"200": 1}, 2, 5, 2_000, 2_000),
    ]


def test_the_time_span_ends_with_the_last_answer():
    """Exchanges may come in any order."""
    summary = summary_of(exchange(7), exchange(3))
    assert (summary.first_us, summary.last_us) == (1_700_000_000_000_003, 1_700_000_000_002_007)


def test_failures_are_no_statuses():
    """A connection that timed out stands apart, and so does an answer that nobody saw."""
    summary = summary_of(
        exchange(1, response=None, failure="connect_timeout"),
        exchange(2, response=None, observed=False),
    )
    assert summary.status == {}
    assert summary.failures == {"connect_timeout": 1, "not seen": 1}


def test_bodies_that_are_not_whole_are_counted():
    """Cut, left out and stored apart."""
    summary = summary_of(
        exchange(1, request=Request("PUT", "/", "1.1", [], body_bytes=9, truncated=True)),
        exchange(2, request=Request("PUT", "/", "1.1", [], body_bytes=9, omitted="unsealable")),
        exchange(3, request=Request("PUT", "/", "1.1", [], body_bytes=9, body_ref="bodies/x")),
    )
    assert (summary.truncated, summary.omitted, summary.body_objects) == (1, {"unsealable": 1}, 1)
    assert summary.request_bytes == 27


def test_secrets_are_counted_by_name_and_how_many_differ():
    """The same token in three requests is one token; subjects are counted apart."""

    def with_token(number, token, subject):
        secret = Credential("header", "Authorization", token, "Bearer", subject)
        return exchange(number, credentials=[secret])

    summary = summary_of(
        with_token(1, "h1:0000:aa", "h1:0000:01"),
        with_token(2, "h1:0000:aa", "h1:0000:01"),
        with_token(3, "h1:0000:bb", "h1:0000:01"),
    )
    assert summary.sealed == [SealedName("header", "Authorization", "Bearer", 3, 2, 1)]


def test_memory_is_bounded(monkeypatch):
    """A capture with endless paths, services and tokens makes no endless tables."""
    monkeypatch.setattr(inspection, "MAX_ROWS", 3)
    monkeypatch.setattr(inspection, "MAX_FINGERPRINTS", 2)
    summary = summary_of(
        *(
            exchange(
                number,
                target=f"/{'x' * number}",
                service=f"s{number}",
                credentials=[Credential("cookie", f"c{number}", f"h1:0000:{number}")],
            )
            for number in range(1, 9)
        )
    )
    assert len(summary.rows) == 4
    assert summary.rows[0] == Row("", "", "(other paths)", 5, {"201": 5}, 10, 25, 10_000, 2_000)
    assert summary.services == {"s1": 1, "s2": 1, "s3": 1, "(others)": 5}
    assert [name.distinct for name in summary.sealed] == [1, 1, 0]


def test_damage_is_counted_and_the_first_is_named(monkeypatch):
    """The list is bounded, the count is not."""
    monkeypatch.setattr(inspection, "MAX_DAMAGES", 1)
    found = Inspection()
    found.add_damage("a.gz", 12, "bad checksum", 40)
    found.add_damage("b.gz", None, "cannot be opened", None)
    summary = found.summary()
    assert (summary.damages, summary.damaged_lines) == (2, 40)
    assert summary.first_damages == [DamageFound("a.gz", 12, "bad checksum", 40)]


def test_nothing_captured_acts_on_the_terminal():
    """Escape sequences and markup from a capture are shown, not obeyed."""
    hostile = exchange(
        1,
        service="\x1b[2Jsvc",
        request=Request("GET", "/[red]x[/red]\x9b31m", "1.1", [("X", "\x1b]0;title\x07")]),
    )
    found = Inspection()
    found.add(hostile)
    found.add_damage("\x1b[2J.gz", 0, "bad", None)
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(render(found.summary()))
    text = console.export_text() + describe(hostile)
    assert "/[red]x[/red]\\x9b31m" in text
    assert "\\x1b[2J.gz" in text
    assert "X: \\x1b]0;title\\x07" in text
    assert not {"\x1b", "\x9b", "\x07"} & set(text)


def test_an_exchange_reads_like_the_wire():
    """JSON is laid out as text: a repeated key and a number's spelling stay as they were sent."""
    body = '{"sku":"A","sku":1.50}'
    text = describe(
        exchange(
            1,
            request=Request("POST", "/orders?x=1", "1.1", [("Host", "a")], body, "utf8", len(body)),
            credentials=[
                Credential("header", "Authorization", "h1:0000:aa", "Bearer", claims={"aud": "x"})
            ],
        )
    )
    assert text.splitlines() == [
        "id        00000000000000000000000000000001",
        "service   orders",
        "seen      inline by m/0",
        "started   2023-11-14 22:13:20.000Z, took 2.0 ms",
        "client    203.0.113.7 by http, upstream http://10.0.0.1:80",
        'secret    header Authorization Bearer: h1:0000:aa, claims {"aud": "x"}',
        "",
        "POST /orders?x=1 HTTP/1.1",
        "Host: a",
        "",
        "{",
        '  "sku": "A",',
        '  "sku": 1.50',
        "}",
        "",
        "201 Created",
        "",
        "(5 bytes, not recorded)",
    ]


def test_bodies_that_cannot_be_shown_are_described():
    """Binary by its first bytes, stored apart by its place, left out by the reason."""
    binary = Request("PUT", "/", "1.1", [], "iVBORw==", "base64", 4)
    apart = Response(299, [], body_ref="bodies/x", body_bytes=70_000)
    text = describe(exchange(1, request=binary, response=apart))
    assert "(4 bytes) 89 50 4e 47" in text
    assert text.endswith("299\n\n(70000 bytes in bodies/x)")
    omitted = Request("PUT", "/", "1.1", [], body_bytes=3, omitted="unsealable")
    assert "(3 bytes, left out: unsealable)" in describe(exchange(1, request=omitted))


def test_moments_beyond_the_calendar_are_shown_as_its_end():
    """A record's duration is a stranger's number."""
    assert moment(2**62) == "9999-12-31 23:59:59.999Z"
