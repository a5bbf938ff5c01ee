"""Which names are sensitive, and what is done with their values.

Pure: names in, modes out. Owns the built-in names, the policy that overrides
them, and the quick test whether a body can hold any of them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import msgspec

Mode = Literal["seal", "drop", "keep"]
"""seal: a mark takes the value's place. drop: nothing does. keep: it is recorded."""

MAX_NAME = 1024
"""Bytes. What is longer is nobody's field name, and would only fill the caches."""

_NAMES_CACHED = 4096

_SECRET_HEADERS = frozenset(
    {
        "authorization", "proxy-authorization", "x-authorization", "x-original-authorization",
        "x-forwarded-authorization", "x-api-key", "api-key", "apikey", "x-apikey",
        "ocp-apim-subscription-key", "x-functions-key", "x-goog-api-key", "x-rapidapi-key",
        "x-master-key", "x-algolia-api-key", "x-shared-secret", "x-amzn-oidc-data", "x-auth",
        "x-auth-key", "x-access-key", "x-secret", "x-session-id", "x-credentials",
        "cf-access-client-secret", "x-ms-token-aad-access-token", "x-vault-token",
        "private-token",
    }
)  # fmt: skip
_SECRET_HEADER_PARTS = ("apikey", "password", "passwd", "secret", "accesskey", "privatekey")

# Compared without case and separators: accessToken, access-token and ACCESS_TOKEN are one name.
_SECRET_FIELDS = frozenset(
    {
        "pass", "passwd", "pwd", "passphrase", "passcode", "userpass", "dbpass", "secret",
        "secrets", "token", "tokens", "otp", "totp", "hotp", "code", "authcode",
        "authorizationcode", "devicecode", "usercode", "onetimecode", "verificationcode",
        "mfacode", "otpcode", "smscode", "twofactorcode", "securitycode", "recoverycode",
        "recoverycodes", "backupcode", "backupcodes", "codeverifier", "cvv", "cvc", "cvv2",
        "samlresponse", "sessionid", "sessionkey", "jsessionid", "phpsessid", "authorization",
        "proxyauthorization", "xamzsignature", "xamzcredential", "xgoogsignature",
        "xgoogcredential", "authkey",
    }
)  # fmt: skip
_SECRET_FIELD_PARTS = ("password", "passwd", "passphrase", "apikey", "secretkey", "secretaccess")
_SECRET_FIELD_ENDS = (
    "token", "tokens", "secret", "secrets", "pwd", "assertion", "privatekey", "accesskey",
)  # fmt: skip
_SECRET_QUERY_KEYS = frozenset({"sig", "signature"})
"""Signed URLs of object stores: whoever has the signature has the object."""

# Every sensitive name holds one of these, so that most bodies are passed on after one search.
_NEEDLES = (
    "pass", "pwd", "secret", "code", "assert", "otp", "token", "key", "auth", "cvv", "cvc",
    "saml", "sess", "sig", "x-amz-cred", "x-goog-cred",
)  # fmt: skip

_SEGMENTS = re.compile(r"[\[\].:/]+")
_NOT_LETTERS = re.compile(r"[^0-9a-z]+")


class SealPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Modes per name, over the defaults of sealing.

    Names in any case. fields: query keys, JSON keys, form and multipart
    fields. basic_user: record the user name of Basic credentials in the clear.
    """

    headers: Mapping[str, Mode] = {}
    cookies: Mapping[str, Mode] = {}
    fields: Mapping[str, Mode] = {}
    basic_user: bool = False

    def kept(self) -> list[str]:
        """Return what is recorded in the clear by choice, for the warning at every start."""
        groups = (("header", self.headers), ("cookie", self.cookies), ("field", self.fields))
        found = [
            f"{kind} {name}"
            for kind, modes in groups
            for name, mode in sorted(modes.items())
            if mode == "keep"
        ]
        return [*found, "user names of Basic credentials"] if self.basic_user else found


class Names:
    """A policy made ready for the hot path. Answers are cached, in bounded memory."""

    def __init__(self, policy: SealPolicy) -> None:
        self.basic_user = policy.basic_user
        self._headers = {name.lower(): mode for name, mode in policy.headers.items()}
        self._cookies = {name.lower(): mode for name, mode in policy.cookies.items()}
        self._fields = {name.lower(): mode for name, mode in policy.fields.items()}
        chosen = [name for name, mode in self._fields.items() if mode != "keep"]
        self._needles = tuple(dict.fromkeys((*_NEEDLES, *chosen)))
        self.may_hold_secret = searcher((*self._needles, "{h1:", "eyj", r"\u00"))
        """Whether bytes can hold a sensitive name, a token or a mark, escaped or not."""
        self._field_cached = functools.lru_cache(_NAMES_CACHED)(self._field)

    def header(self, name: str) -> Mode | None:
        """Return the mode of a header by its lower-case name; None: look for secrets inside."""
        if name in self._headers:
            return self._headers[name]
        if name in _SECRET_HEADERS:
            return "seal"
        bare = _NOT_LETTERS.sub("", name)
        if bare.endswith("token") or any(part in bare for part in _SECRET_HEADER_PARTS):
            return "seal"
        return None

    def cookie(self, name: str) -> Mode:
        """Return the mode of a cookie; every cookie is sealed unless the policy names it."""
        return self._cookies.get(name.lower(), "seal")

    def field(self, name: bytes, *, in_query: bool = False) -> Mode | None:
        """Return the mode of a field or query key, unescaped; None: not sensitive."""
        if len(name) > MAX_NAME:
            return None
        return self._field_cached(name, in_query)

    def _field(self, name: bytes, in_query: bool) -> Mode | None:
        text = name.decode("utf-8", "replace").casefold()
        if text in self._fields:
            mode = self._fields[text]
            return None if mode == "keep" else mode
        segments = [segment for segment in _SEGMENTS.split(text) if segment]
        for segment in reversed(segments):
            if segment in self._fields:
                mode = self._fields[segment]
                return None if mode == "keep" else mode
        # Fields of forms nest as user[password], flattened JSON as user.password.
        if any(_is_secret_field(segment, in_query) for segment in segments):
            return "seal"
        return None

    def needle_positions(self, data: bytes) -> Iterator[int]:
        """Yield where sensitive names may stand in data, in order."""
        lower = data.lower()
        found: list[int] = []
        for needle in self._needles:
            sought = needle.encode()
            at = lower.find(sought)
            while at >= 0:
                found.append(at)
                at = lower.find(sought, at + 1)
        return iter(sorted(found))


def _is_secret_field(segment: str, in_query: bool) -> bool:
    if not any(needle in segment for needle in _NEEDLES):
        return False
    bare = _NOT_LETTERS.sub("", segment)
    trimmed = bare.rstrip("0123456789") or bare
    return (
        trimmed in _SECRET_FIELDS
        or bare in _SECRET_FIELDS
        or trimmed.endswith(_SECRET_FIELD_ENDS)
        or any(part in bare for part in _SECRET_FIELD_PARTS)
        or (in_query and trimmed in _SECRET_QUERY_KEYS)
    )


def searcher(needles: tuple[str, ...]) -> Callable[[bytes], bool]:
    """Return a test whether bytes hold any needle, whatever the case of its letters.

    needles: lower-case. Time is linear in the bytes.
    """
    sought = tuple(needle.encode() for needle in needles)

    def search(data: bytes) -> bool:
        lower = data.lower()
        return any(needle in lower for needle in sought)

    return search
