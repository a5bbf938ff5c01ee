"""A bucket and a queue, by what S3 and SQS say of them."""

from __future__ import annotations

import json

import pytest

from mirrorproxy.doctor import bucket, queue
from mirrorproxy.doctor.finding import Failure

DENIED = Failure("denied", "AccessDenied: no")
MISSING = Failure("missing", "NoSuchBucket: none")
OPEN = {
    "BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": False,
    "RestrictPublicBuckets": True,
}  # fmt: skip
ATTRIBUTES = {
    "ApproximateNumberOfMessages": "1234",
    "ApproximateNumberOfMessagesNotVisible": "5",
    "VisibilityTimeout": "120",
    "MessageRetentionPeriod": "345600",
    "RedrivePolicy": json.dumps(
        {"deadLetterTargetArn": "arn:aws:sqs:eu-central-1:1:dead", "maxReceiveCount": "5"}
    ),
    "Policy": '{"Statement":[{"Principal":{"Service":"s3.amazonaws.com"}}]}',
}


@pytest.mark.parametrize(
    ("finding", "level", "part"),
    [
        pytest.param(
            bucket.check_region("b", "eu-west-1", "eu-west-1"), "ok", "eu-west-1", id="there"
        ),
        pytest.param(bucket.check_region("b", None, "eu-west-1"), "ok", "eu-west-1", id="silent"),
        pytest.param(
            bucket.check_region("b", "eu-west-1", "us-east-1"),
            "problem",
            "region=eu-west-1",
            id="elsewhere",
        ),
        pytest.param(
            bucket.check_region("b", DENIED, None), "problem", "s3:ListBucket", id="somebody's"
        ),
        pytest.param(bucket.check_region("b", MISSING, None), "problem", "create", id="not there"),
        pytest.param(bucket.check_write("b", "p/", None), "ok", "below p/", id="written"),
        pytest.param(
            bucket.check_write("b", "p/", DENIED),
            "problem",
            "s3:PutObject and s3:AbortMultipartUpload on arn:aws:s3:::b/p/*",
            id="not written",
        ),
        pytest.param(bucket.check_list("b", "", 1, "read"), "ok", "below /", id="listed"),
        pytest.param(
            bucket.check_list("b", "p/", 0, "read"), "warning", "nothing below p/", id="empty"
        ),
        pytest.param(bucket.check_list("b", "p/", 0, "write"), "ok", "p/", id="empty yet"),
        pytest.param(
            bucket.check_list("b", "p/", DENIED, "read"),
            "problem",
            "s3:ListBucket on arn:aws:s3:::b",
            id="not listed",
        ),
        pytest.param(
            bucket.check_list("b", "p/", DENIED, "write"), "unchecked", "", id="not needed"
        ),
        pytest.param(bucket.check_read("b", None), "ok", "allowed", id="read"),
        pytest.param(bucket.check_read("b", MISSING), "ok", "allowed", id="nothing to read"),
        pytest.param(bucket.check_read("b", DENIED), "problem", "s3:GetObject", id="not read"),
        pytest.param(
            bucket.check_public("b", {**OPEN, "BlockPublicPolicy": True}), "ok", "", id="private"
        ),
        pytest.param(bucket.check_public("b", OPEN), "warning", "BlockPublicPolicy off", id="open"),
        pytest.param(bucket.check_public("b", MISSING), "warning", "block all", id="unblocked"),
        pytest.param(
            bucket.check_public("b", DENIED),
            "unchecked",
            "s3:GetBucketPublicAccessBlock",
            id="may not ask",
        ),
        pytest.param(bucket.check_encryption("b", MISSING), "warning", "SSE-S3", id="plain"),
    ],
)
def test_buckets(finding, level, part):
    """What is there, what is allowed, who else may look."""
    assert finding.level == level
    assert part in f"{finding.says}; {finding.do}"


@pytest.mark.parametrize(
    ("rule", "level", "says"),
    [
        pytest.param({"SSEAlgorithm": "AES256"}, "ok", "AES256", id="SSE-S3"),
        pytest.param({"SSEAlgorithm": "aws:kms"}, "warning", "asks KMS for every object", id="KMS"),
    ],
)
def test_encryption_is_told(rule, level, says):
    """And what it costs."""
    finding = bucket.check_encryption(
        "b", {"Rules": [{"ApplyServerSideEncryptionByDefault": rule}]}
    )
    assert (finding.level, finding.says) == (level, says)


def test_a_good_queue():
    """One line, with what waits."""
    (finding,) = queue.check_queue("q", ATTRIBUTES, 60)
    assert (finding.level, finding.says) == ("ok", "1,234 messages wait, 5 are worked on")


@pytest.mark.parametrize(
    ("change", "level", "part"),
    [
        pytest.param(
            {"MessageRetentionPeriod": "3600"}, "warning", "forgets messages after 1h", id="forgets"
        ),
        pytest.param({"RedrivePolicy": ""}, "warning", "no dead-letter queue", id="no redrive"),
        pytest.param({"RedrivePolicy": "{"}, "warning", "no dead-letter queue", id="no JSON"),
        pytest.param(
            {"RedrivePolicy": '{"maxReceiveCount": 1}'},
            "warning",
            "after 1 tries",
            id="gives up soon",
        ),
        pytest.param(
            {"KmsMasterKeyId": "alias/aws/sqs"}, "problem", "S3 cannot send to it", id="AWS's key"
        ),
        pytest.param({"Policy": ""}, "warning", "neither S3 nor SNS", id="nobody may send"),
    ],
)
def test_what_is_wrong_with_a_queue(change, level, part):
    """Each by itself, with a remedy."""
    findings = queue.check_queue("q", {**ATTRIBUTES, **change}, 60)
    (finding,) = [one for one in findings if one.level != "ok"]
    assert finding.level == level
    assert part in finding.says
    assert finding.do


def test_messages_that_are_let_go_soon():
    """Whatever the queue's own time is: workers ask for theirs."""
    short, long = (queue.check_queue("q", ATTRIBUTES, seconds) for seconds in (29.0, 30.0))
    assert short[1].says.startswith("workers let go of a message after 29s: ")
    assert [one.level for one in long] == ["ok"]


def test_a_fifo_queue_hears_nothing_from_s3():
    """A mistake that costs an afternoon."""
    assert queue.check_queue("q.fifo", ATTRIBUTES, 60)[0].level == "problem"


@pytest.mark.parametrize(
    ("messages", "level"),
    [(0, "ok"), (3, "warning"), (Failure("missing", ""), "problem"), (DENIED, "unchecked")],
)
def test_dead_letters_are_counted(messages, level):
    """What nobody could replay is told."""
    assert queue.check_dead_letters("dead", messages).level == level


def test_where_dead_letters_go():
    """From the policy, if there is one."""
    assert queue.dead_letter_arn(ATTRIBUTES) == "arn:aws:sqs:eu-central-1:1:dead"
    assert queue.dead_letter_arn({}) is None
