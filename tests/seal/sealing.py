"""What the sealing tests share: one key, one sealer, and the mark of a secret."""

from __future__ import annotations

import base64
import json

from mirrorproxy.capture.seal import Sealer, SealPolicy
from mirrorproxy.capture.seal_key import SealKey

KEY = SealKey(b"0123456789abcdef0123456789abcdef")


def mark(secret: str | bytes) -> str:
    """The mark that stands for a bare secret."""
    raw = secret.encode() if isinstance(secret, str) else secret
    return "{" + KEY.fingerprint(raw) + "}"


def sealer(**policy: object) -> Sealer:
    return Sealer(SealPolicy(**policy), KEY)  # type: ignore[arg-type]


def jwt(signature: str = "c2lnbmF0dXJl", **claims: object) -> str:
    def part(value: dict[str, object]) -> str:
        text = json.dumps(value, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(text).rstrip(b"=").decode()

    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{signature}"


def in_pieces(data: bytes, sizes: list[int], content_type: str | None, coding: str | None = None):
    """Seal a body cut into pieces; return (data or None, omitted)."""
    stream = sealer().stream(content_type, coding)
    out, at, index = [], 0, 0
    while at < len(data):
        size = max(1, sizes[index % len(sizes)])
        out.append(stream.feed(data[at : at + size]))
        at += size
        index += 1
    out.append(stream.finish())
    return (None if stream.omitted else b"".join(out)), stream.omitted
