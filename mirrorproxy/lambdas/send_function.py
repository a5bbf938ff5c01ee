"""The function `send`: one chunk, claimed, sent and accounted for.

Owns the order of these steps, so that a chunk that comes twice is sent once, and nothing is lost
without a word: what there is no time for is handed on, and where that fails it is kept and
the call ends with an error, which Lambda puts into the dead-letter queue.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from mirrorproxy.clock import wall_us
from mirrorproxy.errors import MirrorproxyError
from mirrorproxy.lambdas.around import Call
from mirrorproxy.lambdas.chunk import (
    MAX_EVENT_BYTES,
    ChunkError,
    ChunkEvent,
    Item,
    chunk_event,
    data_of,
    digest_of,
    encoded,
    packed,
    unpacked,
    with_data,
)
from mirrorproxy.lambdas.invoking import NotTaken
from mirrorproxy.lambdas.lines import say
from mirrorproxy.lambdas.places import Claim
from mirrorproxy.lambdas.send_ledger import SendLedger
from mirrorproxy.lambdas.sending import Sender, Sent, rest_of
from mirrorproxy.lambdas.trigger import SEND_EXPECTED, UnknownEvent, shape_of
from mirrorproxy.sources.aws import AwsError

MAX_HOPS = 6
"""So often an object is handed on, and then each of its chunks: Lambda takes about 16 calls in a
row for an endless loop and stops them (Lambda Developer Guide, recursive loop detection)."""


DRAIN_SHARE = 0.2
"""So much of the time answers are waited for at most, when there is no time for more shots."""


class NotSent(MirrorproxyError):
    """A chunk, or a part of it, that was not sent and is nobody's any more."""


def send(call: Call, event: object) -> dict[str, object]:
    """Send a chunk; return its ledger.

    Raises UnknownEvent, ConfigError and NotSent: all of them for the dead-letter queue.
    """
    try:
        chunk = chunk_event(event)
    except ChunkError as error:
        raise UnknownEvent(f"{SEND_EXPECTED}; {error}: got {shape_of(event)}") from None
    ledger = SendLedger(call.settings, chunk)
    try:
        return _send(call, chunk, ledger)
    except AwsError as error:
        raise NotSent(f"chunk {chunk.id}: {error.trouble.text}") from error
    except ChunkError as error:
        raise NotSent(f"chunk {chunk.id}: {error}") from error
    finally:
        ledger.log()


def _send(call: Call, chunk: ChunkEvent, ledger: SendLedger) -> dict[str, object]:
    rules = call.rules()
    data = data_of(chunk)
    if data is None:
        data = call.places.get_chunk(chunk.id)
        if data is None:
            # Deleted by whoever has sent it?
            known = call.places.claim_of(chunk.id)
            if known is not None:
                return _again(call, chunk, known, ledger)
            raise ChunkError(f"it is not in s3://{call.settings.chunks.bucket} any more")
    items = unpacked(data)
    if digest_of(items) != chunk.digest:
        raise ChunkError("its content is not the one that it was made with")
    sender = Sender(rules.compiled, say)
    exchanges = sender.exchanges(items)
    ledger.rules_changed = rules.identity != chunk.rules
    until_us = wall_us() + round(call.deadline.left_s() * 1e6)
    # Nothing that can fail by itself stands between the claim and the sending.
    known = call.places.claim(chunk, call.request, until_us)
    if known is not None:
        return _again(call, chunk, known, ledger)
    deadline = call.deadline
    source = call.reader.object(chunk.bucket, chunk.key).source
    # Waited for are answers alone: where they come soon, this ends soon.
    drain_s = min(sender.longest_timeout_s, deadline.whole_s * DRAIN_SHARE)
    sent = sender.send(
        chunk,
        items,
        exchanges,
        source,
        stop_in_s=deadline.hand_on_s - drain_s - time.monotonic(),
        drain_s=drain_s,
    )
    ledger.take(sent)
    rest, why = _hand_on(call, chunk, sent, ledger, in_s3=rules.compiled.sends_logged_credentials)
    call.places.done(chunk, call.request, ledger.to_json(), rest if why else None)
    if chunk.data is None:
        _delete(call, chunk)
    if why:
        raise NotSent(
            f"chunk {chunk.id}: {ledger.unsent} shots were not sent: {why}; they are kept in "
            f"chunk {rest.id if rest else chunk.id} and sent when this event is sent again"
        )
    return ledger.to_json()


def _hand_on(
    call: Call, chunk: ChunkEvent, sent: Sent, ledger: SendLedger, *, in_s3: bool
) -> tuple[ChunkEvent | None, str]:
    """Hand on what is left; return it, and why that failed if it did."""
    if not sent.left:
        return None, ""
    is_too_often = chunk.hop >= MAX_HOPS
    rest = rest_of(chunk, sent.left, digest_of(sent.left))
    try:
        event = stored_or_whole(call, rest, sent.left, always_stored=in_s3 or is_too_often)
        if is_too_often:
            return rest, f"it was handed on {chunk.hop} times"
        call.invoker.invoke(call.own_arn, encoded(event), call.deadline.last_s)
    except NotTaken as error:
        # Stored now, so that it can be sent later.
        call.places.put_chunk(rest.id, packed(sent.left))
        return rest, str(error)
    except AwsError as error:
        call.places.put_chunk(rest.id, packed(sent.left))
        return rest, error.trouble.text
    ledger.handed_over(sent.left)
    return rest, ""


def stored_or_whole(
    call: Call, event: ChunkEvent, items: Sequence[Item], *, always_stored: bool = False
) -> ChunkEvent:
    """Return the event with its lines in it, or without when they were stored. Raises AwsError."""
    data = packed(items)
    if not always_stored:
        whole = with_data(event, data)
        if len(encoded(whole)) <= MAX_EVENT_BYTES:
            return whole
    call.places.put_chunk(event.id, data)
    stored: ChunkEvent = msgspec.structs.replace(event, data=None)
    return stored


def _again(call: Call, chunk: ChunkEvent, known: Claim, ledger: SendLedger) -> dict[str, object]:
    """Take a chunk that was claimed before. Raises NotSent if that is no repetition."""
    if known.digest and known.digest != chunk.digest:
        raise NotSent(
            f"chunk {chunk.id} was sent before with other content: the rules were changed between "
            "two times that its object was split; what both hold would be sent twice"
        )
    if known.state == "done":
        if known.left is not None:
            rest = chunk_event(known.left)
            left_behind = call.places.claim_of(rest.id)
            if left_behind is None:
                say(f"chunk {chunk.id} was sent before, but for what chunk {rest.id} holds")
                return send(call, known.left)
        ledger.doubled = chunk.shots
        say(f"warning: chunk {chunk.id} comes again; it was sent before and is left out")
        return ledger.to_json()
    if known.until_us > wall_us():
        ledger.doubled = chunk.shots
        say(f"warning: chunk {chunk.id} comes again while it is sent; it is left out")
        return ledger.to_json()
    ledger.interrupted = chunk.shots
    raise NotSent(
        f"chunk {chunk.id}: the call {known.request or 'before this one'} began to send it and "
        f"never ended; how much of it was sent is not known. Its claim is "
        f"s3://{call.settings.chunks.bucket}/{call.settings.chunks.prefix}claims/{chunk.id}: "
        "delete it to send the chunk again"
    )


def _delete(call: Call, chunk: ChunkEvent) -> None:
    try:
        call.places.delete_chunk(chunk.id)
    except AwsError as error:
        # It is done with all the same, and the bucket's lifecycle takes it.
        say(f"warning: {error.trouble.text}")
