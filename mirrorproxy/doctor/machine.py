"""The checks of this machine: the spool and the clock. Pure: over what was measured."""

from __future__ import annotations

import msgspec

from mirrorproxy.doctor.finding import Finding
from mirrorproxy.units import format_duration, format_size

SKEW_S = 2.0
"""Dates in HTTP have whole seconds, and an answer takes a moment: less is no skew."""

SIGNATURE_SKEW_S = 300.0
"""What AWS allows between a signature's time and its own."""

FULL = 0.8

_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "ceph", "glusterfs"})


class SpoolFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was found where the spool is, or will be.

    path: the spool; exists: whether it is there. owner, me: user ids. mode: its
    permission bits. writable: for us. free_bytes: on its file system; used_bytes: by
    it. filesystem: its kind, "" if not known. quarantined: files in its quarantine.
    """

    path: str
    exists: bool
    owner: int
    me: int
    mode: int
    writable: bool
    free_bytes: int
    used_bytes: int
    filesystem: str = ""
    quarantined: int = 0
    error: str = ""


def check_spool(facts: SpoolFacts, limit_bytes: int) -> list[Finding]:
    """Return what is to be said of a spool. limit_bytes: its bound."""
    what = f"spool {facts.path}"
    if facts.error:
        return [Finding("problem", what, facts.error, "name another with --spool")]
    findings = []
    if not facts.writable:
        findings.append(
            Finding(
                "problem",
                what,
                f"cannot be written by user {facts.me} (owner {facts.owner})",
                f"chown it to {facts.me}, or run as {facts.owner}",
            )
        )
    elif facts.exists and facts.owner != facts.me:
        findings.append(
            Finding(
                "warning",
                what,
                f"belongs to user {facts.owner}, not to {facts.me}",
                "run the doctor, and the capture, as its owner",
            )
        )
    if facts.exists and facts.mode & 0o007:
        findings.append(
            Finding("warning", what, "everybody on this machine may look into it", "chmod 700 it")
        )
    room = facts.free_bytes + facts.used_bytes
    if room < limit_bytes:
        findings.append(
            Finding(
                "problem",
                what,
                f"may grow to {format_size(limit_bytes)}, and its disk has {format_size(room)}",
                f"set --spool-limit below {format_size(room)}, or move it",
            )
        )
    if facts.used_bytes > FULL * limit_bytes:
        findings.append(
            Finding(
                "warning",
                what,
                f"holds {format_size(facts.used_bytes)} of {format_size(limit_bytes)}",
                "see in /status why it is not shipped; when it is full records are dropped",
            )
        )
    if facts.filesystem in _NETWORK:
        findings.append(
            Finding(
                "warning",
                what,
                f"lies on a network ({facts.filesystem}): its locks and its pace are another's",
                "move it to a local disk",
            )
        )
    if facts.quarantined:
        findings.append(
            Finding(
                "warning",
                what,
                f"{facts.quarantined:,} files in quarantine: records refused for good",
                "look at them, mend the cause, delete them",
            )
        )
    if not any(one.level == "problem" for one in findings):
        state = "writable" if facts.exists else "can be made"
        findings.insert(
            0,
            Finding("ok", what, f"{state}, {format_size(facts.free_bytes)} free on its disk"),
        )
    return findings


def check_clock(peer: str, ahead_s: float, *, signs: bool = False) -> Finding:
    """Return whether this machine's clock is right, by that of a peer.

    ahead_s: how far ours is before the peer's. signs: whether the peer judges signatures.
    """
    what = f"clock, by {peer}"
    off = abs(ahead_s)
    if off <= SKEW_S:
        return Finding("ok", what, f"within {format_duration(SKEW_S)}")
    says = f"{format_duration(off)} {'ahead' if ahead_s > 0 else 'behind'}"
    remedy = "let chrony or systemd-timesyncd set it"
    if signs and off > SIGNATURE_SKEW_S:
        return Finding("problem", what, f"{says}: AWS refuses what is signed", remedy)
    return Finding(
        "warning", what, f"{says}: exchanges of different mirrors come in a wrong order", remedy
    )
