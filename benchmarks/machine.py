"""The machine: what it is, how busy it is, and which versions take part.

Reads /proc and asks programs for their version; starts nothing that stays.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

from harness import find


def describe() -> dict[str, str]:
    """Return what the figures depend on: processor, cores, memory, kernel."""
    cpu = re.search(r"model name\s*:\s*(.+)", _read("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s+(\d+)", _read("/proc/meminfo"))
    return {
        "cpu": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "memory unknown",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
    }


def versions() -> dict[str, str]:
    """Return the versions of all that takes part and is there."""
    found = {"Python": platform.python_version()}
    for name in ("mirrorproxy", "uvloop", "msgspec", "isal", "aiohttp"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "mirrorproxy" in found:
        found["mirrorproxy"] += ", compiled" if _is_compiled() else ", as Python"
    for name, option, pattern in (
        ("nginx", "-v", r"nginx/(\S+)"),
        ("traefik", "version", r"Version:\s+(\S+)"),
        ("mitmdump", "--version", r"Mitmproxy: (\S+)"),
        ("wrk", "-v", r"wrk (?:debian/)?(\S+)"),
    ):
        program = find(name)
        if program is not None:
            said = subprocess.run([program, option], capture_output=True, text=True, check=False)
            version = re.search(pattern, said.stdout + said.stderr)
            found[name] = version[1] if version else "unknown"
    return found


def _is_compiled() -> bool:
    """Tell what programs started from here run; by the Makefile it is what a wheel holds."""
    where = "import mirrorproxy.http1.heads as heads; print(heads.__file__)"
    said = subprocess.run(
        [sys.executable, "-c", where], capture_output=True, text=True, check=False
    )
    return not said.stdout.strip().endswith(".py")


def busy_share(seconds: float = 1.0) -> float:
    """Return the share of all cores that is in use, 0 to 1, watched for so long."""
    busy, total = _times()
    time.sleep(seconds)
    later_busy, later_total = _times()
    return (later_busy - busy) / max(later_total - total, 1)


def _times() -> tuple[int, int]:
    numbers = [int(word) for word in _read("/proc/stat").splitlines()[0].split()[1:9]]
    idle = numbers[3] + numbers[4]  # idle and iowait, proc_stat(5)
    return sum(numbers) - idle, sum(numbers)


def _read(path: str) -> str:
    return Path(path).read_text()
