"""Bodies in HAR entries: `postData` of a request, `content` of a response.

Pure. Owns what bytes a text stood for: HAR holds text in Unicode, after its
content coding was taken off, and Base64 where a body is none.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from mirrorproxy.codec import MalformedRecord, encode_body
from mirrorproxy.headers import first
from mirrorproxy.record import BodyEncoding, HeaderList

Fields = Mapping[str, object]

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9._-]{1,40})", re.IGNORECASE)


# Python has them among its encodings; the time that they take grows with the square of a text.
_NO_CHARSETS = frozenset(("punycode", "idna"))


class HarBody(NamedTuple):
    """A body as a record holds it. text, encoding: see `record`; None where there is none.

    size: in bytes. is_missing: there was one, and the file does not hold it.
    was_text: it stood as text, so no content coding is on it any more.
    """

    text: str | None = None
    encoding: BodyEncoding | None = None
    size: int | None = 0
    is_missing: bool = False
    was_text: bool = False

    def without_decoded_coding(self, headers: HeaderList) -> HeaderList:
        """Return the headers of the message, those left out that no longer tell the truth."""
        if not self.was_text or first(headers, "content-encoding") is None:
            return headers
        untrue = ("content-encoding", "content-length")
        return [line for line in headers if line[0].lower() not in untrue]

    def members(self) -> dict[str, object]:
        """Return the body's keys of a record."""
        if self.text is None:
            return {}
        return {"body": self.text, "body_encoding": self.encoding}


def request_body(asked: Fields, headers: HeaderList) -> HarBody:
    """Return the body of a request. headers: its own. Raises MalformedRecord."""
    data = asked.get("postData")
    length = _length(first(headers, "content-length"), asked.get("bodySize"))
    if not isinstance(data, dict):
        return HarBody(size=length, is_missing=True) if length else HarBody()
    text = data.get("text")
    if isinstance(text, str) and text:
        if "base64" in (data.get("encoding"), data.get("_encoding")):
            return _of_bytes(_decoded(text, "request.postData.text"))
        content_type = first(headers, "content-type")
        body = _of_text(text, content_type, length)
        if length not in (None, body.size) and _is_multipart(content_type):
            # Chrome writes the fields of a form, without what stood in its files.
            return HarBody(size=length, is_missing=True)
        return body
    params = _params(data.get("params"))
    if params and not _is_multipart(data.get("mimeType")):
        return _of_text(urlencode(params), None, None)
    is_missing = bool(length or params)
    return HarBody(size=length or None, is_missing=True) if is_missing else HarBody()


def response_body(answer: Fields) -> HarBody:
    """Return the body of a response. Raises MalformedRecord."""
    content = answer.get("content")
    if not isinstance(content, dict):
        return HarBody(size=None)
    text = content.get("text")
    if not isinstance(text, str) or not text:
        return HarBody(size=_length(None, answer.get("bodySize") or -1, content.get("size")))
    if content.get("encoding") == "base64":
        # Browsers take the coding off before they write Base64, too.
        return _of_bytes(_decoded(text, "response.content.text"))._replace(was_text=True)
    mime_type = content.get("mimeType")
    size = _length(None, content.get("size"))
    return _of_text(text, mime_type if isinstance(mime_type, str) else None, size)


def _of_bytes(data: bytes) -> HarBody:
    text, encoding = encode_body(data)
    return HarBody(text, encoding, len(data))


def _of_text(text: str, content_type: str | None, length: int | None) -> HarBody:
    """Return the body that a text stood for: the encoding whose length fits, else UTF-8."""
    data = text.encode("utf-8", "replace")
    charset = _CHARSET.search(content_type or "")
    if not text.isascii() and length is not None and length != len(data):
        for name in (charset[1] if charset else "", "latin-1"):
            try:
                if codecs.lookup(name).name in _NO_CHARSETS:
                    continue
                other = text.encode(name)
            except (LookupError, ValueError):
                continue
            if len(other) == length:
                data = other
                break
    return _of_bytes(data)._replace(was_text=True)


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise MalformedRecord(f"{where} is not valid base64")


def _params(listed: object) -> list[tuple[str, str]]:
    found = []
    for one in listed if isinstance(listed, list) else []:
        name = one.get("name") if isinstance(one, dict) else None
        value = one.get("value") if isinstance(one, dict) else None
        if isinstance(name, str):
            found.append((name, value if isinstance(value, str) else ""))
    return found


def _is_multipart(content_type: object) -> bool:
    return isinstance(content_type, str) and content_type.strip().lower().startswith("multipart/")


def _length(header: str | None, *sizes: object) -> int | None:
    """Return the length in bytes that a header or else a number gives; None for none."""
    if header is not None and header.isascii() and header.isdigit() and len(header) < 19:
        return int(header)
    for size in sizes:
        if isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 1 << 62:
            return size
    return None
