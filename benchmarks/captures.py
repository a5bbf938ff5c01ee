"""Captures made for benchmarks: evenly paced JSON POSTs of many clients.

Always the same for the same arguments. Bodies differ, so that packing and
reading cost what they cost on real input; nothing in them is sealed, unless
every client is to have a token of its own.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from mirrorproxy.clock import new_id
from mirrorproxy.codec import encode_line
from mirrorproxy.keys import object_key
from mirrorproxy.members import pack
from mirrorproxy.record import Credential, Exchange, Request, Response

T0_US = 1_700_000_000_000_000
CLIENTS = 1000
IN_MEMBER = 100
IN_OBJECT = 100_000
_WORDS = (
    "amber", "basalt", "cedar", "delta", "ember", "fjord", "granite", "harbor", "indigo", "kelp",
)  # fmt: skip


def _bodies(number: int) -> list[str]:
    chosen = random.Random(1)
    return [
        json.dumps({"sku": f"A-{place}", "note": " ".join(chosen.choices(_WORDS, k=160))[:990]})
        for place in range(number)
    ]


def subject(client: int) -> str:
    """Return the fingerprint of a client's user."""
    return f"h1:3f9a:{client:032x}"


def write(root: Path, count: int, rate: int, *, with_tokens: bool = False) -> None:
    """Write a capture of so many exchanges of 1 KiB each, so many of them a second.

    root: a directory that is not there yet or is empty. with_tokens: every
    client sends a token, which is sealed.
    """
    bodies = _bodies(256)
    for start in range(0, count, IN_OBJECT):
        key = object_key("", "bench", T0_US + start * 1_000_000 // rate, f"{start:012d}")
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            end = min(start + IN_OBJECT, count)
            for first in range(start, end, IN_MEMBER):
                numbers = range(first, min(first + IN_MEMBER, end))
                lines = [
                    encode_line(_exchange(number, rate, bodies, with_tokens)) for number in numbers
                ]
                file.write(pack(b"".join(lines), len(lines)))


def _exchange(number: int, rate: int, bodies: list[str], with_token: bool) -> Exchange:
    at_us = T0_US + number * 1_000_000 // rate
    body = bodies[number % len(bodies)]
    client = f"203.0.{number % CLIENTS // 250}.{number % 250}"
    headers = [
        ("Host", "api.example.com"), ("User-Agent", "bench/1"), ("Accept", "*/*"),
        ("Content-Type", "application/json"), ("Content-Length", str(len(body))),
        ("Accept-Encoding", "gzip"), ("X-Forwarded-For", client), ("X-Request-Id", f"{number:x}"),
    ]  # fmt: skip
    credentials = []
    if with_token:
        token = f"h1:3f9a:{number % CLIENTS + CLIENTS:032x}"
        headers.append(("Authorization", f"Bearer {{{token}}}"))
        user = subject(number % CLIENTS)
        claims: dict[str, object] = {"iss": "https://login"}
        credentials = [Credential("header", "Authorization", token, "Bearer", user, claims)]
    return Exchange(
        v=1, id=new_id(at_us), service="orders", via="inline", node="bench/0", started_us=at_us,
        duration_us=1000, client=client, scheme="https", upstream="http://10.0.3.7:8080",
        request=Request("POST", "/api/orders", "1.1", headers, body, "utf8", len(body)),
        response=Response(201), credentials=credentials,
    )  # fmt: skip
