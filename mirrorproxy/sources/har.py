"""HAR: one entry, as an exchange.

Pure. Owns what browsers, proxies and test tools write into an entry and what of it
a request needs. Our own exports say in `_mirrorproxy` what HAR has no place for
(see `report.export_har`): such an entry gives the very record back, and what was
changed in it by hand since is taken as changed.

What a foreign file holds in the clear comes out in the clear: whoever shows, keeps
or sends an exchange seals it first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address

import msgspec

from mirrorproxy.codec import MAX_TIME_US, MalformedRecord, encode_line
from mirrorproxy.headers import end_to_end, first
from mirrorproxy.http1.grammar import is_host
from mirrorproxy.marks import mark_of
from mirrorproxy.record import (
    BODY_NOT_LOGGED,
    VERSION,
    Credential,
    Exchange,
    HeaderList,
    Request,
    Response,
)
from mirrorproxy.sources.har_bodies import request_body, response_body
from mirrorproxy.sources.imported import (
    UNKNOWN_SERVICE,
    as_bytes,
    derived_id,
    is_secret_name,
    redacted,
    time_us,
)

OURS = "_mirrorproxy"
"""The custom field of our exports; HAR 1.2 leaves names with an underscore to applications."""

Fields = Mapping[str, object]

_RECORD_KEYS = (
    "v", "id", "service", "via", "node", "started_us", "duration_us", "client", "scheme",
    "upstream", "failure", "observed", "credentials",
)  # fmt: skip
_MESSAGE_KEYS = (
    "body", "body_encoding", "body_bytes", "truncated", "omitted", "trailers",
)  # fmt: skip
_REDACTED = re.compile(r"[\[<(*\s]*(?:[\w .-]{0,40}\b)?redacted\b[\])>*\s]*", re.IGNORECASE)
_MAX_REDACTED = 100  # what is longer is a value, and long to look at
_ABSOLUTE = re.compile(r"([A-Za-z]+)://([^/?#\s\x00-\x20\x7f]+)([^#]*)")
_LOCAL = re.compile(
    r"(?:data|blob|about|file|filesystem|javascript|chrome(?:-[a-z]+)?|moz-[a-z]+|[a-z]+-extension):",
    re.IGNORECASE,
)
# Such bytes end a target on the wire; browsers write them encoded, some tools do not.
_NOT_IN_TARGET = re.compile(r"[\x00-\x20\x7f]")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NOT_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")

_decoder = msgspec.json.Decoder(dict[str, object])
_encoder = msgspec.json.Encoder()
_canonical = msgspec.json.Encoder(order="sorted")


def line_of(entry: bytes) -> bytes | None:
    """Return the line of the record of one entry, to be decoded like any other.

    None for what production never saw: what a browser took from its cache, and URLs
    that are no addresses, such as data: and blob:.
    Raises MalformedRecord with a short reason that holds nothing of the entry.
    """
    fields: Fields | None
    try:
        fields = _decoder.decode(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = None
    if fields is None:
        raise MalformedRecord("not a JSON object, or not a sound one")
    ours = fields.get(OURS)
    if isinstance(ours, dict):
        return _restored(fields, ours)
    if _LOCAL.match(_text(_inner(fields, "request"), "url")) or _is_cached(fields):
        return None
    return encode_line(exchange_of(fields))


def exchange_of(fields: Fields) -> Exchange:
    """Return the exchange of an entry that others wrote.

    Its node is empty: nobody has captured it, and nobody has sealed it yet. Raises
    MalformedRecord if there is no method, URL or time.
    """
    asked = _inner(fields, "request")
    method = _text(asked, "method")
    if not _TOKEN.fullmatch(method):
        raise MalformedRecord("request.method is none")
    scheme, authority, target = _url(_text(asked, "url"))
    started_us = time_us(_text(fields, "startedDateTime"))
    if started_us is None:
        raise MalformedRecord("startedDateTime is no time")
    headers, credentials = _request_headers(asked, authority)
    body = request_body(asked, headers)
    answer = _inner(fields, "response")
    response = _response(answer)
    address = _text(fields, "serverIPAddress").strip("[]")
    port = re.search(r":[0-9]+\Z", authority)
    return Exchange(
        v=VERSION,
        id=derived_id(started_us, _canonical.encode(fields)),
        service=_service(authority),
        via="har",
        node="",
        started_us=started_us,
        duration_us=_duration_us(fields),
        client="",
        scheme=scheme,
        upstream=_upstream(scheme, address, port[0] if port else ""),
        request=Request(
            method,
            target,
            _version(asked),
            body.without_decoded_coding(headers),
            body.text,
            body.encoding,
            body_bytes=body.size,
            omitted=BODY_NOT_LOGGED if body.is_missing else None,
        ),
        response=response,
        failure=None if response else _failure(answer),
        observed=response is not None or _failure(answer) is not None,
        credentials=credentials,
    )


def _is_cached(fields: Fields) -> bool:
    """Tell whether a browser had the answer at hand, as Chrome and Playwright say it."""
    answer = _inner(fields, "response")
    return any(one.get("_fromCache") not in (None, False, "") for one in (fields, answer))


def _restored(fields: Fields, ours: Fields) -> bytes:
    """Return the record that an entry of our own was made of."""
    asked, answer = _inner(fields, "request"), _inner(fields, "response")
    extra = _inner(asked, OURS)
    target = extra.get("target")
    if not isinstance(target, str):
        _, _, target = _url(_text(asked, "url"))
    document: dict[str, object] = {key: ours[key] for key in _RECORD_KEYS if key in ours}
    document["request"] = {
        "method": _text(asked, "method"),
        "target": target,
        "version": _version(asked),
        **_message(asked, request_body(asked, []).members(), extra),
    }
    status = answer.get("status")
    if isinstance(status, int) and status >= 100:
        extra = _inner(answer, OURS)
        document["response"] = {
            "status": status,
            **_message(answer, response_body(answer).members(), extra),
        }
    return _encoder.encode(document)


def _message(message: Fields, body: dict[str, object], extra: Fields) -> dict[str, object]:
    headers = _headers(message)
    kept = {key: extra[key] for key in _MESSAGE_KEYS if key in extra}
    return {"headers": headers, **body, **kept}


# -- heads ------------------------------------------------------------------------------


def _headers(message: Fields) -> HeaderList:
    """Return the headers of a message, as latin-1 text; what is no header is left out.

    Without the pseudo-headers of HTTP/2, such as ``:path``. Some tools join repeated
    ones by a newline: they are parted again.
    """
    found: HeaderList = []
    listed = message.get("headers")
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, dict):
            continue
        name, value = _text(one, "name"), _text(one, "value")
        if not _TOKEN.fullmatch(name):
            continue
        raw = _inner(one, OURS).get("latin1")
        if isinstance(raw, str):
            found.append((name, raw))
            continue
        for line in value.split("\n"):
            found.append((name, as_bytes(_NOT_IN_VALUE.sub(" ", line).strip(" \t"))))
    return found


def _request_headers(asked: Fields, authority: str) -> tuple[HeaderList, list[Credential]]:
    """Return the headers of a foreign request, Host among them, and what was redacted."""
    headers: HeaderList = []
    credentials: list[Credential] = []
    for name, value in end_to_end(_headers(asked)):
        if len(value) > _MAX_REDACTED or not _REDACTED.fullmatch(value):
            headers.append((name, value))
        elif is_secret_name(name):
            credential = redacted(name, "")
            credentials.append(credential)
            headers.append((name, mark_of(credential.fingerprint)))
    if first(headers, "host") is None:
        headers.insert(0, ("Host", authority))
    return headers, credentials


def _url(url: str) -> tuple[str, str, str]:
    """Return the scheme, the authority and the target of a URL. Raises MalformedRecord."""
    found = _ABSOLUTE.match(url)
    scheme = found[1].lower() if found else ""
    scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
    authority = found[2].rpartition("@")[2] if found else ""
    is_sound = authority.isascii() and is_host(authority.lower().encode())
    if found is None or scheme not in ("http", "https") or not is_sound:
        raise MalformedRecord("request.url is no absolute http or https URL")
    rest = found[3]
    target = rest if rest.startswith("/") else f"/{rest}"
    target = _NOT_IN_TARGET.sub(lambda found: f"%{ord(found[0]):02X}", target)
    return scheme, authority, as_bytes(target)


def _version(asked: Fields) -> str:
    """Return the version to record: a request of HTTP/2 or 3 is sent as 1.1."""
    return "1.0" if _text(asked, "httpVersion").upper() == "HTTP/1.0" else "1.1"


def _service(authority: str) -> str:
    host = re.sub(r":[0-9]*\Z", "", authority)
    return host.lower() or UNKNOWN_SERVICE


def _upstream(scheme: str, address: str, port: str) -> str:
    try:
        ip = ip_address(address)
    except ValueError:
        return ""
    return f"{scheme}://{ip if ip.version == 4 else f'[{ip}]'}{port}"


# -- answers ----------------------------------------------------------------------------


def _response(answer: Fields) -> Response | None:
    """Return the response; None where the entry has none, which a status of 0 says."""
    status = _number(answer, "status")
    if status is None or not 100 <= status <= 999:
        return None
    headers = end_to_end(_headers(answer))
    body = response_body(answer)
    return Response(
        int(status),
        body.without_decoded_coding(headers),
        body.text,
        body.encoding,
        body_bytes=body.size,
    )


def _failure(answer: Fields) -> str | None:
    """Return why there is no response, as the browser calls it, such as net::ERR_TIMED_OUT."""
    text = _text(answer, "_error")
    return text[:64] if text.isprintable() and text else None


def _duration_us(fields: Fields) -> int:
    spent_ms = _number(fields, "time")
    if spent_ms is None:
        return 0
    return min(MAX_TIME_US, max(0, round(spent_ms * 1000)))


# -- fields -----------------------------------------------------------------------------


def _inner(fields: Fields, name: str) -> Fields:
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _number(fields: Fields, name: str) -> float | None:
    value = fields.get(name)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and abs(value) < 1 << 53 else None  # type: ignore[arg-type,return-value]
