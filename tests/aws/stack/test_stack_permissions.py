"""What the template's policies let capture, workers and functions do, asked of the emulator."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cloud_stack import Stack, user
from stored_captures import Worker, exchange, put
from support.commands import Application
from support.ministack import Ministack

from mirrorproxy.clock import wall_us

_numbers = itertools.count(1)


@pytest.fixture
def own(ministack: Ministack) -> Iterator[Stack]:
    """A stack for workers, with nothing in its bucket."""
    made = Stack(ministack, f"permissions-{next(_numbers)}", Replay="sqs")
    yield made
    made.delete()


@pytest.fixture
def mirror(ministack: Ministack, own: Stack) -> dict[str, str]:
    """The keys of who may capture."""
    return user(ministack, f"mirror-{own.name}", own.outputs["CapturePolicyArn"])


@pytest.fixture
def worker(ministack: Ministack, own: Stack) -> dict[str, str]:
    """The keys of who may replay."""
    name = f"worker-{own.name}"
    keys = user(ministack, name, own.outputs["WorkerPolicyArn"])
    # For AWS these are parts of the actions on one message (SQS developer guide, API permissions).
    batches = {
        "Effect": "Allow",
        "Action": ["sqs:DeleteMessageBatch", "sqs:ChangeMessageVisibilityBatch"],
        "Resource": "*",
    }
    ministack.client("iam").put_user_policy(
        UserName=name,
        PolicyName="batches",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [batches]}),
    )
    return keys


def refused(call: Any, **arguments: object) -> bool:
    """Return whether a call is not allowed. Any other error is one of the test's."""
    try:
        call(**arguments)
    except Exception as error:
        code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
        if code not in {"AccessDenied", "AccessDeniedException", "403"}:
            raise
        return True
    return False


def test_a_capture_puts_and_does_nothing_else(ministack, own, mirror):
    """Records into the stream, objects and uploads below the prefix."""
    firehose, s3 = ministack.client("firehose", **mirror), ministack.client("s3", **mirror)
    bucket, stream = own.outputs["Bucket"], own.outputs["StreamName"]
    firehose.put_record_batch(DeliveryStreamName=stream, Records=[{"Data": b"x"}])
    s3.put_object(Bucket=bucket, Key="mirror/bodies/x", Body=b"x")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="mirror/y")["UploadId"]
    s3.abort_multipart_upload(Bucket=bucket, Key="mirror/y", UploadId=upload)
    assert refused(s3.put_object, Bucket=bucket, Key="rules/rules.yaml", Body=b"x")
    assert refused(s3.get_object, Bucket=bucket, Key="mirror/bodies/x")
    assert refused(s3.delete_object, Bucket=bucket, Key="mirror/bodies/x")
    assert refused(s3.list_objects_v2, Bucket=bucket, Prefix="mirror/")
    assert refused(firehose.delete_delivery_stream, DeliveryStreamName=stream)


@pytest.mark.parametrize("source", ["ReplayFrom", "ReplayFromQueue"])
def test_a_worker_replays_with_its_policy_alone(ministack, s3, own, worker, target, source):
    """Lists, reads and takes messages, by the command itself."""
    put(s3, own.outputs["Bucket"], [exchange(wall_us(), n) for n in range(5)], prefix="mirror/")
    environ = {
        **ministack.environ(),
        "AWS_ACCESS_KEY_ID": worker["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": worker["aws_secret_access_key"],
    }
    words = () if source == "ReplayFrom" else ("--idle-exit", "2s")
    running = Worker(environ, own.outputs[source], "--speed", "max", "--target", target.url, *words)
    try:
        ledger = running.finish()
    finally:
        running.kill()
    assert (ledger["exit"], ledger["said"]) == (0, "")
    assert {request.target for request in target.requests} == {f"/{n}" for n in range(5)}


def test_a_worker_changes_nothing(ministack, own, worker):
    """Captures are not its to write or delete, and rules not its to read."""
    s3 = ministack.client("s3", **worker)
    bucket = own.outputs["Bucket"]
    assert refused(s3.put_object, Bucket=bucket, Key="mirror/x", Body=b"x")
    assert refused(s3.delete_object, Bucket=bucket, Key="mirror/x")
    assert refused(s3.get_object, Bucket=bucket, Key="rules/rules.yaml")
    assert refused(s3.list_objects_v2, Bucket=bucket, Prefix="replay/")


def test_nothing_is_read_or_written_without_tls(ministack: Ministack, target: Application):
    """Whatever one may do otherwise; the emulator is reached without."""
    stack = Stack(ministack, "tls", is_tls_only=True)
    s3 = ministack.client("s3", **user(ministack, "tls", stack.outputs["CapturePolicyArn"]))
    assert refused(s3.put_object, Bucket=stack.outputs["Bucket"], Key="mirror/x", Body=b"x")
    stack.delete()
