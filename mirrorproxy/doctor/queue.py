"""The checks of an SQS queue that tells a fleet which objects are new.

Pure: over the attributes of the queue.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mirrorproxy.doctor.finding import Failure, Finding, allowed, failed
from mirrorproxy.units import format_duration

MIN_VISIBILITY_S = 30
"""Workers extend it thrice in that time: a halt of some seconds must not lose a message."""

MIN_RETENTION_S = 86_400
MIN_RECEIVES = 3

_SENDERS = ("s3.amazonaws.com", "sns.amazonaws.com", "events.amazonaws.com")


def check_queue(
    name: str, answer: Mapping[str, Any] | Failure, visibility_s: float
) -> list[Finding]:
    """Return what is to be said of a queue. answer: its attributes, all of them text.

    visibility_s: what workers ask for; the queue's own counts for others only.
    """
    what = f"queue {name}"
    if isinstance(answer, Failure):
        return [
            failed(
                what,
                answer,
                permission="sqs:GetQueueUrl and sqs:GetQueueAttributes",
                missing="create it, or name the region where it is",
            )
        ]
    findings = [
        *_times(what, answer, visibility_s),
        *_redrive(what, answer),
        *_kind(what, name, answer),
        *_senders(what, answer),
    ]
    if not any(one.level == "problem" for one in findings):
        flying = _number(answer, "ApproximateNumberOfMessagesNotVisible")
        says = f"{waiting(answer):,} messages wait, {flying:,} are worked on"
        findings.insert(0, Finding("ok", what, says))
    return findings


def check_action(name: str, action: str, answer: Failure | None) -> Finding:
    """Return whether an action is allowed. answer: to a call that names no message."""
    return allowed(
        f"queue {name} {action}", answer, permission=f"sqs:{action}", missing="create the queue"
    )


def check_dead_letters(name: str, messages: int | Failure) -> Finding:
    """Return what lies in the dead-letter queue."""
    what = f"dead-letter queue {name}"
    if isinstance(messages, Failure):
        if messages.kind == "missing":
            return Finding("problem", what, "is not there", "create it: objects vanish without it")
        return Finding("unchecked", what, messages.text)
    if messages:
        return Finding(
            "warning",
            what,
            f"holds {messages:,} messages: objects that nobody could replay",
            "look at them, then start a redrive",
        )
    return Finding("ok", what, "empty")


def dead_letter_arn(answer: Mapping[str, Any]) -> str | None:
    """Return the ARN of the dead-letter queue, None without one."""
    policy = _json(answer.get("RedrivePolicy"))
    return str(policy["deadLetterTargetArn"]) if policy.get("deadLetterTargetArn") else None


def waiting(answer: Mapping[str, Any]) -> int:
    """Return how many messages wait, about."""
    return _number(answer, "ApproximateNumberOfMessages")


def _times(what: str, answer: Mapping[str, Any], visibility_s: float) -> Iterator[Finding]:
    if visibility_s < MIN_VISIBILITY_S:
        yield Finding(
            "warning",
            what,
            f"workers let go of a message after {format_duration(visibility_s)}: a short halt, "
            "and everything in the object is sent twice",
            "use visibility=60s or more; a worker that lives extends it",
        )
    retention_s = _number(answer, "MessageRetentionPeriod", 345_600)
    if retention_s < MIN_RETENTION_S:
        yield Finding(
            "warning",
            what,
            f"forgets messages after {format_duration(retention_s)}",
            "set MessageRetentionPeriod to some days",
        )


def _redrive(what: str, answer: Mapping[str, Any]) -> Iterator[Finding]:
    policy = _json(answer.get("RedrivePolicy"))
    if not policy:
        yield Finding(
            "warning",
            what,
            "has no dead-letter queue: a damaged object comes again for days",
            "set a RedrivePolicy with maxReceiveCount 5",
        )
        return
    try:
        receives = int(policy.get("maxReceiveCount", 0))
    except (TypeError, ValueError):
        receives = 0
    if receives < MIN_RECEIVES:
        yield Finding(
            "warning",
            what,
            f"gives an object up after {receives} tries: a restart of the fleet counts as one",
            "set maxReceiveCount to 5",
        )


def _kind(what: str, name: str, answer: Mapping[str, Any]) -> Iterator[Finding]:
    if name.endswith(".fifo"):
        yield Finding(
            "problem", what, "is a FIFO queue, to which S3 sends nothing", "use a standard queue"
        )
    if answer.get("KmsMasterKeyId") == "alias/aws/sqs":
        yield Finding(
            "problem",
            what,
            "is encrypted with AWS's own key, with which S3 cannot send to it",
            "use SSE-SQS, or a key of your own whose policy lets s3.amazonaws.com use it",
        )


def _senders(what: str, answer: Mapping[str, Any]) -> Iterator[Finding]:
    policy = str(answer.get("Policy") or "")
    if not any(sender in policy for sender in _SENDERS):
        yield Finding(
            "warning",
            what,
            "its policy lets neither S3 nor SNS nor EventBridge send to it",
            "allow sqs:SendMessage to s3.amazonaws.com, with the bucket as aws:SourceArn",
        )


def _number(answer: Mapping[str, Any], name: str, default: int = 0) -> int:
    try:
        return int(answer.get(name, default))
    except (TypeError, ValueError):
        return default


def _json(text: object) -> Mapping[str, Any]:
    try:
        found = json.loads(str(text)) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
