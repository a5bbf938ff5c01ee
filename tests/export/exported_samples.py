"""Exchanges to export: hand-made ones, and any that a capture may hold."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st

from mirrorproxy.codec import body_of, decode_line, encode_body, encode_line
from mirrorproxy.keys import object_key
from mirrorproxy.members import Damage, pack
from mirrorproxy.record import Credential, Exchange, HeaderList, Request, Response
from mirrorproxy.report import export_gor, export_har
from mirrorproxy.report.exported import Exported
from mirrorproxy.sources.imports import read_lines

T0 = 1_700_000_000_123_456
MARK = "h1:3f9a:5f0c61d2a77aa01b5f0c61d2a77aa01b"


def message_body(body: bytes) -> dict[str, Any]:
    """Return a body's fields of a record."""
    text, encoding = encode_body(body)
    return {"body": text, "body_encoding": encoding, "body_bytes": len(body)}


def request(
    method: str = "GET",
    target: str = "/orders/7?x=1",
    headers: HeaderList | None = None,
    body: bytes = b"",
    **changes: Any,
) -> Request:
    """Return a request; with a body it has its Content-Length."""
    lines = [("Host", "api.example.com")] if headers is None else headers
    if body and not changes.get("trailers"):
        lines = [*lines, ("Content-Length", str(len(body)))]
    return Request(method, target, "1.1", lines, **{**message_body(body), **changes})


def exchange(number: int = 1, asked: Request | None = None, **changes: Any) -> Exchange:
    """Return the number-th exchange, one millisecond after the one before."""
    fields: dict[str, Any] = {
        "v": 1, "id": f"{number:032x}", "service": "orders", "via": "inline",
        "node": "mirror-1/0", "started_us": T0 + number * 1000, "duration_us": 12_345,
        "client": "203.0.113.7", "scheme": "https", "upstream": "http://10.0.3.7:8080",
        "request": asked or request(), "response": Response(200, body_bytes=0),
    }  # fmt: skip
    return Exchange(**{**fields, **changes})


def exported(one: Exchange) -> Exported:
    """Return it with the bodies that stand in it."""
    response = one.response
    return Exported(one, body_of(one.request), b"" if response is None else body_of(response))


def read(data: bytes, name: str = "file") -> list[Exchange]:
    """Return the exchanges of an import; damage fails."""
    found = list(read_all(data, name))
    assert not [one for one in found if isinstance(one, Damage)], found
    return found  # type: ignore[return-value]


def read_all(data: bytes, name: str = "file") -> list[Exchange | Damage]:
    """Return the exchanges of an import and its damages, where they stand."""
    found: list[Exchange | Damage] = []
    for part in read_lines(io.BytesIO(data), name):
        found += [part] if isinstance(part, Damage) else [decode_line(line) for _, line in part]
    return found


def as_har(*exchanges: Exchange) -> bytes:
    entries = [export_har.har_entry(exported(one), lambda body, _: body) for one in exchanges]
    return export_har.HEAD + export_har.SEPARATOR.join(entries) + export_har.TAIL


def as_gor(*exchanges: Exchange) -> bytes:
    return b"".join(export_gor.gor_records(exported(one)) for one in exchanges)


def without_duplicates(exchanges: list[Exchange]) -> list[Exchange]:
    return list({one.id: one for one in exchanges}.values())


def write_capture(root: Path, *exchanges: Exchange) -> Path:
    """Write a capture of one object; return its directory."""
    lines = b"".join(encode_line(one) for one in exchanges)
    path = root / object_key("", "orders", T0, "0" * 32)
    path.parent.mkdir(parents=True)
    path.write_bytes(pack(lines, len(exchanges)))
    return root


# -- any exchange -----------------------------------------------------------------------

_TOKEN = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=12).map(lambda name: f"x-{name}")
_VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f")
_VALUE = st.one_of(
    st.text("abc =;:,\"'\\$`{}%@!~", max_size=20),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")),
    st.text(max_size=5).map(lambda text: text.encode("utf-8", "replace").decode("latin-1")),
).map(lambda text: "".join(c for c in text if c == "\t" or (c >= " " and c != "\x7f")).strip(" \t"))
_LINES: st.SearchStrategy[HeaderList] = st.lists(st.tuples(_TOKEN, _VALUE), max_size=4)
_BODY = st.one_of(st.just(b""), st.binary(max_size=60), st.text(max_size=40).map(str.encode))
_TARGET = st.one_of(
    st.sampled_from(["/", "/a/../b/./%2e%2e/c", "//x", "/a?b#c", "/?", "/a'b\"c$(d)`e`\\"]),
    st.text(_VISIBLE, max_size=20).map(lambda rest: f"/{rest}"),
)
_METHOD = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "PURGE", "M-SEARCH"])


@st.composite
def requests(draw: Any) -> Request:
    """Any request that a capture may hold, as long as it is whole."""
    body, trailers = draw(_BODY), draw(st.one_of(st.just([]), _LINES))
    lines = [("Host", draw(st.sampled_from(["api.example.com", "a:8080", "[::1]:80"])))]
    lines += draw(_LINES)
    if not trailers and (body or draw(st.booleans())):
        lines.insert(draw(st.integers(0, len(lines))), ("content-LENGTH", str(len(body))))
    return Request(
        draw(_METHOD), draw(_TARGET), "1.1", lines, **message_body(body), trailers=trailers
    )


@st.composite
def responses(draw: Any) -> Response:
    """Any response whose body was recorded."""
    body, trailers = draw(_BODY), draw(st.one_of(st.just([]), _LINES))
    lines = draw(_LINES)
    if not trailers:
        lines = [*lines, ("Content-Length", str(len(body)))]
    return Response(
        draw(st.sampled_from([200, 201, 404, 503, 799])),
        lines,
        **message_body(body),
        trailers=trailers,
    )


@st.composite
def exchanges(draw: Any) -> Exchange:
    """Any exchange with a whole request."""
    response = draw(st.one_of(st.none(), responses()))
    failure = draw(st.sampled_from([None, "reset"])) if response is None else None
    one = exchange(
        draw(st.integers(0, 2**128 - 1)),
        draw(requests()),
        response=response,
        failure=failure,
        observed=response is not None or failure is not None,
        started_us=draw(st.integers(0, 2**50)),
        duration_us=draw(st.integers(0, 2**40)) if response is not None else 0,
        scheme=draw(st.sampled_from(["http", "https"])),
    )
    credential = Credential("header", "Authorization", MARK, scheme="Bearer", claims={"a": [1]})
    return msgspec.structs.replace(one, credentials=[credential] if draw(st.booleans()) else [])
