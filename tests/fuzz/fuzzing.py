"""Fuzzes the targets with atheris, for some seconds each, from the committed corpus.

    python tests/fuzz/fuzzing.py SECONDS [TARGET ...]

Each target runs in a process of its own. What breaks one is kept in
.cache/fuzz/<target>/, and the run fails: make a test of it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "fuzz"
sys.path.insert(0, str(HERE))

NAMES = (
    "access_log", "bodies", "compare", "events", "gor", "har", "members", "record", "rules", "seal",
    "wire",
)  # fmt: skip


def fuzz_one(name: str, seconds: int) -> None:
    """Fuzz one target in this process, which ends here."""
    import atheris  # noqa: PLC0415 - where it is missing, this file still has to say so

    with atheris.instrument_imports(include=["mirrorproxy"]):
        from targets import TARGETS  # noqa: PLC0415 - instrumented as it is imported

    found, learnt = CACHE / name, CACHE / name / "corpus"
    learnt.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        "-max_len=4096",
        "-timeout=20",
        "-rss_limit_mb=1024",
        f"-artifact_prefix={found}{os.sep}",
        "-print_final_stats=1",
        "-verbosity=0",
        # CI takes the same inputs each time: a red build can be repeated. Elsewhere new ones.
        *(["-seed=1"] if os.environ.get("CI") == "true" else []),
        str(learnt),
        str(HERE / "corpus" / name),
    ]
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


def main(arguments: list[str]) -> int:
    """Fuzz the named targets, or all; return the exit status."""
    if arguments[:1] == ["--one"]:
        fuzz_one(arguments[1], int(arguments[2]))
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("atheris has no wheel for this Python or machine: nothing is fuzzed", file=sys.stderr)
        return 1 if os.environ.get("CI") == "true" else 0
    names = arguments[1:] or NAMES
    seconds = max(1, int(arguments[0]) // len(names))
    failed = []
    for name in names:
        command = [sys.executable, str(HERE / "fuzzing.py"), "--one", name, str(seconds)]
        done = subprocess.run(
            command, check=False, timeout=seconds + 120, capture_output=True, text=True
        )
        inputs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        print(f"{name}: {inputs[1] if inputs else 'no'} inputs in {seconds} s", flush=True)
        if done.returncode:
            print(done.stdout[-4000:], done.stderr[-4000:], sep="\n", file=sys.stderr)
            failed.append(name)
    if failed:
        print(f"broken: {', '.join(failed)}; see {CACHE}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
