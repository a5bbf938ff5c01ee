"""A shop's requests and answers, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl
from xml.etree import ElementTree

from support.shop_state import Refused


class Asked(NamedTuple):
    """A request. headers: by lower-case name."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        try:
            found = json.loads(self.body)
        except ValueError:
            raise Refused(400, "no JSON") from None
        if not isinstance(found, dict):
            raise Refused(400, "no object")
        return found

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    def xml(self) -> ElementTree.Element:
        try:
            return ElementTree.fromstring(self.body)
        except ElementTree.ParseError:
            raise Refused(400, "no XML") from None


class Answer(NamedTuple):
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    content_type: str = "application/json"


def show(found: Any, status: int = 200, **headers: str) -> Answer:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer(status, named, json.dumps(found).encode())


def page(text: str) -> Answer:
    return Answer(200, (), f"<!DOCTYPE html>\n{text}\n".encode(), "text/html; charset=utf-8")


def xml(text: str, status: int = 200, **headers: str) -> Answer:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer(status, named, f'<?xml version="1.0"?>\n{text}'.encode(), "application/xml")
