"""Heads: targets, header values and cookies, sealed in place.

Pure; what becomes of the few lines that come with every request is remembered
by who reads them (`lines`). Text is latin-1, as in records: one character is one
byte of the wire.
"""

from __future__ import annotations

import re

from mirrorproxy.capture.seal_form import is_clean, seal_pairs
from mirrorproxy.capture.seal_policy import Mode
from mirrorproxy.capture.seal_text import (
    replace_marks,
    replace_pairs,
    replace_tokens,
    replace_userinfo,
)
from mirrorproxy.capture.seal_values import Findings, Vault
from mirrorproxy.record import Credential, HeaderList

Sealed = tuple[tuple[str, str] | None, tuple[Credential, ...]]
"""A header line as it is recorded (None: dropped), and what was sealed in it."""

_COOKIE_HEADERS = frozenset({"cookie", "cookie2"})
_SET_COOKIE_HEADERS = frozenset({"set-cookie", "set-cookie2"})
_URL_HEADERS = frozenset(
    {
        "location", "content-location", "referer", "destination", "x-original-url",
        "x-original-uri", "x-rewrite-url", "x-forwarded-uri", "x-forwarded-url",
    }
)  # fmt: skip
_MAY_NEED_SEALING = re.compile(r"[=@]|eyJ|\{h1:|:[ \t]*[\"\d]")
_PATH_PARAMETER = re.compile(rb"(?<=;)([^=;/?#]+)=([^;/?#]*)")
_AUTHORITY = re.compile(rb"[^/?#\s@]+@[^/?#\s]*\Z")


class Heads:
    """Seals targets and header lists for one vault."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._names = vault.names

    def lines(self, headers: HeaderList) -> tuple[HeaderList, list[Credential]]:
        """Return header lines sealed, and what was sealed in them."""
        kept: HeaderList = []
        credentials: list[Credential] = []
        for header in headers:
            sealed, found = self.line(header)
            if sealed is not None:
                kept.append(sealed)
            credentials += found
        return kept, credentials

    def target(self, target: str) -> tuple[str, list[Credential]]:
        """Return a request's target sealed, whatever its form."""
        if not _needs_look(target):
            return target, []
        raw = target.encode("latin-1", "replace")
        if "@" not in target and is_clean(raw, self._names):
            return target, []
        found = Findings(self._vault, "query")
        if _AUTHORITY.match(raw):
            user, _, host = raw.rpartition(b"@")
            raw = found.replace("userinfo", user, "seal") + b"@" + host
        else:
            raw = self._url(raw, found)
        return raw.decode("latin-1"), found.credentials

    def line(self, line: tuple[str, str]) -> Sealed:
        """Return one header line sealed."""
        name, value = line
        lower = name.lower()
        mode = self._names.header(lower)
        if mode == "keep":
            return line, ()
        if mode == "drop":
            return None, ()
        if lower in _COOKIE_HEADERS:
            found = Findings(self._vault, "cookie")
            return self._rest(name, self._cookies(value, found), found, line)
        if lower in _SET_COOKIE_HEADERS:
            found = Findings(self._vault, "cookie")
            cookie = self._set_cookie(value, found)
            return (None, ()) if cookie is None else self._rest(name, cookie, found, line)
        found = Findings(self._vault, "header")
        if mode == "seal":
            return self._secret(name, lower, value, found)
        if not _MAY_NEED_SEALING.search(value) and not _needs_look(value):
            return line, ()
        raw = value.encode("latin-1", "replace")
        if lower in _URL_HEADERS:
            sealed = self._url(raw, found)
        else:
            sealed = replace_pairs(replace_marks(raw, found), found)
            sealed = replace_tokens(replace_userinfo(sealed, found), found)
        return self._rest(name, sealed.decode("latin-1"), found, line)

    def _rest(self, name: str, value: str, found: Findings, line: tuple[str, str]) -> Sealed:
        if value == line[1]:
            return line, ()
        return (name, value), tuple(found.credentials)

    def _secret(self, name: str, lower: str, value: str, found: Findings) -> Sealed:
        raw = value.encode("latin-1", "replace")
        if not raw.strip():
            return (name, value), ()
        if lower.endswith("authorization"):  # Proxy-, X-, X-Forwarded-, Grpc-Metadata- ...
            sealed, credential = self._vault.authorization("header", name, raw)
            return (name, sealed.decode("latin-1")), (credential,)
        mark = found.replace(name, raw, "seal").decode("latin-1")
        return (name, mark), tuple(found.credentials)

    def _cookies(self, value: str, found: Findings) -> str:
        kept: list[str] = []
        for part in value.split(";"):
            sealed = self._cookie(part, found)
            if sealed is not None:
                kept.append(sealed)
        text = ";".join(kept)
        # The first one that is left may have stood behind another.
        return text.lstrip() if value[:1] not in (" ", "\t") else text

    def _cookie(self, part: str, found: Findings) -> str | None:
        name, equals, value = part.partition("=")
        if not equals:
            # A cookie without a name: browsers send its value alone.
            name, value = "", part
        bare_name = name.strip()
        mode: Mode = self._names.cookie(bare_name)
        if mode == "drop":
            return None
        bare = value.strip()
        start = value.find(bare)
        if len(bare) >= 2 and bare[0] == bare[-1] == '"':
            bare, start = bare[1:-1], start + 1
        if mode == "keep" or not bare:
            return part
        mark = found.replace(bare_name, bare.encode("latin-1", "replace"), "seal").decode()
        return name + equals + value[:start] + mark + value[start + len(bare) :]

    def _set_cookie(self, value: str, found: Findings) -> str | None:
        cookie, semicolon, attributes = value.partition(";")
        sealed = self._cookie(cookie, found)
        return None if sealed is None else sealed + semicolon + attributes

    def _url(self, raw: bytes, found: Findings) -> bytes:
        """Seal user information, path parameters, query and fragment."""
        raw = replace_userinfo(replace_marks(raw, found), found)
        before, hash_sign, fragment = raw.partition(b"#")
        path, question, query = before.partition(b"?")
        if b";" in path:
            path = _PATH_PARAMETER.sub(lambda pair: self._path_parameter(pair, found), path)
        if query:
            query = seal_pairs(query, found, in_query=True)
        if fragment:
            # Browsers' applications keep a path and a query of their own in the fragment.
            fragment = seal_pairs(fragment, found, in_query=True)
        return replace_tokens(path + question + query + hash_sign + fragment, found)

    def _path_parameter(self, pair: re.Match[bytes], found: Findings) -> bytes:
        mode = self._names.field(pair[1], in_query=True)
        if mode is None:
            return pair[0]
        return pair[1] + b"=" + found.replace(pair[1].decode("latin-1"), pair[2], mode)


def _needs_look(text: str) -> bool:
    return "=" in text or "@" in text or "eyJ" in text or "{h1:" in text or "%" in text
