"""Findings: what a check says, and what to do about it.

Pure. Owns the form of a finding, and the words for an answer that never came.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

Level = Literal["ok", "warning", "problem", "unchecked"]
"""problem: it will not work, or will lose something. warning: it works, and may not be what is
wanted. unchecked: nothing is known of it."""

FailureKind = Literal[
    "denied", "missing", "credentials", "expired", "region", "refused", "away", "other"
]
"""refused: what was asked makes no sense, so whoever asked may ask it. away: no answer came."""

T = TypeVar("T")


class Finding(msgspec.Struct, frozen=True):
    """One line of the doctor's. what: was checked; says: how it is; do: the remedy, "" for none."""

    level: Level
    what: str
    says: str
    do: str = ""


class Failure(msgspec.Struct, frozen=True):
    """Why a value could not be fetched. text: the peer's own words, without anything secret."""

    kind: FailureKind
    text: str


_CREDENTIALS = "set AWS_PROFILE or AWS_ACCESS_KEY_ID, or give this machine a role"
_REMEDIES: dict[FailureKind, str] = {
    "credentials": _CREDENTIALS,
    "expired": "renew the credentials; for a long run use a role, which renews them by itself",
    "region": "name the region where it is: region= in the URL, or AWS_REGION",
    "away": "look at the network, the region and a VPC endpoint",
}


def failed(what: str, failure: Failure, *, permission: str, missing: str) -> Finding:
    """Return the finding that something needed cannot be had.

    permission: the one that the call takes; missing: what to do if it is not there.
    """
    if failure.kind == "denied":
        return Finding("problem", what, "permission denied", f"allow {permission}")
    if failure.kind == "missing":
        return Finding("problem", what, "is not there", missing)
    return Finding("problem", what, failure.text, _REMEDIES.get(failure.kind, ""))


def allowed(what: str, failure: Failure | None, *, permission: str, missing: str) -> Finding:
    """Return whether a call is allowed, by the answer to one that cannot do anything.

    AWS looks at permissions before it looks at what is asked: to be refused for
    asking nonsense is to be allowed to ask.
    """
    if failure is None or failure.kind == "refused":
        return Finding("ok", what, "allowed")
    if failure.kind == "other":
        return Finding("unchecked", what, failure.text)
    return failed(what, failure, permission=permission, missing=missing)


def unknown(what: str, failure: Failure, *, permission: str) -> Finding:
    """Return the finding that something only the doctor wanted to know cannot be had."""
    if failure.kind == "denied":
        return Finding("unchecked", what, "permission denied", f"allow {permission} to have it")
    return Finding("unchecked", what, failure.text)
