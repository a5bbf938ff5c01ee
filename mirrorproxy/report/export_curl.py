"""Exchanges as commands of curl, for a POSIX shell.

Pure. Owns the quoting: any bytes arrive as they were captured, and nothing of a
stranger's text acts on the shell or the terminal that shows it. What was sealed
stands as a variable that must be set; a command without it does not run.
"""

from __future__ import annotations

import base64
import re

from mirrorproxy.headers import end_to_end, first
from mirrorproxy.http1.messages import serialize_request
from mirrorproxy.marks import PATTERN_BYTES, find_marks
from mirrorproxy.record import Exchange
from mirrorproxy.report.exported import (
    Exported,
    NotExportedError,
    authority_of,
    why_incomplete,
)
from mirrorproxy.report.inspection_text import moment
from mirrorproxy.report.printable import printable

HEAD = b"""#!/bin/sh
# Made by mirrorproxy export: one curl command for each exchange, in captured order.
# ${SEALED_...} stands where a secret was sealed: set the variable, or the command does not run.
"""

MAX_ARGUMENT_BYTES = 64 * 1024
"""A longer body comes through a pipe: Linux takes 128 KiB for one argument (execve(2))."""

_VARIABLE_DIGITS = 12
_BREAK = " \\\n  "
_NOT_COPIED = frozenset({"host", "content-length", "transfer-encoding"})
_OF_CURL = ("User-Agent", "Accept")
"""What curl adds to every request of its own accord."""

# What curl sends as it stands in a URL.
_PLAIN_TARGET = re.compile(r"/[0-9A-Za-z\-._~!$&'()*+,;=:@/?%]*")
_DOTS = re.compile(r"/\.{1,2}(?:/|\Z)|/%2e", re.IGNORECASE)
_PLAIN_HOST = re.compile(r"[0-9a-z\-._]+(?::[1-9][0-9]{0,4})?|\[[0-9a-f:.]+\](?::[1-9][0-9]{0,4})?")
_DEFAULT_PORT = {"http": ":80", "https": ":443"}
_IN_FORMAT = {0x25: "%%", 0x27: "\\047", 0x5C: "\\\\"}


def curl_command(exported: Exported) -> bytes:
    """Return a comment that tells the exchange, and the command that sends it again.

    Raises NotExportedError for what curl cannot send, or what was not recorded whole.
    """
    exchange, body = exported.exchange, exported.request_body
    request = exchange.request
    if (reason := why_incomplete(request)) is not None:
        raise NotExportedError(reason)
    if request.method == "HEAD" and body:
        raise NotExportedError("curl sends no body with HEAD")
    try:
        serialize_request(request.method, request.target, request.headers, len(body))
    except ValueError as error:
        raise NotExportedError(f"is no request of HTTP/1: {error}") from error
    words = ["curl -sS", *_protocol(exchange), *_method(exchange, body)]
    words += _headers(exchange, has_body=_has_body(exchange, body))
    before, data = _body(exchange, body)
    words += [*data, *_where(exchange)]
    command = f"{before}{_BREAK.join(words)}\n"
    return f"\n{_comment(exchange, body)}{command}".encode()


def left_out(exchange: Exchange, reason: str) -> bytes:
    """Return a comment that stands in the place of a command."""
    return f"\n# {_told(exchange)}: left out, {printable(reason)}\n".encode()


def _comment(exchange: Exchange, body: bytes) -> str:
    lines = [f"# {_told(exchange)}"]
    names = {
        _variable(one.fingerprint.rpartition(":")[2]): (
            f"{one.place} {one.name}" + (f", {one.scheme}" if one.scheme else "")
        )
        for one in exchange.credentials
    }
    text = "\n".join([exchange.request.target, *(value for _, value in exchange.request.headers)])
    marks = [*find_marks(text), *find_marks(body)]
    lines += [
        f"# {name}: {printable(names.get(name, 'sealed'))}"
        for name in dict.fromkeys(_variable(mark.digest) for mark in marks)
    ]
    if exchange.request.trailers:
        lines.append("# its trailers are left out: curl sends none")
    return "".join(f"{line}\n" for line in lines)


def _told(exchange: Exchange) -> str:
    request, response = exchange.request, exchange.response
    status = "" if response is None else f" -> {response.status}"
    when = moment(exchange.started_us)
    return printable(f"{exchange.id} {when} {request.method} {request.target}{status}")


def _protocol(exchange: Exchange) -> list[str]:
    if exchange.request.version == "1.0":
        return ["--http1.0"]
    # Else curl agrees on HTTP/2, which has no case in names of headers.
    return ["--http1.1"] if exchange.scheme == "https" else []


def _has_body(exchange: Exchange, body: bytes) -> bool:
    """Tell whether a body is sent, be it an empty one with its length."""
    length = first(exchange.request.headers, "content-length")
    return bool(body) or (length is not None and exchange.request.method != "HEAD")


def _method(exchange: Exchange, body: bytes) -> list[str]:
    method = exchange.request.method
    if method == "HEAD":
        return ["--head"]
    if method == "GET" and not _has_body(exchange, body):
        return []
    return [f"-X {method if method.isalpha() else _quoted(method.encode())}"]


def _headers(exchange: Exchange, *, has_body: bool) -> list[str]:
    headers = exchange.request.headers
    words: list[str] = []
    host = first(headers, "host")
    if host is not None and not _is_url_host(host, exchange.scheme):
        words.append(f"-H {_word(_bytes(f'Host: {host}'))}")
    for name, value in end_to_end(headers):
        if name.lower() not in _NOT_COPIED:
            # Without a value it would be one to be left out.
            line = f"{name}: {value}" if value else f"{name};"
            words.append(f"-H {_word(_bytes(line))}")
    unwanted = [*_OF_CURL, "Content-Type", "Expect"] if has_body else _OF_CURL
    return words + [f"-H '{name}:'" for name in unwanted if first(headers, name) is None]


def _where(exchange: Exchange) -> list[str]:
    target = exchange.request.target
    host = first(exchange.request.headers, "host") or ""
    if not _PLAIN_HOST.fullmatch(host):
        host = authority_of(exchange.upstream)
        if not _PLAIN_HOST.fullmatch(host):
            raise NotExportedError("has no host that a URL can name")
    origin = f"{exchange.scheme}://{host}"
    if not _PLAIN_TARGET.fullmatch(target) or target.endswith("?"):
        return [f"--request-target {_word(_bytes(target))}", _quoted(f"{origin}/".encode())]
    as_is = ["--path-as-is"] if _DOTS.search(target.partition("?")[0]) else []
    return [*as_is, _quoted(f"{origin}{target}".encode())]


def _is_url_host(host: str, scheme: str) -> bool:
    """Tell whether curl makes this very Host of a URL."""
    default = _DEFAULT_PORT.get(scheme, "")
    return bool(_PLAIN_HOST.fullmatch(host)) and not (default and host.endswith(default))


# -- bodies -----------------------------------------------------------------------------


def _body(exchange: Exchange, body: bytes) -> tuple[str, list[str]]:
    """Return what stands before the command, and the options that give it its body."""
    if not _has_body(exchange, body):
        return "", []
    if len(body) <= MAX_ARGUMENT_BYTES and all(map(_is_shown, _literals(body))):
        return "", [f"--data-raw {_word(body)}"]
    parts: list[str] = []
    names: list[str] = []
    for piece, name in _pieces(body):
        if name is not None:
            names.append(name)
            parts.append(f'printf %s "${{{name}}}"')
        elif _is_shown(piece):
            parts.append(f"printf %s {_quoted(piece)}")
        else:
            parts.append(f"printf %s {base64.b64encode(piece).decode()} | base64 -d")
    # A variable that is missing on the left of a pipe would not keep curl from running.
    checks = "".join(f': "${{{name}:?}}" && ' for name in dict.fromkeys(names))
    made = parts[0] if len(parts) == 1 else "{ " + "; ".join(parts) + "; }"
    return f"{checks}{made} | ", ["--data-binary @-"]


def _pieces(data: bytes) -> list[tuple[bytes, str | None]]:
    """Return what stands between marks, and for each mark its variable's name."""
    found: list[tuple[bytes, str | None]] = []
    at = 0
    for mark in PATTERN_BYTES.finditer(data):
        found += [(data[at : mark.start()], None), (b"", _variable(mark[2].decode()))]
        at = mark.end()
    found.append((data[at:], None))
    return [(piece, name) for piece, name in found if piece or name is not None]


def _literals(data: bytes) -> list[bytes]:
    return [piece for piece, name in _pieces(data) if name is None]


def _variable(digest: str) -> str:
    return f"SEALED_{digest[:_VARIABLE_DIGITS]}"


# -- quoting ----------------------------------------------------------------------------


def _word(data: bytes) -> str:
    """Return bytes as one word of the shell, marks as variables that must be set."""
    parts = [
        _quoted(piece) if name is None else f'"${{{name}:?}}"' for piece, name in _pieces(data)
    ]
    return "".join(parts) or "''"


def _quoted(data: bytes) -> str:
    """Return bytes as one word. What is not for showing is written by printf, in octal."""
    if _is_shown(data):
        return "'" + data.decode().replace("'", "'\\''") + "'"
    first_byte = f"\\{data[0]:03o}"  # a dash would begin an option
    return "\"$(printf '" + first_byte + "".join(map(_in_format, data[1:])) + "')\""


def _in_format(byte: int) -> str:
    if byte in _IN_FORMAT:
        return _IN_FORMAT[byte]
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"


def _is_shown(data: bytes) -> bool:
    """Tell whether bytes are text that is safe on a terminal, line feeds and tabs included."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return text.replace("\n", "").replace("\t", "").isprintable()


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "replace")
