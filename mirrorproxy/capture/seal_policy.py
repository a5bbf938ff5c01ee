"""Which names are sensitive, and what is done with their values.

Pure: names in, modes out. Owns the built-in names, the policy that overrides
them, and the quick test whether a body can hold any of them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Literal

import msgspec
import re2  # type: ignore[import-untyped,unused-ignore]

Mode = Literal["seal", "drop", "keep"]
"""seal: a mark takes the value's place. drop: nothing does. keep: it is recorded."""

MAX_NAME = 1024
"""Bytes. What is longer is nobody's field name, and would only fill the caches."""

_NAMES_CACHED = 4096

_SECRET_HEADERS = frozenset(
    {
        "x-api-key", "api-key", "apikey", "x-apikey",
        "ocp-apim-subscription-key", "x-functions-key", "x-goog-api-key", "x-rapidapi-key",
        "x-master-key", "x-algolia-api-key", "x-shared-secret", "x-amzn-oidc-data", "x-auth",
        "x-auth-key", "x-access-key", "x-secret", "x-session-id", "x-credentials",
        "cf-access-client-secret", "x-ms-token-aad-access-token", "x-vault-token",
        "private-token", "authentication", "x-authentication", "x-credential", "x-session",
        "x-session-key", "x-app-key", "x-application-key", "x-client-key", "x-consumer-key",
        "x-subscription-key",
    }
)  # fmt: skip
_SECRET_HEADER_ENDS = ("token", "authorization", "otp", "passcode")
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

_SEPARATOR = r"[^0-9a-z\"]{0,3}"
# Zero-width where it can be: the quote beside a name has to stay for what stands around it.
_BEFORE = r"(?:\b|[_0-9]|\\[bfnrt])"
_AFTER = r"(?:\b|[_0-9])"
# Every sensitive name matches one of these, so that most bodies need one search alone.
_NAMES = (
    "pass", "pwd", "secret", "token", "assertion", "authorization", "cvv", "cvc",
    _BEFORE + "[th]?otp",
    _BEFORE
    + "(?:auth|authorization|device|user|onetime|verification|mfa|otp|sms|twofactor|security"
    + "|recovery|backup)?code(?:s|verifier)?"
    + _AFTER,
    f"(?:api|secret|private|access|session|auth){_SEPARATOR}key",
    f"sess(?:ion)?{_SEPARATOR}id",
    f"saml{_SEPARATOR}response",
    f"(?:amz|goog){_SEPARATOR}(?:signature|credential)",
    _BEFORE + "sig(?:nature)?" + _AFTER,
)  # fmt: skip
_MARK_BEGUN = r"\{h1:"
_JWT_BEGUN = "(?-i:eyJ)"
_LETTER_ESCAPED = r"\\u00[2-7]"
_ESCAPED = re.compile(_LETTER_ESCAPED.encode())

NAMED, MARKED, TOKENED, ESCAPED = range(4)
"""What `Names.signs` can find: a sensitive name, a mark, a token, an escaped letter."""

_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
# As bytes of UTF-8, or escaped in JSON or in a form; its case is not known by its bytes.
_LETTER_BEYOND_ASCII = r"(?:[\x80-\xff]|\\u[0-9a-f]{4}|%[0-9a-f]{2})+"

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
        self._fields = {name.casefold(): mode for name, mode in policy.fields.items()}
        chosen = [_hint_of(name) for name, mode in policy.fields.items() if mode != "keep"]
        names = "|".join((*_NAMES, *chosen))
        options = _latin_options()
        self._named = re2.compile(names.encode(), options)
        self._named_string = re2.compile(f'"[^"]*(?:{names})[^"]*"(?:\\s*:)?'.encode(), options)
        signs = re2.Set.SearchSet(options)
        for pattern in (names, _MARK_BEGUN, _JWT_BEGUN, _LETTER_ESCAPED):
            signs.Add(pattern)
        signs.Compile()
        self._signs = signs
        self._field_cached = functools.lru_cache(_NAMES_CACHED)(self._field)

    def header(self, name: str) -> Mode | None:
        """Return the mode of a header by its lower-case name; None: look for secrets inside."""
        if name in self._headers:
            return self._headers[name]
        if name in _SECRET_HEADERS:
            return "seal"
        bare = _NOT_LETTERS.sub("", name)
        if bare.endswith(_SECRET_HEADER_ENDS) or any(part in bare for part in _SECRET_HEADER_PARTS):
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
        if self._named.search(name) is None:
            return None
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
        if any(_is_secret(segment, in_query) for segment in segments):
            return "seal"
        return None

    def signs(self, data: bytes) -> Collection[int]:
        """Return which of NAMED, MARKED, TOKENED and ESCAPED may stand in data.

        One pass in linear time. What is not found is not there; what is found
        has to be looked at.
        """
        found: list[int] | None = self._signs.Match(data)
        return found or ()

    def suspect_places(self, data: bytes) -> list[int]:
        """Return where sensitive names or escaped letters may stand in data, in order."""
        signs = self.signs(data)
        places: list[int] = []
        if NAMED in signs:
            places += [found.start() for found in self._named.finditer(data)]
        if ESCAPED in signs:
            places += [found.start() for found in _ESCAPED.finditer(data)]
            places.sort()
        return places

    def named_strings(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield start and end of each quoted string of data that holds a sensitive name.

        A colon after it is part of it. For valid JSON without backslashes.
        """
        return (found.span() for found in self._named_string.finditer(data))


def _hint_of(name: str) -> str:
    """Return a pattern that is found wherever a name may stand, in any case, escaped or not."""
    spellings = dict.fromkeys((name.lower(), name.casefold()))
    return "|".join(
        _NOT_ASCII.sub(lambda _: _LETTER_BEYOND_ASCII, re2.escape(text)) for text in spellings
    )


def _is_secret(segment: str, in_query: bool) -> bool:
    bare = _NOT_LETTERS.sub("", segment)
    trimmed = bare.rstrip("0123456789") or bare
    return (
        trimmed in _SECRET_FIELDS
        or bare in _SECRET_FIELDS
        or trimmed.endswith(_SECRET_FIELD_ENDS)
        or any(part in bare for part in _SECRET_FIELD_PARTS)
        or (in_query and trimmed in _SECRET_QUERY_KEYS)
    )


def linear_pattern(pattern: bytes) -> re2._Regexp:
    """Return a pattern of `re`, for bytes, that RE2 matches; without groups, ``.`` is any byte."""
    options = _latin_options()
    options.case_sensitive = True
    options.dot_nl = True
    # RE2 knows neither possessive repeats, which it does not need, nor \x0b as a space.
    plain = pattern.replace(b"*+", b"*").replace(rb"\s", rb"\t\n\v\f\r ")
    return re2.compile(plain, options)


def _latin_options() -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bodies are bytes, whatever their charset
    options.case_sensitive = False
    options.never_capture = True
    return options
