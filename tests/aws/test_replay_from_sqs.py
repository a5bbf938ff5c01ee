"""``mirrorproxy replay sqs://...``: workers told by notifications which objects to read."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote_plus

import pytest
import stored_captures
from stored_captures import Worker, exchange, put, workers
from support.commands import Answer, Application, serving
from support.ministack import Ministack

from mirrorproxy.clock import wall_us

PACE = ("--speed", "max", "--concurrency", 8, "--idle-exit", "2s")


@pytest.fixture
def target():
    application = Application()
    with serving(application):
        yield application


class Queue:
    """A queue with a dead-letter queue, that S3 tells of a bucket's objects if asked to."""

    def __init__(self, ministack: Ministack, name: str, most_receives: int = 3) -> None:
        self.sqs = ministack.client("sqs")
        self.name = name
        self.url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        self.dead = self.sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        self.arn = self._arn(self.url)
        policy = {"deadLetterTargetArn": self._arn(self.dead), "maxReceiveCount": most_receives}
        self.sqs.set_queue_attributes(
            QueueUrl=self.url, Attributes={"RedrivePolicy": json.dumps(policy)}
        )

    def _arn(self, url: str) -> str:
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(found["Attributes"]["QueueArn"])

    def hear_of(self, s3: Any, bucket: str) -> None:
        s3.put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={
                "QueueConfigurations": [{"QueueArn": self.arn, "Events": ["s3:ObjectCreated:*"]}]
            },
        )

    def send(self, message: object) -> None:
        body = message if isinstance(message, str) else json.dumps(message)
        self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def left(self, url: str | None = None) -> int:
        """Return how many messages there are, those in hand included."""
        said = self.sqs.get_queue_attributes(QueueUrl=url or self.url, AttributeNames=["All"])
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return sum(int(said["Attributes"].get(name, 0)) for name in names)


@pytest.fixture
def queue(ministack: Ministack, bucket: str) -> Queue:
    return Queue(ministack, f"queue-{bucket}")


def event(bucket: str, *keys: str, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    """Return S3's own notification of some objects."""
    return {
        "Records": [
            {
                "eventSource": "aws:s3",
                "eventName": name,
                "s3": {"bucket": {"name": bucket}, "object": {"key": quote_plus(key, safe="/")}},
            }
            for key in keys
        ]
    }


def one_worker(ministack: Ministack, queue: Queue, target: Application, *words: object) -> Any:
    """Run a worker to its end; return its ledger."""
    worker = Worker(
        ministack.environ(), f"sqs://{queue.name}", *PACE, "--target", target.url, *words
    )
    try:
        return worker.finish()
    finally:
        worker.kill()


def sent(target: Application) -> list[str]:
    return sorted(request.target for request in target.requests)


def test_objects_are_read_as_s3_tells_of_them(ministack, s3, bucket, queue, target):
    """The message is gone when every shot has ended; S3's own test event is gone too."""
    queue.hear_of(s3, bucket)
    queue.send({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": bucket})
    now_us = wall_us()
    put(s3, bucket, [exchange(now_us, n) for n in range(5)])
    put(s3, bucket, [exchange(now_us, n) for n in range(5, 9)], prefix="a b+c/")
    ledger = one_worker(ministack, queue, target)
    assert (ledger["exit"], ledger["said"]) == (0, "")
    assert sent(target) == [f"/{n}" for n in range(9)]
    assert queue.left() == 0


def test_every_way_of_a_notification_is_understood(ministack, s3, bucket, queue, target):
    """Direct with several objects, through SNS wrapped, through EventBridge; keys decoded."""
    now_us = wall_us()
    keys = [put(s3, bucket, [exchange(now_us, n)], prefix="a b+c/") for n in range(4)]
    queue.send(event(bucket, keys[0], keys[1]))
    wrapped = json.dumps(event(bucket, keys[2]))
    queue.send({"Type": "Notification", "MessageId": "1", "Message": wrapped})
    queue.send(
        {
            "source": "aws.s3",
            "detail-type": "Object Created",
            "detail": {"bucket": {"name": bucket}, "object": {"key": keys[3], "size": 1}},
        }
    )
    queue.send(event(bucket, keys[0], name="ObjectRemoved:Delete"))
    queue.send(event(bucket, "a b+c/bodies/2025/11/23/08/" + "0" * 32))
    ledger = one_worker(ministack, queue, target)
    assert (ledger["exit"], sent(target)) == (0, ["/0", "/1", "/2", "/3"])
    assert queue.left() == 0


def test_notifications_come_through_a_topic(ministack, s3, bucket, queue, target):
    """SNS between S3 and SQS, wrapped and raw."""
    sns = ministack.client("sns")
    now_us = wall_us()
    for number, raw in enumerate(("false", "true")):
        topic = sns.create_topic(Name=f"topic-{bucket}-{number}")["TopicArn"]
        sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=queue.arn,
            Attributes={"RawMessageDelivery": raw},
        )  # fmt: skip
        key = put(s3, bucket, [exchange(now_us, number)])
        sns.publish(TopicArn=topic, Message=json.dumps(event(bucket, key)))
    ledger = one_worker(ministack, queue, target)
    assert (ledger["exit"], sent(target), queue.left()) == (0, ["/0", "/1"], 0)


def test_what_cannot_be_used_is_left_to_the_dead_letter_queue(ministack, s3, bucket, queue, target):
    """Unknown shapes and objects that are not there: counted once, never deleted by us."""
    queue.send("no JSON")
    queue.send({"hello": "world"})
    queue.send(event(bucket, "2025/11/23/08/gone.gz"))
    queue.send(event(bucket, put(s3, bucket, [exchange(wall_us(), 1)])))
    spec = f"sqs://{queue.name}?visibility=1s"
    worker = Worker(ministack.environ(), spec, *PACE, "--target", target.url)
    try:
        ledger = worker.finish()
    finally:
        worker.kill()
    assert sent(target) == ["/1"]
    assert ledger["exit"] == 1
    assert ledger["said"].count("left to the queue") == 2
    assert f"s3://{bucket}/2025/11/23/08/gone.gz: " in ledger["said"]
    deadline = time.monotonic() + 30
    while queue.left(queue.dead) < 3 and time.monotonic() < deadline:
        # What is received once too often goes over to the dead-letter queue.
        queue.sqs.receive_message(QueueUrl=queue.url, VisibilityTimeout=0, MaxNumberOfMessages=10)
    assert (queue.left(), queue.left(queue.dead)) == (0, 3)


def test_a_killed_worker_loses_nothing(ministack, s3, bucket, queue):
    """kill -9 in mid-object: the message comes again, and another worker sends it all."""
    exchanges = [exchange(wall_us(), n) for n in range(400)]
    queue.send(event(bucket, put(s3, bucket, exchanges)))
    counter = stored_captures.Counter(100)
    target = Application(lambda _request: (counter.add(), Answer(200))[1])
    spec = f"sqs://{queue.name}?visibility=4s"
    with serving(target):
        words = (spec, *PACE, "--limit-rate", 200, "--target", target.url)
        first = Worker(ministack.environ(), *words)
        assert counter.reached.wait(60)
        first.kill()
        before = len(target.requests)
        assert 100 <= before < 400
        assert queue.left() == 1
        second = Worker(
            ministack.environ(), spec, *PACE, "--idle-exit", "8s", "--target", target.url
        )
        try:
            ledger = second.finish()
        finally:
            second.kill()
    assert (ledger["exit"], ledger["answered"]) == (0, 400)
    assert {request.target for request in target.requests} == {f"/{n}" for n in range(400)}
    assert len(target.requests) - 400 >= 100
    assert queue.left() == 0


def test_a_stopped_worker_gives_back_what_it_has_not_sent(ministack, s3, bucket, queue):
    """Ctrl-C in mid-object: the message is visible again at once."""
    exchanges = [exchange(wall_us(), n) for n in range(400)]
    queue.send(event(bucket, put(s3, bucket, exchanges)))
    counter = stored_captures.Counter(10)
    target = Application(lambda _request: (counter.add(), Answer(200))[1])
    with serving(target):
        words = (f"sqs://{queue.name}", *PACE, "--limit-rate", 100, "--target", target.url)
        worker = Worker(ministack.environ(), *words)
        try:
            assert counter.reached.wait(60)
            worker.process.terminate()
            ledger = worker.finish()
        finally:
            worker.kill()
    assert ledger["unsent"] > 0
    said = queue.sqs.receive_message(QueueUrl=queue.url)
    assert len(said.get("Messages", ())) == 1


def test_a_fleet_shares_a_queue(ministack, s3, bucket, queue, target):
    """Two workers: everything once, the sum of their ledgers is the capture."""
    queue.hear_of(s3, bucket)
    now_us = wall_us()
    for part in range(20):
        put(s3, bucket, [exchange(now_us, 50 * part + n) for n in range(50)])
    words = (f"sqs://{queue.name}", *PACE, "--fleet-size", 2, "--target", target.url)
    with workers(ministack.environ(), 2, *words) as running:
        ledgers = [one.finish() for one in running]
    assert sum(ledger["answered"] for ledger in ledgers) == 1000
    assert sent(target) == sorted(f"/{n}" for n in range(1000))
    assert queue.left() == 0
