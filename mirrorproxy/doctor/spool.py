"""Measuring a spool: looks, and changes nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mirrorproxy.doctor.machine import SpoolFacts
from mirrorproxy.spool.quarantine import QUARANTINE
from mirrorproxy.spool.room import used_bytes


def measure_spool(path: Path) -> SpoolFacts:
    """Return what is found at a spool's path, or above it where it is not there yet."""
    error, found = "", path
    try:
        while not found.exists() and found != found.parent:
            found = found.parent
        if not found.is_dir():
            error = f"{found} is no directory"
        status = found.stat()
        free = shutil.disk_usage(found).free
        used = used_bytes(path)
        quarantined = sum(1 for _ in (path / QUARANTINE).iterdir()) if _is_there(path) else 0
    except OSError as failure:
        return SpoolFacts(
            path=str(path),
            exists=False,
            owner=-1,
            me=os.geteuid(),
            mode=0,
            writable=False,
            free_bytes=0,
            used_bytes=0,
            error=f"cannot be looked at: {failure.strerror}",
        )
    return SpoolFacts(
        path=str(path),
        exists=found == path,
        owner=status.st_uid,
        me=os.geteuid(),
        mode=status.st_mode & 0o777,
        writable=os.access(found, os.W_OK | os.X_OK),
        free_bytes=free,
        used_bytes=used,
        filesystem=_filesystem(found),
        quarantined=quarantined,
        error=error,
    )


def _is_there(path: Path) -> bool:
    return (path / QUARANTINE).is_dir()


def _filesystem(path: Path) -> str:
    """Return the kind of the file system that a path lies on, by the longest mount point."""
    best, kind = "", ""
    try:
        mounts = Path("/proc/self/mounts").read_text(errors="replace")
    except OSError:
        return ""
    real = str(path.resolve())
    for line in mounts.splitlines():
        words = line.split(" ")
        if len(words) < 3:
            continue
        point = words[1].replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, words[2]
    return kind
