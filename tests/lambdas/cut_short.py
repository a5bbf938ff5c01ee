"""Both functions cut short by their real time-outs, as processes of the emulator.

`python tests/lambdas/cut_short.py` prints what became of every shot, in about a minute: a
`split` that is ended by its time-out in mid-object and comes again, and both functions with
less time than their work takes, which hand on.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
for folder in (ROOT, ROOT / "aws", ROOT / "lambdas"):
    sys.path.insert(0, str(folder))

from emulated import Functions, until  # noqa: E402
from stored_captures import SECOND, T0, exchange, put  # noqa: E402
from support.commands import Application, serving  # noqa: E402
from support.ministack import Ministack  # noqa: E402

SHOTS = 80

# Believes that it has all the time in the world, and so is ended in the middle of its work.
LYING = """\
from mirrorproxy import aws_lambda

def split(event, context):
    context.get_remaining_time_in_millis = lambda: 600_000
    return aws_lambda.split(event, context)
"""


def run(ministack: Ministack, *, lies: bool, over_s: int, split_s: int, send_s: int) -> Any:
    """Return the figures of one object."""
    bucket = ministack.bucket()
    target = Application()
    with serving(target):
        functions = Functions(
            ministack,
            bucket,
            target.url,
            variables={
                "MIRRORPROXY_SPREAD_OVER": f"{over_s}s",
                "MIRRORPROXY_MAX_CHUNK_SHOTS": "20",
                "MIRRORPROXY_MAX_SENDERS": "1",
            },
            split_handler="lying.split" if lies else "mirrorproxy.aws_lambda.split",
            split_timeout_s=split_s,
            send_timeout_s=send_s,
            extra={"lying.py": LYING},
        )
        functions.hear_of_objects(most_receives=10, visibility_s=split_s + 4)
        made = [exchange(T0 + n * SECOND // 10, n) for n in range(SHOTS)]
        put(ministack.client("s3"), bucket, made)
        if lies:
            until("ended", lambda: "Task timed out" in "\n".join(functions.lines(functions.split)))
            before = len(target.requests)
            # From now on it knows what time it has.
            functions.client.update_function_configuration(
                FunctionName=functions.split, Handler="mirrorproxy.aws_lambda.split", Timeout=60
            )
        until(
            "every shot answered",
            lambda: sum(functions.total(functions.send, "Answered")) >= SHOTS,
        )
        came = Counter(one.target for one in target.requests)
        splits, sends = functions.ledgers(functions.split), functions.ledgers(functions.send)
        figures = {
            "splits": [{n: one[n] for n in ("read", "given", "handed_on")} for one in splits],
            "sends": [
                {n: one[n] for n in ("shots", "answered", "handed_on", "doubled")} for one in sends
            ],
            "answered": sum(one["answered"] for one in sends),
            "doubled": sum(one["doubled"] for one in sends),
            "different": len(came),
            "most_often": max(came.values()),
            "balanced": all(one["balanced"] for one in (*splits, *sends)),
            "dead_letters": len(functions.dead_letters()),
        }
        return figures | ({"before_it_was_ended": before} if lies else {})


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder, Ministack(Path(folder) / "aws") as ministack:
        print("split ended by its time-out, and again:")
        print(json.dumps(run(ministack, lies=True, over_s=16, split_s=10, send_s=60), indent=1))
        print("both with less time than it takes:")
        print(json.dumps(run(ministack, lies=False, over_s=20, split_s=10, send_s=8), indent=1))


if __name__ == "__main__":
    main()
