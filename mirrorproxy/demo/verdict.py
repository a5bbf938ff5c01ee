"""Whether the demo worked: what staging holds against what it should hold. Pure, but for
reading the files that a search for secrets looks through."""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from mirrorproxy.demo.orders import Order

GZIP_MAGIC = b"\x1f\x8b"


def differences(
    production: Mapping[str, Order],
    staging: Mapping[str, Order],
    users: Mapping[str, str],
    production_before: Mapping[str, Order],
    staging_before: Mapping[str, Order],
) -> list[str]:
    """Return what is wrong with staging's orders after the replay, one line each.

    users: production's user to staging's. Right is: staging holds what it held
    before, and of production's new orders a copy each that belongs to the
    corresponding user.
    """
    expected = dict(staging_before)
    for number, order in production.items():
        if number not in production_before:
            owner = users[order.owner]
            expected[number] = Order(owner, order.item, order.quantity, order.notes, order.label)
    found = [f"{number} is missing" for number in sorted(expected.keys() - staging.keys())]
    found += [
        f"{number} should not be there" for number in sorted(staging.keys() - expected.keys())
    ]
    for number in sorted(expected.keys() & staging.keys()):
        if staging[number] != expected[number]:
            found.append(f"{number} is {staging[number]}, not {expected[number]}")
    return found


def files_holding(directory: Path, secrets: Iterable[str]) -> tuple[int, list[Path]]:
    """Search every file under a directory for secrets, inside gzip and as Base64 too.

    Returns how many files were searched and those that hold one.
    """
    needles = [form for secret in secrets for form in _forms(secret)]
    searched, found = 0, []
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            searched += 1
            if any(needle in text for text in _texts(path.read_bytes()) for needle in needles):
                found.append(path)
    return searched, found


def _forms(secret: str) -> list[bytes]:
    plain = secret.encode()
    # Base64 depends on where the secret stands in a triple: its inner part for each offset.
    return [plain] + [base64.b64encode(b"\0" * pad + plain)[4:-4] for pad in range(3)]


def _texts(data: bytes) -> list[bytes]:
    if not data.startswith(GZIP_MAGIC):
        return [data]
    try:
        return [data, gzip.decompress(data)]
    except (OSError, EOFError, zlib.error):
        return [data]
