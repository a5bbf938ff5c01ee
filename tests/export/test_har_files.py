"""HAR documents as browsers, proxies and test tools write them, and as nobody should."""

from __future__ import annotations

import base64
import gzip
import io
import json
from typing import Any

import pytest
from exported_samples import read, read_all

from mirrorproxy.codec import MalformedRecord, body_of
from mirrorproxy.marks import parse_mark
from mirrorproxy.members import Damage
from mirrorproxy.record import Exchange, Request, Response
from mirrorproxy.sources.har import exchange_of
from mirrorproxy.sources.har_entries import HarEntry, read_entries

# As a browser writes it: HTTP/2, a redirect, times in fractions.
ENTRY: dict[str, Any] = {
    "_initiator": {"type": "script"},
    "startedDateTime": "2024-01-02T03:04:05.678+01:00",
    "time": 12.5,
    "request": {
        "method": "POST",
        "url": "https://Shop.example:8443/api/cart?a=1&b=%20x#top",
        "httpVersion": "http/2.0",
        "headers": [
            {"name": ":authority", "value": "shop.example:8443"},
            {"name": ":method", "value": "POST"},
            {"name": "content-type", "value": "application/json"},
            {"name": "cookie", "value": "sid=1; theme=dark"},
        ],
        "queryString": [],
        "cookies": [],
        "headersSize": -1,
        "bodySize": 7,
        "postData": {"mimeType": "application/json", "text": '{"n":1}'},
    },
    "response": {
        "status": 201,
        "statusText": "",
        "httpVersion": "http/2.0",
        "headers": [
            {"name": "content-type", "value": "application/json"},
            {"name": "content-encoding", "value": "br"},
            {"name": "set-cookie", "value": "a=1\nb=2"},
        ],
        "content": {"size": 9, "mimeType": "application/json", "text": '{"id":42}'},
        "bodySize": -1,
    },
    "serverIPAddress": "[2001:db8::1]",
    "cache": {},
    "timings": {"send": 0, "wait": 12.5, "receive": 0},
}


def entry(**changes: Any) -> dict[str, Any]:
    """Return the entry with changes; a dotted name (__) changes an inner one, None removes."""
    document: dict[str, Any] = json.loads(json.dumps(ENTRY))
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = document
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return document


def har(*entries: object, **log: object) -> bytes:
    return json.dumps({"log": {"version": "1.2", **log, "entries": entries}}, indent=2).encode()


def one(**changes: Any) -> Exchange:
    return exchange_of(entry(**changes))


def headers(*lines: tuple[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in lines]


def test_an_entry_of_a_browser():
    """The request as it goes over HTTP/1.1, the answer for the comparison."""
    found = one()
    assert (found.via, found.node, found.service) == ("har", "", "shop.example")
    assert (found.started_us, found.duration_us) == (1_704_161_045_678_000, 12_500)
    assert (found.scheme, found.upstream) == ("https", "https://[2001:db8::1]:8443")
    assert found.request == Request(
        "POST",
        "/api/cart?a=1&b=%20x",
        "1.1",
        [
            ("Host", "Shop.example:8443"),
            ("content-type", "application/json"),
            ("cookie", "sid=1; theme=dark"),
        ],
        '{"n":1}',
        "utf8",
        body_bytes=7,
    )
    assert found.response == Response(
        201,
        [("content-type", "application/json"), ("set-cookie", "a=1"), ("set-cookie", "b=2")],
        '{"id":42}',
        "utf8",
        body_bytes=9,
    )


def test_an_entry_has_the_same_id_wherever_it_stands():
    """Whatever the order of its keys; another entry has another one."""
    turned = dict(reversed(list(ENTRY.items())))
    assert exchange_of(turned).id == one().id
    assert one(time=13).id != one().id


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://a.example", "/"),
        ("https://a.example?x=1", "/?x=1"),
        ("https://a.example/?", "/?"),
        ("https://user:pw@a.example/x", "/x"),
        ("wss://a.example/socket", "/socket"),
        ("https://a.example/a b\tc", "/a%20b%09c"),
        ("https://a.example/k\u00e4se?q={|}", "/k\xc3\xa4se?q={|}"),
        ("https://a.example/a/../b", "/a/../b"),
    ],
)
def test_the_target_is_what_the_url_says(url, target):
    """But for what no request line can hold; a fragment never leaves the browser."""
    found = one(request__url=url)
    assert found.request.target == target
    assert found.request.headers[0] == ("Host", "a.example")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request": None}, "request.method is none"),
        ({"request__method": "a b"}, "request.method is none"),
        ({"request__url": "about:blank"}, "request.url is no absolute http or https URL"),
        ({"request__url": "data:text/plain,x"}, "request.url is no absolute"),
        ({"request__url": "https://[x/"}, "request.url is no absolute"),
        ({"startedDateTime": "yesterday"}, "startedDateTime is no time"),
        ({"request__postData__encoding": "base64"}, "request.postData.text is not valid base64"),
        ({"response__content__encoding": "base64"}, "response.content.text is not valid base64"),
    ],
)
def test_what_is_no_request_says_why(changes, reason):
    """And with nothing of it in the message."""
    with pytest.raises(MalformedRecord, match=reason):
        one(**changes)


def test_little_is_needed():
    """A method, a URL, a time."""
    found = exchange_of(
        {
            "startedDateTime": "2024-01-02T03:04:05Z",
            "request": {"method": "GET", "url": "http://a.example/x"},
        }
    )
    assert found.request.headers == [("Host", "a.example")]
    assert (found.response, found.observed, found.duration_us) == (None, False, 0)


def test_things_of_other_kinds_do_no_harm():
    """Numbers for texts, texts for lists, null for anything."""
    odd = entry(
        time="12", request__headers="none", request__postData=7, response=[], serverIPAddress=1
    )
    assert exchange_of(odd).response is None
    odd = entry(request__headers=[1, {"name": 5}, {"name": "a b", "value": "x"}, {"name": "x-y"}])
    assert exchange_of(odd).request.headers == [("Host", "Shop.example:8443"), ("x-y", "")]


def test_a_header_cannot_end_its_line():
    """Control bytes become a space; repeats that were joined are parted."""
    found = one(request__headers=headers(("Host", "h"), ("X-A", "1\n2\r3\x00")))
    assert found.request.headers == [("Host", "h"), ("X-A", "1"), ("X-A", "2 3")]


@pytest.mark.parametrize(
    "value",
    ["REDACTED", "[redacted]", "<Redacted>", "[cookie redacted]", "***REDACTED***"],
)
def test_what_a_sanitizer_took_out_is_like_something_sealed(value):
    """It needs a replacement; a redacted header that is no secret is left out."""
    lines = headers(("Host", "h"), ("Cookie", value), ("User-Agent", value))
    found = one(request__headers=lines)
    (host, cookie) = found.request.headers
    assert host == ("Host", "h")
    assert cookie[0] == "Cookie"
    assert parse_mark(cookie[1]) is not None
    assert [credential.place for credential in found.credentials] == ["cookie"]


# -- bodies -----------------------------------------------------------------------------


def test_binary_bodies_are_base64():
    """As our own exports and some proxies write them."""
    data = bytes(range(256))
    text = base64.b64encode(data).decode()
    found = one(request__postData={"mimeType": "x", "text": text, "encoding": "base64"})
    assert body_of(found.request) == data
    found = one(response__content={"size": 256, "text": text, "encoding": "base64"})
    assert found.response is not None
    assert body_of(found.response) == data


def test_a_form_without_its_text_is_made_of_its_fields():
    """What the browser sent, as far as anybody knows."""
    params = [{"name": "a b", "value": "1&2"}, {"name": "c"}]
    kind = "application/x-www-form-urlencoded"
    found = one(request__postData={"mimeType": kind, "params": params})
    assert found.request.body == "a+b=1%262&c="
    kind = "multipart/form-data; boundary=x"
    found = one(request__postData={"mimeType": kind, "params": params})
    assert (found.request.body, found.request.omitted) == (None, "not in the log")


def test_a_form_whose_files_are_missing_is_not_sent_without_them():
    """Chrome writes its fields alone; the length tells."""
    text = "--x\r\nContent-Disposition: form-data; name=f; filename=a\r\n\r\n\r\n--x--\r\n"
    for length, omitted in ((len(text), None), (len(text) + 900, "not in the log")):
        lines = headers(
            ("Content-Type", "multipart/form-data; boundary=x"), ("Content-Length", str(length))
        )
        found = one(request__headers=lines, request__postData={"text": text})
        assert found.request.omitted == omitted
        assert found.request.body_bytes == length


def test_a_body_that_is_missing_is_not_an_empty_one():
    """Chrome leaves out what it could not read."""
    found = one(request__postData=None)
    assert (found.request.omitted, found.request.body_bytes) == ("not in the log", 7)
    assert one(request__postData=None, request__bodySize=-1).request.omitted is None


@pytest.mark.parametrize(
    ("length", "body"),
    [
        ("5", "k\u00e4se".encode()),
        ("4", "k\u00e4se".encode("latin-1")),
        ("9", "k\u00e4se".encode()),
    ],
)
def test_the_length_tells_the_charset(length, body):
    """A HAR holds text; what was sent are bytes."""
    lines = headers(("Content-Type", "text/plain; charset=iso-8859-1"), ("Content-Length", length))
    found = one(request__headers=lines, request__postData={"text": "k\u00e4se"})
    assert body_of(found.request) == body


@pytest.mark.parametrize(
    ("charset", "length"), [("punycode", "7"), ("PunyCode", "7"), ("idna", "11")]
)
def test_what_is_no_charset_of_texts_is_none(charset, length):
    """Python would take hours to make Punycode of a long text."""
    kind = f"text/plain; charset={charset}"
    lines = headers(("Content-Type", kind), ("Content-Length", length))
    found = one(request__headers=lines, request__postData={"text": "k\u00e4se"})
    assert body_of(found.request) == "k\u00e4se".encode()


def test_a_long_value_was_not_redacted():
    """Nor is it looked at for long."""
    lines = headers(("Host", "h"), ("Cookie", "[" + " " * 1_000_000 + "redacted]"))
    cookie = one(request__headers=lines).request.headers[1][1]
    assert parse_mark(cookie) is None


def test_a_text_has_no_content_coding_any_more():
    """Sent with the header it would be taken for what it is not."""
    lines = headers(("Host", "h"), ("Content-Encoding", "gzip"), ("Content-Length", "40"))
    found = one(request__headers=lines)
    assert found.request.headers == [("Host", "h")]


@pytest.mark.parametrize(
    ("error", "failure", "observed"),
    [("net::ERR_ABORTED", "net::ERR_ABORTED", True), (None, None, False)],
)
def test_a_status_of_0_is_no_answer(error, failure, observed):
    """The browser may say why."""
    answer = {"status": 0, "headers": [], "content": {}, **({"_error": error} if error else {})}
    found = one(response=answer)
    assert (found.response, found.failure, found.observed) == (None, failure, observed)


# -- documents --------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\n\n  "])
@pytest.mark.parametrize("name", ["x", "x.har"])
def test_a_document_is_known_by_its_bytes(pack, mark, name):
    """With a byte order mark, spread over lines, packed."""
    assert len(read(pack(mark + har(ENTRY, entry(time=1))), name)) == 2


def test_what_stands_around_the_entries_does_no_harm():
    """Pages, comments, a key named entries elsewhere, braces in texts."""
    document = har(
        ENTRY,
        creator={"name": 'a"]}{[', "entries": [1]},
        pages=[{"id": "p", "_x": {"log": {"entries": [2]}}}],
        comment="\\",
    )
    assert len(read(document, "x.har")) == 1


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b'{"log":{"version":"1.2"}}', "no HAR: no list log.entries"),
        (b'{"log":{"version":"1.2","entries":{}}}', "no HAR: no list log.entries"),
        (b"[]", "no HAR: expected an object"),
        (b"", "no HAR: expected an object"),
        (b'{"log":{"entries":[', "expected a value"),
        (b'{"log":{"entries":[]', "expected a comma or a brace"),
        (b'{"log":{"entries":[]}} x', "something behind the end of the document"),
        (b'{"log" {"entries":[]}}', "expected a colon"),
        (b'{log:{"entries":[]}}', "expected a key"),
        (b'{"log":{"x":' + b"[" * 1000, "nested too deeply"),
        (b'{"log":{"x":"' + b"a\\" * 1000, "the document ends within a text"),
    ],
)
def test_what_is_no_har_says_so_once(document, reason):
    """And where."""
    (damage,) = [part for part in read_all(document, "x.har") if isinstance(part, Damage)]
    assert damage.reason.removeprefix("at entry 1: ").startswith(reason)
    assert 0 <= damage.offset <= len(document)


def test_an_entry_that_is_none_is_told_by_its_number():
    """The others count."""
    document = har(ENTRY, {"x": 1}, "text", entry(time=1))
    found = read_all(document)
    assert [part.reason for part in found if isinstance(part, Damage)] == [
        "entry 2: request.method is none",
        "entry 3: not a JSON object, or not a sound one",
    ]
    assert [len([part for part in found if isinstance(part, Exchange)])] == [2]


def test_a_document_that_is_cut_gives_what_it_has():
    """As of a browser that crashed."""
    found = read_all(har(ENTRY, entry(time=1))[:-100])
    assert isinstance(found[0], Exchange)
    assert isinstance(found[1], Damage)
    assert found[1].reason == "at entry 2: the document ends too soon; the rest is given up"


@pytest.mark.parametrize(
    "changes",
    [
        {"request__url": "data:text/plain,x"},
        {"request__url": "blob:https://a.example/0815"},
        {"request__url": "chrome-extension://abc/x.js"},
        {"_fromCache": "disk"},
        {"response___fromCache": "memory"},
    ],
)
def test_what_production_never_saw_is_left_out(changes):
    """Neither an exchange nor damage."""
    document = entry()
    for path, value in changes.items():
        *inner, last = path.split("__", 1)
        place = document[inner[0]] if inner else document
        place[last] = value
    assert len(read(har(document, ENTRY))) == 1


def test_an_entry_that_is_too_long_is_stepped_over():
    """Memory is bounded by the limit, not by the document."""
    document = har({"x": "y" * 2000}, {"z": 1})
    found = list(read_entries(io.BytesIO(document).read1, max_entry_bytes=1000))
    assert isinstance(found[0], Damage)
    assert found[0].reason == "entry 1: longer than 1000 bytes"
    assert isinstance(found[1], HarEntry)
    assert json.loads(found[1].data) == {"z": 1}


@pytest.mark.parametrize("size", range(1, 40))
def test_a_document_may_come_in_any_pieces(size):
    """Escapes and numbers are cut, too."""
    document = har({"a": 'x\\"\u00e4\\\\', "b": [1.5e10, None, {"c": {}}]}, {"d": 12345})
    stream = io.BytesIO(document)
    found = [
        json.loads(part.data)
        for part in read_entries(lambda _: stream.read(size))
        if isinstance(part, HarEntry)
    ]
    assert found == json.loads(document)["log"]["entries"]
