"""HTML: the values of fields and meta elements with a sensitive name, such as CSRF tokens.

Pure. A page hands such a token to a form, which brings it back under the same name: sealed there,
it has to be sealed here, or it would stand in the record and could not be told to be the same.
Each line is looked at by itself; a tag over several lines is not seen.
"""

from __future__ import annotations

import html
import re

from mirrorproxy.capture.seal_text import Span, splice
from mirrorproxy.capture.seal_values import Findings

_TAG = re.compile(rb"<(?:input|meta)(?=[\s/])([^<>\r\n]{0,8192}+)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    rb"(?<![\w:-])(name|value|content)[ \t]*+=[ \t]*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s\"'=<>`]++))",
    re.IGNORECASE,
)


def replace_fields(text: bytes, found: Findings) -> bytes:
    """Return text with `value` and `content` of sensitive fields and meta elements replaced."""
    spans: list[Span] = []
    for tag in _TAG.finditer(text):
        name = b""
        values: list[Span] = []
        for attribute in _ATTRIBUTE.finditer(text, tag.start(1), tag.end(1)):
            group = 2 if attribute[2] is not None else 3 if attribute[3] is not None else 4
            if attribute[1].lower() == b"name":
                name = name or attribute[group]
            else:
                values.append((*attribute.span(group), _plain(attribute[group])))
        mode = found.names.field(_plain(name), in_query=True) if name and values else None
        if mode is not None:
            spans += [
                (start, end, found.replace(name.decode("utf-8", "replace"), bare, mode))
                for start, end, bare in values
            ]
    return splice(text, spans)


def _plain(value: bytes) -> bytes:
    """Return an attribute's value as the browser sends it."""
    if b"&" not in value:
        return value
    return html.unescape(value.decode("utf-8", "surrogateescape")).encode(
        "utf-8", "surrogateescape"
    )
