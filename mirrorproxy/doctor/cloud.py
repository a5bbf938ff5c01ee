"""The places of a capture in AWS, checked one after the other: what is asked, in which order.

Owns no call and no judgement: these are `aws` and the checks of each kind of place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from mirrorproxy.aws_urls import BucketUrl, QueueUrl, StreamsUrl
from mirrorproxy.doctor import bucket as buckets
from mirrorproxy.doctor import queue as queues
from mirrorproxy.doctor import stream as streams
from mirrorproxy.doctor.bucket import Use
from mirrorproxy.doctor.finding import Failure, Finding, failed
from mirrorproxy.doctor.places import Place

QUEUE_ACTIONS = ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility")


class Calls(Protocol):
    """What is asked of AWS; see `aws.Aws`."""

    def region(self, region: str | None) -> str | None: ...  # noqa: D102
    def identity(self) -> str | Failure: ...  # noqa: D102
    def stream(self, name: str, region: str | None) -> Mapping[str, Any] | Failure: ...  # noqa: D102
    def put_nothing(self, name: str, region: str | None) -> Failure | None: ...  # noqa: D102
    def bucket_region(self, place: BucketUrl) -> str | Failure | None: ...  # noqa: D102
    def begin_upload(self, place: BucketUrl) -> Failure | None: ...  # noqa: D102
    def list_one(self, place: BucketUrl) -> str | Failure | None: ...  # noqa: D102
    def read_one(self, place: BucketUrl, key: str | None) -> Failure | None: ...  # noqa: D102
    def public_access(self, place: BucketUrl) -> Mapping[str, Any] | Failure: ...  # noqa: D102
    def encryption(self, place: BucketUrl) -> Mapping[str, Any] | Failure: ...  # noqa: D102
    def queue_url(self, place: QueueUrl) -> str | Failure: ...  # noqa: D102
    def queue(self, place: QueueUrl, url: str) -> Mapping[str, Any] | Failure: ...  # noqa: D102
    def queue_action(self, place: QueueUrl, url: str, action: str) -> Failure | None: ...  # noqa: D102


def check_identity(answer: str | Failure) -> Finding:
    """Return who calls AWS. Needs no permission; a network without STS says nothing of S3."""
    what = "credentials"
    if not isinstance(answer, Failure):
        return Finding("ok", what, answer)
    if answer.kind in ("away", "other", "denied"):
        return Finding("unchecked", what, f"STS: {answer.text}")
    return failed(what, answer, permission="", missing="")


def check_place(aws: Calls, place: Place, use: Use) -> Iterator[Finding]:
    """Yield what is to be said of one place. use: a capture writes there, or a replay reads."""
    match place:
        case StreamsUrl():
            for name in place.streams:
                described = aws.stream(name, place.region)
                yield from streams.check_stream(name, described, place.packing, place.bodies)
                if not isinstance(described, Failure) or described.kind == "denied":
                    yield streams.check_put(name, aws.put_nothing(name, place.region))
            if place.bodies is not None:
                yield from _bucket(aws, place.bodies, "write")
        case BucketUrl():
            yield from _bucket(aws, place, use)
        case QueueUrl():
            yield from _queue(aws, place)


def _bucket(aws: Calls, place: BucketUrl, use: Use) -> Iterator[Finding]:
    name, region = place.bucket, aws.bucket_region(place)
    there = buckets.check_region(name, region, aws.region(place.region))
    yield there
    if isinstance(region, Failure) and region.kind != "denied":
        return
    if use == "write":
        yield buckets.check_write(name, place.folder, aws.begin_upload(place))
    key = aws.list_one(place)
    found = key if isinstance(key, Failure) else int(key is not None)
    yield buckets.check_list(name, place.folder, found, use)
    if use == "read" and not isinstance(key, Failure):
        yield buckets.check_read(name, aws.read_one(place, key))
    yield buckets.check_public(name, aws.public_access(place))
    yield buckets.check_encryption(name, aws.encryption(place))


def _queue(aws: Calls, place: QueueUrl) -> Iterator[Finding]:
    url = aws.queue_url(place)
    if isinstance(url, Failure):
        yield from queues.check_queue(place.name, url, place.visibility_s)
        return
    attributes = aws.queue(place, url)
    yield from queues.check_queue(place.name, attributes, place.visibility_s)
    if isinstance(attributes, Failure) and attributes.kind != "denied":
        return
    for action in QUEUE_ACTIONS:
        yield queues.check_action(place.name, action, aws.queue_action(place, url, action))
    if not isinstance(attributes, Failure) and (arn := queues.dead_letter_arn(attributes)):
        yield _dead_letters(aws, arn)


def _dead_letters(aws: Calls, arn: str) -> Finding:
    _, _, _, region, _, name = (*arn.split(":"), "", "", "", "", "", "")[:6]
    place = QueueUrl(name=name, region=region or None)
    url = aws.queue_url(place)
    found = url if isinstance(url, Failure) else aws.queue(place, url)
    if isinstance(found, Failure):
        return queues.check_dead_letters(name, found)
    return queues.check_dead_letters(name, queues.waiting(found))
