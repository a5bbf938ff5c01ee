"""Records to lines and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirrorproxy.codec import (
    MAX_LINE_BYTES,
    MalformedRecord,
    UnsupportedVersion,
    body_of,
    decode_line,
    encode_body,
    encode_line,
)
from mirrorproxy.record import Credential, Exchange, Request, Response

ID = "019ab0c1f2a47e5c8d3f0a1b2c3d4e5f"

RECORD = {
    "v": 1,
    "id": ID,
    "service": "orders",
    "via": "inline",
    "node": "mirror-1/0",
    "started_us": 1_700_000_000_123_456,
    "duration_us": 12_345,
    "client": "203.0.113.7",
    "scheme": "https",
    "upstream": "http://10.0.3.7:8080",
    "request": {
        "method": "POST",
        "target": "/orders?x=1",
        "version": "1.1",
        "headers": [["Host", "api.example.com"], ["Content-Type", "application/json"]],
        "body": '{"sku":"A-1"}',
        "body_encoding": "utf8",
        "body_bytes": 13,
    },
    "response": {
        "status": 201,
        "headers": [["Content-Type", "application/json"]],
        "body": '{"id":42}',
        "body_encoding": "utf8",
        "body_bytes": 9,
    },
    "credentials": [
        {
            "in": "header",
            "name": "Authorization",
            "scheme": "Bearer",
            "fingerprint": "h1:3f9a:5f0c61d2",
            "subject": "h1:3f9a:77aa01",
            "claims": {"iss": "https://login", "aud": "orders"},
        }
    ],
}

EXCHANGE = Exchange(
    v=1,
    id=ID,
    service="orders",
    via="inline",
    node="mirror-1/0",
    started_us=1_700_000_000_123_456,
    duration_us=12_345,
    client="203.0.113.7",
    scheme="https",
    upstream="http://10.0.3.7:8080",
    request=Request(
        method="POST",
        target="/orders?x=1",
        version="1.1",
        headers=[("Host", "api.example.com"), ("Content-Type", "application/json")],
        body='{"sku":"A-1"}',
        body_encoding="utf8",
        body_bytes=13,
    ),
    response=Response(
        status=201,
        headers=[("Content-Type", "application/json")],
        body='{"id":42}',
        body_encoding="utf8",
        body_bytes=9,
    ),
    credentials=[
        Credential(
            place="header",
            name="Authorization",
            scheme="Bearer",
            fingerprint="h1:3f9a:5f0c61d2",
            subject="h1:3f9a:77aa01",
            claims={"iss": "https://login", "aud": "orders"},
        )
    ],
)


def record_with(**changes: object) -> bytes:
    """The record as a line; a dotted name changes a nested key, None removes it."""
    record = json.loads(json.dumps(RECORD))
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = record
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return json.dumps(record).encode()


def test_a_line_is_the_record_of_the_design():
    """Key for key, in one line."""
    line = encode_line(EXCHANGE)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == RECORD


def test_a_line_of_the_design_is_read():
    """Value for value, with or without the newline."""
    line = json.dumps(RECORD).encode()
    assert decode_line(line) == EXCHANGE
    assert decode_line(line + b"\r\n") == EXCHANGE


def test_what_is_not_known_is_ignored():
    """Later minor additions do not break this reader."""
    assert decode_line(record_with(mood="good", request__mood=["good"])) == EXCHANGE


def test_defaults_take_no_space():
    """No response, no failure and no credentials leave no keys."""
    line = encode_line(
        Exchange(1, ID, "s", "tap", "n/0", 0, 0, "", "http", "", Request("GET", "/", "1.1", []))
    )
    assert set(json.loads(line)) == {
        *("v", "id", "service", "via", "node", "started_us", "duration_us"),
        *("client", "scheme", "upstream", "request"),
    }


@given(
    st.lists(st.tuples(st.text(st.characters(max_codepoint=255)), st.text(max_size=20))),
    st.text(st.characters(max_codepoint=255)),
    st.binary(max_size=200),
)
def test_any_bytes_come_back(headers, target, body):
    """Latin-1 text, controls and binary bodies survive the line."""
    text, encoding = encode_body(body)
    request = Request(
        "POST", target, "1.1", headers, text, encoding, len(body), trailers=headers[:1]
    )
    exchange = Exchange(1, ID, "s", "inline", "n/0", 1, 2, "c", "http", "u", request)
    line = encode_line(exchange)
    assert line.index(b"\n") == len(line) - 1
    decoded = decode_line(line)
    assert decoded == exchange
    assert body_of(decoded.request) == body


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"", (None, None), id="empty"),
        pytest.param("käse".encode(), ("käse", "utf8"), id="utf-8"),
        pytest.param(b"\xef\xbb\xbf{}", ("\ufeff{}", "utf8"), id="byte order mark kept"),
        pytest.param(b"k\xe4se", ("a+RzZQ==", "base64"), id="latin-1"),
        pytest.param(b"\xed\xa0\x80", ("7aCA", "base64"), id="a surrogate is no UTF-8"),
        pytest.param(b"\x00\r\n", ("\x00\r\n", "utf8"), id="controls"),
    ],
)
def test_a_body_is_text_where_it_can_be(body, expected):
    """UTF-8 stays readable, everything else is base64."""
    assert encode_body(body) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b"", "Input data was truncated", id="empty"),
        pytest.param(b'{"v":1,"id":"0', "Input data was truncated", id="torn"),
        pytest.param(b"[]", "Expected `object`, got `array`", id="not an object"),
        pytest.param(
            record_with(service=7), "Expected `str`, got `int` at $.service", id="wrong type"
        ),
        pytest.param(
            record_with(service=None), "Object missing required field `service`", id="missing key"
        ),
        pytest.param(
            record_with(request__headers=[["Host"]]),
            "Expected `array` at $.request.headers[0]",
            id="half a header",
        ),
        pytest.param(record_with(v=0), "v is less than 1", id="version 0"),
        pytest.param(record_with(id=ID[:-1]), "id is not 32 lower-case hex digits", id="short id"),
        pytest.param(record_with(id=ID + "/"), "id is not 32 lower-case hex digits", id="long id"),
        pytest.param(
            record_with(id=ID.upper()), "id is not 32 lower-case hex digits", id="upper-case id"
        ),
        pytest.param(
            record_with(id=ID[2:] + "  "), "id is not 32 lower-case hex digits", id="blanks in id"
        ),
        pytest.param(
            record_with(id="../" + ID[3:]), "id is not 32 lower-case hex digits", id="path in id"
        ),
        pytest.param(
            record_with(started_us=-1), "started_us is no time from 1970 to 9999", id="before 1970"
        ),
        pytest.param(
            record_with(started_us=10**18),
            "started_us is no time from 1970 to 9999",
            id="after 9999",
        ),
        pytest.param(record_with(duration_us=-1), "duration_us is negative", id="ends before"),
        pytest.param(
            record_with(response__status=42),
            "response.status is not from 100 to 999",
            id="no status",
        ),
        pytest.param(
            record_with(request__body_encoding=None),
            "request.body and request.body_encoding need each other",
            id="body without encoding",
        ),
        pytest.param(
            record_with(response__body_bytes=-9),
            "response.body_bytes is negative",
            id="less than 0",
        ),
        pytest.param(
            record_with(request__body_ref=f"bodies/2026/11/23/08/{ID}"),
            "request has both a body and a body_ref",
            id="two bodies",
        ),
        pytest.param(b'{"x":' * 100_000, "nested too deeply", id="a tower"),
        pytest.param(b'{"v":1,"id":"\xff"}', "not a valid record", id="not UTF-8"),
    ],
)
def test_a_bad_line_is_refused_with_a_short_reason(line, reason):
    """What is wrong and where, in the words of the format."""
    with pytest.raises(MalformedRecord) as refused:
        decode_line(line)
    assert str(refused.value).startswith(reason)


@pytest.mark.parametrize(
    "ref",
    [
        "bodies/2026/11/23/08/../../../../../etc/passwd",
        "/etc/passwd",
        "https://evil.example/x",
        f"bodies/2026/11/23/08/{ID}\n",
        f"bodies/2026/11/23/08/{ID}/..",
        f"bodies/2026/11/23/{ID}",
        "",
    ],
)
@pytest.mark.parametrize("side", ["request", "response"])
def test_a_body_reference_names_nothing_but_a_body(side, ref):
    """A hostile capture can't make a reader open another file."""
    line = record_with(
        **{f"{side}__body_ref": ref, f"{side}__body": None, f"{side}__body_encoding": None}
    )
    with pytest.raises(MalformedRecord, match="body_ref is not bodies/YYYY/MM/DD/HH/<id>"):
        decode_line(line)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(record_with(via="hunter2"), id="a value out of its set"),
        pytest.param(record_with(id="hunter2"), id="an id"),
        pytest.param(b'{"hunter2', id="broken JSON"),
        pytest.param(record_with(request__body_encoding="hunter2"), id="an encoding"),
        pytest.param(record_with(request="hunter2"), id="a value of another type"),
        pytest.param(record_with(credentials="hunter2"), id="a list that is none"),
    ],
)
def test_a_reason_repeats_nothing_of_the_line(line):
    """Errors go to logs, and a broken line may hold anything."""
    with pytest.raises(MalformedRecord) as refused:
        decode_line(line)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__context__ is None or refused.value.__suppress_context__


@pytest.mark.parametrize(
    ("line", "version"),
    [
        pytest.param(record_with(v=2), "2", id="same shape"),
        pytest.param(b'{"v":3,"id":{"new":"shape"}}', "3", id="another shape"),
        pytest.param(b'{"v":' + b"9" * 60 + b"}", "999", id="absurd"),
    ],
)
def test_a_newer_record_is_refused_as_such(line, version):
    """One clear line, whatever the newer record looks like."""
    with pytest.raises(UnsupportedVersion) as refused:
        decode_line(line)
    assert str(refused.value) == (
        f"the capture has records of version {version}, this mirrorproxy reads 1: use a newer one"
    )


@example(b'{"v":1,"id":"\\ud800"}')
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_nothing_else_is_ever_raised(line):
    """Any bytes are a record, malformed or newer."""
    try:
        decode_line(line)
    except (MalformedRecord, UnsupportedVersion):
        pass


def test_a_body_that_lies_about_its_encoding_is_malformed():
    """base64 is checked strictly, when the body is asked for."""
    request = Request("POST", "/", "1.1", [], body="Y!Q==", body_encoding="base64")
    with pytest.raises(MalformedRecord, match="not valid base64"):
        body_of(request)


def test_a_message_without_a_body_has_none():
    """Omitted, stored apart or empty: nothing inline."""
    assert body_of(Request("GET", "/", "1.1", [])) == b""
    assert body_of(Response(204)) == b""


def test_a_line_fits_a_firehose_record():
    """900 KiB stay under the 1,000 KiB that Firehose takes, whatever packing does."""
    assert MAX_LINE_BYTES == 921_600
