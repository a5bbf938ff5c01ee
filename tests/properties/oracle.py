"""A second opinion: what llhttp (Node's parser, by way of httptools) makes of the same bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

import httptools

Pairs = list[tuple[bytes, bytes]]

KNOWN = {
    "Invalid method encountered": "llhttp knows a list of methods; RFC 9110, 9.1 lets any token be",
    "Expected space after method": "likewise: of a method that begins like one of them",
    "Invalid char in url": "only strict listeners refuse bytes that RFC 3986 gives no place",
    "Invalid character in url": "likewise",
    "Unexpected char in url": "likewise",
    "Expected HTTP/2 Connection Preface": "PRI is a method like any other to HTTP/1.1",
}
"""llhttp's words -> why the proxy accepts what these refuse."""


@dataclass
class Opinion:
    """One message as llhttp sees it. error: why it refuses the bytes, or None."""

    method: bytes = b""
    target: bytes = b""
    status: int = 0
    version: str = ""
    fields: Pairs = field(default_factory=list)
    body: bytes = b""
    completed: int = 0
    error: str | None = None

    # -- what httptools calls -------------------------------------------------

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value.strip(b" \t")))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.completed += 1


def request_opinion(data: bytes) -> Opinion:
    """Return what llhttp makes of a request."""
    opinion = Opinion()
    parser = httptools.HttpRequestParser(opinion)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        opinion.completed += not opinion.completed
    except httptools.HttpParserError as error:
        opinion.error = str(error)
    opinion.method = parser.get_method()
    opinion.version = parser.get_http_version()
    return opinion


def response_opinion(data: bytes) -> Opinion:
    """Return what llhttp makes of an answer."""
    opinion = Opinion()
    parser = httptools.HttpResponseParser(opinion)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        opinion.completed += not opinion.completed
    except httptools.HttpParserError as error:
        if "Pause on CONNECT/Upgrade" not in str(error):  # that is no error
            opinion.error = str(error)
    opinion.status = parser.get_status_code()
    opinion.version = parser.get_http_version()
    return opinion
