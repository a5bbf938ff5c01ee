"""``python -m mirrorproxy.sinks.probe URL``: can the capture go there?

A process of its own, so that the supervisor and its workers never load boto3. Prints one line
and ends with 2 for a mistake, with 1 for what cannot be reached just now, with 0 otherwise.
"""

from __future__ import annotations

import importlib
import subprocess
import sys

from mirrorproxy.errors import ConfigError

EXIT_UNREACHABLE = 1
EXIT_MISTAKE = 2

TIMEOUT_S = 60.0

NO_BOTO3 = "AWS needs boto3, which is not installed: pip install 'mirrorproxy[aws]'"


def probe(to: str) -> str | None:
    """Ask another process; return why the target can't be reached just now, None if it can.

    Raises ConfigError for what people have to mend.
    """
    try:
        asked = subprocess.run(
            [sys.executable, "-m", __name__, to],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no answer in time"
    text = asked.stdout.strip()
    if asked.returncode == EXIT_MISTAKE:
        raise ConfigError(text, file="--to")
    if asked.returncode:
        return text or asked.stderr.strip().rpartition("\n")[2]
    return None


def main(to: str) -> int:
    """Check a target in this process, and return the exit status."""
    try:
        found = importlib.import_module("mirrorproxy.sinks.cloud").check(to)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"boto3", "botocore"}:
            raise
        sys.stdout.write(f"{NO_BOTO3}\n")
        return EXIT_MISTAKE
    except ConfigError as error:
        sys.stdout.write(f"{error.message}\n")
        return EXIT_MISTAKE
    if found:
        sys.stdout.write(f"{found}\n")
        return EXIT_UNREACHABLE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
