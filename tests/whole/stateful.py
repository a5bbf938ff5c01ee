"""Stateful writes, end to end: users of a shop are recorded and replayed into an empty copy of it.

The copy makes other ids, tokens and ETags, and its users have other passwords.
`python tests/whole/stateful.py` runs everything and prints a line of figures for each replay;
`--help` says what can be left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import msgspec  # noqa: E402
from support.commands import capturing, free_port  # noqa: E402
from support.shop import Settings, ShopProcess, State  # noqa: E402
from support.shop_compare import compare_logs, differences  # noqa: E402
from support.shop_crowd import go_shopping, names  # noqa: E402

REPLAY_TIMEOUT_S = 600
SHOWN = 12
FIRST_IDS = (1, 36)
"""Where production's numbers begin, and the copy's: ids of one are other things in the other."""

RULES = """\
version: 1
defaults: {{unmatched: send, session: {{by: {session}}}}}
targets:
  copy:
    url: {url}
    limits: {{max_lag: 1h}}
    auth:
      # Each user's own password in the copy; the tokens that it gives for them are learned.
      - when: {{in: body, name: password}}
        use: {{table: {{by: "field:user", file: passwords.json}}}}
"""

NOT_COMPARED = """\
rules:
  # Other users fill it: what stands in it at which moment is nobody's fault.
  - {name: the warehouse's queue, match: {path: /warehouse/queue}, send: {}, compare: false}
"""


class Recorded(msgspec.Struct):
    """What was recorded, and the shop as it was at the end. statuses: as the users saw them."""

    capture: str
    users: list[str]
    state: State
    statuses: dict[int, int]


class Replayed(NamedTuple):
    """What a replay came to. figures: for the note; ledger: of `--json`; wrong: examples."""

    figures: dict[str, Any]
    ledger: dict[str, Any]
    wrong: list[str]


def passwords(users: list[str], of: str) -> dict[str, str]:
    return {user: f"{user}, a password of {of}" for user in users}


def record(
    folder: Path,
    *,
    users: int,
    for_s: float,
    collide: bool = False,
    one_address: bool = False,
) -> Recorded:
    """Let users shop for a while through a capture with two workers."""
    known = passwords(names(users), "production")
    port, capture = free_port(), folder / "capture"
    with ShopProcess(Settings(known, FIRST_IDS[0], "production")) as shop:
        arguments = ["capture", "--listen", f"127.0.0.1:{port}", "--upstream", shop.url]
        arguments += ["--to", str(capture), "--workers", "2", "--response-body"]
        arguments += ["--admin", "off", "--seal-key", str(folder / "seal.key")]
        with capturing(arguments, folder, port):
            url = f"http://127.0.0.1:{port}"
            shopping = go_shopping(
                url, known, for_s=for_s, collide=collide, one_address=one_address
            )
            statuses = asyncio.run(shopping)
        return Recorded(str(capture), list(known), shop.state(), statuses)


def replay(
    folder: Path,
    recorded: Recorded,
    *,
    speed: str,
    options: tuple[str, ...] = (),
    regress: bool = False,
    session: str = "[credential, client]",
    first_id: int = FIRST_IDS[1],
) -> Replayed:
    """Replay into an empty copy; judge by what the two shops say, not by what the replay does."""
    known = passwords(recorded.users, "the copy")
    folder.mkdir(parents=True, exist_ok=True)
    with ShopProcess(Settings(known, first_id, "copy", regress)) as shop:
        (folder / "passwords.json").write_text(json.dumps(known))
        rules = RULES.format(url=shop.url, session=session) + NOT_COMPARED
        (folder / "rules.yaml").write_text(rules)
        arguments = ["replay", recorded.capture, "--rules", str(folder / "rules.yaml")]
        arguments += ["--speed", speed, "--json", "--out", str(folder / "out"), *options]
        began_s = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "mirrorproxy", *arguments, "--fail-on", "never"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=REPLAY_TIMEOUT_S,
            check=False,
        )
        took_s = time.monotonic() - began_s
        state = shop.state()
    if done.returncode not in (0, 3):
        raise RuntimeError(f"replay ended with {done.returncode}: {done.stderr}{done.stdout}")
    ledger = json.loads(done.stdout)
    verdict = compare_logs(recorded.state.log, state.log)
    unlike = differences(recorded.state.things, state.things)
    figures = {
        "speed": speed,
        "options": " ".join(options),
        "asked": verdict.asked,
        "same_status_percent": round(100 * verdict.same / max(verdict.asked, 1), 3),
        "never_came": verdict.missing,
        "repeated": verdict.repeated,
        "wrong_things": verdict.wrong_things,
        "wrong_values": verdict.wrong_values,
        "things": sum(map(len, recorded.state.things.values())),
        "things_unlike": len(unlike),
        "skipped": ledger["skipped"],
        "failed": ledger["failed"],
        "shed": ledger["shed"],
        "took_s": round(took_s, 2),
    }
    return Replayed(figures, ledger, [*verdict.examples, *unlike])


WITHOUT = ("--no-correlate", "--order", "off")
"""The same replay as without this feature."""

PROBE = ("--noise-probe", "20")


def runs(folder: Path, asked: argparse.Namespace) -> Iterator[tuple[str, Replayed]]:
    """Yield the replays that were asked for, each with its name."""
    plain = recorded_in(folder / "plain", asked)
    if "plain" in asked.runs:
        for speed in asked.speeds:
            yield (
                f"plain {speed}",
                replay(
                    folder / f"plain-{speed}", plain, speed=speed, session=asked.session,
                    first_id=asked.copy_first_id,
                ),
            )  # fmt: skip
    if "without" in asked.runs:
        speed = asked.speeds[-1]
        yield (
            "without",
            replay(folder / "without", plain, speed=speed, options=WITHOUT, session=asked.session),
        )
    if "regress" in asked.runs:
        # Nothing may be found where nothing was planted.
        for name, is_planted in (("regress", True), ("no regress", False)):
            yield name, replay(
                folder / name.replace(" ", "-"), plain, speed="1", regress=is_planted,
                options=PROBE, first_id=asked.copy_first_id, session=asked.session,
            )  # fmt: skip
    if "collide" in asked.runs:
        collided = recorded_in(folder / "collide", asked, collide=True)
        for speed in asked.speeds:
            yield f"collide {speed}", replay(
                folder / f"collide-{speed}", collided, speed=speed, session=asked.session,
                first_id=asked.copy_first_id,
            )  # fmt: skip


def recorded_in(folder: Path, asked: argparse.Namespace, *, collide: bool = False) -> Recorded:
    """Record into a folder; what an earlier run kept there is taken instead."""
    kept = folder / "recorded.json"
    if not kept.exists():
        folder.mkdir(parents=True)
        found = record(
            folder, users=asked.users, for_s=asked.seconds, collide=collide,
            one_address=asked.one_address,
        )  # fmt: skip
        kept.write_bytes(msgspec.json.encode(found))
    found = msgspec.json.decode(kept.read_bytes(), type=Recorded)
    print(json.dumps({"run": f"recorded {folder.name}", "statuses": found.statuses}), flush=True)
    return found


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--speeds", type=lambda text: text.split(","), default=["1", "5", "max"])
    parser.add_argument(
        "--session", default="[credential, client]", help="what makes a session (YAML)"
    )
    parser.add_argument("--one-address", action="store_true", help="as behind a load balancer")
    parser.add_argument("--copy-first-id", type=int, default=FIRST_IDS[1])
    parser.add_argument(
        "--keep",
        type=Path,
        help="leave captures and outcomes in this folder, or begin with those in it",
    )
    parser.add_argument("--shown", type=int, default=SHOWN, help="examples of what is wrong")
    parser.add_argument("runs", nargs="*", default=["plain", "without", "regress", "collide"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        for name, done in runs(folder, asked):
            print(json.dumps({"run": name, **done.figures}), flush=True)
            if "comparison" in done.ledger:
                print(json.dumps({"comparison": done.ledger["comparison"]}), flush=True)
            kinds = Counter(" ".join(one.split(": ")[-1].split(" ")[:4]) for one in done.wrong)
            print(f"  {kinds.most_common(8)}", file=sys.stderr)
            for one in done.wrong[: asked.shown]:
                print(f"  {one}", file=sys.stderr)


if __name__ == "__main__":
    main()
