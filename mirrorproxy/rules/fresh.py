"""Fresh values: what an extra copy says where a value must be its own.

Pure. The same run, copy and captured value always give the same fresh one, on
every machine. So a client's retry, which repeats its key, repeats it in each
copy too, and what one request of a copy made up another can refer to.
"""

from __future__ import annotations

import hashlib
import re
import string

_ID = re.compile(r"[A-Za-z0-9\"{}._:/+=-]{8,200}", re.ASCII)
_EMAIL = re.compile(r"([^@\s]+)(@[^@\s]+)")
_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE
)
_UUID_KEPT = (14, 19)
"""Where the version and the variant stand (RFC 9562, 4)."""
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII)
_ULID_TIME = 10
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PREFIX = re.compile(r"[A-Za-z]+[-_:.]", re.ASCII)
_SUFFIX_DIGITS = 8


def fresh(value: str, run: str, copy: int) -> str:
    """Return the value for a copy, of the same shape.

    copy: 0 is the first, which keeps what was captured. Numbers keep their
    length, UUIDs their version, ULIDs their time, ids a word at their beginning
    (``order-``) and their letters and digits by kind; an email address gets a
    suffix before its @, any other text one at its end.
    """
    if copy == 0 or not value:
        return value
    seed = f"{run}\0{copy}\0{value}".encode("utf-8", "surrogatepass")
    digest = hashlib.shake_256(seed).digest(max(len(value), _SUFFIX_DIGITS) * 2)
    if value.isascii() and value.isdigit():
        return _digits(value, digest)
    found = _UUID.search(value)
    if found is not None:
        return _alike(value, digest, 0, frozenset(found.start() + at for at in _UUID_KEPT))
    if _ULID.fullmatch(value):
        rest = (_CROCKFORD[byte % 32] for byte in digest[: len(value) - _ULID_TIME])
        return value[:_ULID_TIME] + "".join(rest)
    if _ID.fullmatch(value) and any(char.isdigit() for char in value):
        prefix = _PREFIX.match(value)
        return _alike(value, digest, prefix.end() if prefix else 0, frozenset())
    suffix = digest[:_SUFFIX_DIGITS].hex()[:_SUFFIX_DIGITS]
    email = _EMAIL.fullmatch(value)
    if email is not None:
        return f"{email[1]}+{suffix}{email[2]}"
    return f"{value}-{suffix}"


def _digits(value: str, digest: bytes) -> str:
    """Return as many digits; not 0 first, which a JSON number can't have."""
    text = "".join(str(byte % 10) for byte in digest[: len(value)])
    first = str(digest[0] % 9 + 1)
    return first + text[1:] if value[0] != "0" else f"0{text[1:]}"


def _alike(value: str, digest: bytes, start: int, kept: frozenset[int]) -> str:
    """Return a text with each letter and digit from start on changed for another of its kind."""
    is_hex = all(char in string.hexdigits or not char.isalnum() for char in value[start:])
    result = list(value[:start])
    for at, char in enumerate(value[start:], start):
        number = digest[2 * at] << 8 | digest[2 * at + 1]
        if at in kept or not char.isalnum():
            result.append(char)
        elif is_hex:
            digit = "0123456789abcdef"[number % 16]
            result.append(digit.upper() if value.upper() == value else digit)
        elif char.isdigit():
            result.append(str(number % 10))
        elif char.isupper():
            result.append(string.ascii_uppercase[number % 26])
        else:
            result.append(string.ascii_lowercase[number % 26])
    return "".join(result)
