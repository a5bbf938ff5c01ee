"""The two functions of the original shape, for teams that run no worker: `split` and `send`.

`split` is told of objects that Firehose left in S3, and gives what the rules send to `send`, in
chunks; `send` sends its chunk. Thin: what they do is in `lambdas`, and that is what a
worker does. docs/lambda.md says how they are set up.
"""

from __future__ import annotations

from typing import Any

from mirrorproxy.errors import MirrorproxyError
from mirrorproxy.lambdas import send_function, split_function
from mirrorproxy.lambdas.around import Call, Context, Kept
from mirrorproxy.lambdas.lines import say

_kept: dict[bool, Kept] = {}


def split(event: Any, context: Context) -> dict[str, object] | None:
    """Split objects; the handler ``mirrorproxy.aws_lambda.split``.

    event: a notification of S3, alone or in messages of SQS, SNS or EventBridge. Returns
    the messages that failed (``ReportBatchItemFailures``). Raises MirrorproxyError.
    """
    call = _call(context, is_split=True)
    try:
        return split_function.split(call, event)
    except MirrorproxyError as error:
        say(f"error: {error}")
        raise
    finally:
        call.close()


def send(event: Any, context: Context) -> dict[str, object]:
    """Send a chunk; the handler ``mirrorproxy.aws_lambda.send``.

    event: what `split` made. Returns the chunk's ledger. Raises MirrorproxyError.
    """
    call = _call(context, is_split=False)
    try:
        return send_function.send(call, event)
    except MirrorproxyError as error:
        say(f"error: {error}")
        raise
    finally:
        call.close()


def _call(context: Context, *, is_split: bool) -> Call:
    # Made at the first call, not on import: what is wrong with it is then an error of that call.
    kept = _kept.get(is_split)
    if kept is None:
        try:
            kept = _kept[is_split] = Kept(is_split=is_split)
        except MirrorproxyError as error:
            say(f"error: {error}")
            raise
    return Call(kept, context)
