"""Values: one secret in, its mark and its credential entry out.

Pure. Owns what a record may tell about a secret: its fingerprint, the scheme,
the fingerprint of whose it is, and a few claims of a token that name no person.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re

import msgspec

from mirrorproxy.capture.seal_key import SealKey
from mirrorproxy.capture.seal_policy import Mode, Names
from mirrorproxy.marks import mark_of
from mirrorproxy.record import Credential

CLAIMS = ("iss", "aud", "azp", "client_id", "scope", "scp", "tid", "roles")
"""Claims of a token that are recorded: who issued it, for whom, what it allows. No person."""

MAX_CREDENTIALS = 100
"""Entries of one request; what is sealed beyond them is in the record as marks alone."""

MAX_SECRET_BYTES = 1 << 20
"""A longer secret cannot be sealed: it would have to be held whole to be hashed."""

_MAX_CLAIM_CHARS = 256
_MAX_CLAIM_ITEMS = 32
_MAX_CACHED_BYTES = 4096
_VALUES_CACHED = 2048

_SCHEME = re.compile(
    r"(bearer|basic|digest|negotiate|ntlm|hawk|dpop|token|api-?key|oauth|jwt|bot|key|vapid|hmac"
    r"|privatetoken|sharedkey(?:lite)?|sharedaccesssignature|aws4-[a-z0-9-]+|aws|signature"
    r"|hoba|mutual|gnap|scram-[a-z0-9-]+|goog4-[a-z0-9-]+|googlelogin|splunk|genie-?key)"
    r"([ \t]+)(.+)",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
_SUBJECTS = {
    # The part of these schemes that stays the same from one request to the next.
    "digest": re.compile(r'\busername="((?:[^"\\]|\\.)*)"'),
    "hawk": re.compile(r'\bid="([^"]*)"'),
    "aws4": re.compile(r"\bCredential=([^/,\s]+)"),
    "aws": re.compile(r"([^:\s]+):"),
    "sharedkey": re.compile(r"([^:\s]+):"),
}


class Unsealable(Exception):
    """The body holds, or may hold, a secret that cannot be replaced in place."""


class Vault:
    """Makes marks and credentials with one key. Caches in memory, bounded in count and size."""

    def __init__(self, key: SealKey, names: Names) -> None:
        self.names = names
        self._key = key
        self._cached = functools.lru_cache(_VALUES_CACHED)(self._describe)

    def credential(self, place: str, name: str, value: bytes) -> Credential:
        """Return the entry for one bare secret; a token's subject and claims with it."""
        if len(value) > _MAX_CACHED_BYTES:
            return self._describe(place, name, value)
        return self._cached(place, name, value)

    def _describe(self, place: str, name: str, value: bytes) -> Credential:
        credential = Credential(place, name, self._key.fingerprint(value))
        if value[:3] == b"eyJ":
            subject, claims = _token_facts(value)
            credential.claims = claims
            if subject is not None:
                credential.subject = self._key.fingerprint(subject.encode("utf-8", "replace"))
        return credential

    def authorization(self, place: str, name: str, value: bytes) -> tuple[bytes, Credential]:
        """Return (what is recorded, credential) for a value such as ``Bearer abc``.

        A known scheme stays, as written. Of any other value nothing stays: its
        first word may be part of the secret.
        """
        text = value.decode("latin-1")
        parts = _SCHEME.fullmatch(text)
        if parts is None:
            credential = self.credential(place, name, value)
            return mark_of(credential.fingerprint).encode(), credential
        scheme, gap, rest = parts[1], parts[2], parts[3].rstrip(" \t")
        bare = rest.encode("latin-1")
        described = self._describe(place, name, bare)
        described.scheme = scheme
        user = _user(scheme.lower(), rest)
        if user is not None:
            described.subject = self._key.fingerprint(user)
            if self.names.basic_user and scheme.lower() == "basic":
                described.user = user.decode("utf-8", "replace")
        return f"{scheme}{gap}{mark_of(described.fingerprint)}".encode("latin-1"), described


class Findings:
    """What was sealed in one request: its credentials, each once, and how much.

    place: where the secrets stand, see `record.Credential`.
    """

    __slots__ = ("_seen", "_vault", "credentials", "names", "place", "sealed")

    def __init__(self, vault: Vault, place: str) -> None:
        self.place = place
        self.names = vault.names
        self.credentials: list[Credential] = []
        self.sealed = 0
        self._vault = vault
        self._seen: set[tuple[str, str]] = set()

    def replace(self, name: str, value: bytes, mode: Mode) -> bytes:
        """Return what stands in the record for a bare secret: its mark, or nothing if dropped.

        An empty value is no secret and stays.
        """
        if not value:
            return value
        self.sealed += 1
        if mode == "drop":
            return b""
        bare = name.rpartition(".")[2].casefold()
        if bare in {"authorization", "proxyauthorization", "proxy-authorization"}:
            text, credential = self._vault.authorization(self.place, name, value)
            self._add(credential)
            return text
        credential = self._vault.credential(self.place, name, value)
        self._add(credential)
        return mark_of(credential.fingerprint).encode()

    def probe(self) -> Findings:
        """Return empty findings of the same kind, to try what a text holds."""
        return Findings(self._vault, self.place)

    def _add(self, credential: Credential) -> None:
        key = (credential.name, credential.fingerprint)
        if len(self.credentials) < MAX_CREDENTIALS and key not in self._seen:
            self._seen.add(key)
            self.credentials.append(credential)


def _user(scheme: str, rest: str) -> bytes | None:
    """Return who the credential belongs to, where the scheme tells without the secret."""
    if scheme == "basic":
        try:
            decoded = base64.b64decode(
                rest + "=" * (-len(rest) % 4), altchars=b"-_", validate=False
            )
        except (binascii.Error, ValueError):
            return None
        user, colon, _ = decoded.partition(b":")
        # Without a colon there is no telling whether this is the user or the password.
        return user if colon and user else None
    pattern = _SUBJECTS.get(scheme.partition("-")[0]) or _SUBJECTS.get(scheme)
    found = pattern.search(rest) if pattern else None
    return found[1].encode("latin-1") if found else None


def _token_facts(token: bytes) -> tuple[str | None, dict[str, object]]:
    """Return (sub, allowed claims) of a JWT; (None, {}) of anything else, JWE included."""
    parts = token.split(b".")
    if len(parts) != 3:
        return None, {}
    try:
        payload = base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4))
        content = msgspec.json.decode(payload)
    except (binascii.Error, ValueError, RecursionError):
        return None, {}
    if not isinstance(content, dict):
        return None, {}
    subject = content.get("sub")
    claims = {
        name: content[name] for name in CLAIMS if name in content and _is_plain(content[name])
    }
    return (str(subject) if isinstance(subject, str | int) and subject != "" else None), claims


def _is_plain(claim: object) -> bool:
    if isinstance(claim, str):
        # A token within a claim, or a mark that would pass for ours, is not told.
        return len(claim) <= _MAX_CLAIM_CHARS and "eyJ" not in claim and "{h1:" not in claim
    if isinstance(claim, list):
        return len(claim) <= _MAX_CLAIM_ITEMS and all(
            isinstance(item, str) and _is_plain(item) for item in claim
        )
    return isinstance(claim, bool | int)
