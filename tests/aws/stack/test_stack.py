"""The template deployed from nothing, and what is captured going through all of it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from cloud_stack import Stack, messages, told_of, until
from shipping import drain, firehose_sink
from stored_captures import exchange
from support.cloud_template import EVERYTHING, METRICS, Template
from support.commands import Application
from support.firehose import Firehose

from mirrorproxy.aws_urls import bodies_of, parse_bucket, parse_queue, parse_streams
from mirrorproxy.clock import wall_us
from mirrorproxy.codec import encode_line
from mirrorproxy.spool.segment import SegmentWriter


def put_rules(s3: Any, stack: Stack, target: Application) -> None:
    """Store a rule file where the stack says."""
    place = parse_bucket(stack.outputs["RulesAt"], "RulesAt")
    rules = f"""\
version: 1
targets:
  staging:
    url: {target.url}
rules:
  - name: everything
    send: {{target: staging}}
"""
    s3.put_object(Bucket=place.bucket, Key=place.prefix.rstrip("/"), Body=rules.encode())


def put_stream(firehose: Firehose, stack: Stack) -> None:
    """Make the template's stream where it buffers and names objects as Firehose does."""
    (stream,) = Template().resources("AWS::KinesisFirehose::DeliveryStream").values()
    told = stream["ExtendedS3DestinationConfiguration"]
    firehose.create(
        stack.outputs["StreamName"],
        stack.outputs["Bucket"],
        told["Prefix"],
        FileExtension=told["FileExtension"],
        CompressionFormat=told["CompressionFormat"],
    )


@pytest.mark.parametrize("replay", ["s3", "sqs", "lambda"])
def test_a_stack_is_made_from_nothing(ministack, code, replay):
    """Every resource and output that the template has for it. Its bucket outlives it."""
    given = {"Replay": replay} | ({"CodeBucket": code} if replay == "lambda" else {})
    stack = Stack(ministack, f"for-{replay}", is_tls_only=True, **given)
    template = Template(**given)
    assert stack.resources().keys() == template.resources().keys()
    assert stack.outputs.keys() == template.outputs().keys()
    stack.delete()
    buckets = ministack.client("s3").list_buckets()["Buckets"]
    assert stack.outputs["Bucket"] in {one["Name"] for one in buckets}


def test_a_stack_is_made_with_everything(ministack, code):
    """A key, a network, secrets and a topic of one's own: every condition that can hold."""
    seal = ministack.client("secretsmanager").create_secret(Name="sealing", SecretString="00" * 32)
    given = {**EVERYTHING, "CodeBucket": code, "SealKeySecretArn": seal["ARN"]}
    stack = Stack(
        ministack,
        "with-everything",
        is_tls_only=True,
        **{key: ",".join(one) if isinstance(one, list) else one for key, one in given.items()},
    )
    assert stack.resources().keys() == Template(**given).resources().keys()
    functions = ministack.client("lambda")
    split = functions.get_function_configuration(FunctionName=stack.outputs["SplitFunction"])
    assert split["Environment"]["Variables"]["MIRRORPROXY_SEAL_KEY"] == "00" * 32
    send = functions.get_function_configuration(FunctionName=stack.outputs["SendFunction"])
    assert "MIRRORPROXY_SEAL_KEY" not in send["Environment"]["Variables"]
    stack.delete()


def test_a_stack_needs_code_for_its_functions(ministack):
    """It is refused before anything is made."""
    with pytest.raises(Exception, match="needs CodeBucket"):
        Stack(ministack, "no-code", Replay="lambda")


def test_the_outputs_are_urls_that_capture_and_replay_take(ministack):
    """As they stand."""
    stack = Stack(ministack, "urls", Replay="sqs", Prefix="a/b")
    outputs = stack.outputs
    stream = parse_streams(outputs["CaptureTo"], "CaptureTo")
    bodies = bodies_of(stream, "CaptureTo")
    assert stream.streams == (outputs["StreamName"],)
    assert (bodies.bucket, bodies.folder) == (outputs["Bucket"], "a/b/")
    assert stream.region == "us-east-1"
    for name in ("CaptureToBucket", "ReplayFrom"):
        bucket = parse_bucket(outputs[name], name)
        assert (bucket.bucket, bucket.folder) == (outputs["Bucket"], "a/b/")
    queue = parse_queue(outputs["ReplayFromQueue"], "source")
    assert outputs["QueueUrl"].endswith(f"/{queue.name}")
    stack.delete()


@pytest.mark.usefixtures("aws_environ")
def test_what_is_captured_reaches_the_target(tmp_path, firehose, s3, stack, target):
    """Spool, Firehose, bucket, event, queue, split, send: each request once."""
    put_rules(s3, stack, target)
    put_stream(firehose, stack)
    writer = SegmentWriter(tmp_path, 0)
    now_us = wall_us()
    for number in range(300):
        writer.append(encode_line(exchange(now_us, number)))
    writer.close()
    drain(tmp_path, firehose_sink(stack.outputs["CaptureTo"]))
    firehose.flush()
    until(lambda: len(target.requests) >= 300, "300 requests at the target")
    sent = Counter(request.target for request in target.requests)
    assert sent == Counter(f"/{number}" for number in range(300))


def test_the_functions_count_what_alarms_read(ministack, stack):
    """Metrics in their logs, by the one dimension that alarms name."""
    logs = ministack.client("logs")
    for name, function in (("Split", "SplitFunction"), ("Send", "SendFunction")):
        group = f"/aws/lambda/{stack.outputs[function]}"
        events = logs.filter_log_events(logGroupName=group)["events"]
        lines = [line for event in events for line in event["message"].splitlines()]
        (told, *_) = [json.loads(line) for line in lines if line.startswith('{"_aws"')]
        (directive,) = told["_aws"]["CloudWatchMetrics"]
        assert (directive["Namespace"], directive["Dimensions"]) == ("mirrorproxy", [["Function"]])
        assert told["Function"] == stack.outputs[function]
        assert {metric["Name"] for metric in directive["Metrics"]} == METRICS[name]


def test_only_what_holds_records_is_told_of(ministack, s3):
    """Bodies, chunks and rules are no events: nobody takes messages away here."""
    stack = Stack(ministack, "told", Replay="sqs")
    bucket, sqs = stack.outputs["Bucket"], ministack.client("sqs")
    key = "mirror/2025/11/23/08/stream-1-2025-11-23-08-00-00-0.jsonl.gz"
    for name in (
        "mirror/bodies/2025/11/23/08/" + "0" * 32,
        "replay/chunks/x.jsonl.gz",
        "rules/rules.yaml",
        key,
    ):
        s3.put_object(Bucket=bucket, Key=name, Body=b"")
    until(lambda: key in told_of(sqs, stack.outputs["QueueUrl"]), "an event")
    assert told_of(sqs, stack.outputs["QueueUrl"]) == [key]
    stack.delete()


def test_an_event_of_an_unknown_shape_is_a_dead_letter(ministack, stack, s3, target):
    """As it came, after it was tried as often as the template says."""
    put_rules(s3, stack, target)
    sqs = ministack.client("sqs")
    url, dead = stack.outputs["QueueUrl"], stack.outputs["DeadLettersUrl"]
    # The template's visibility is for split's time-out: minutes between tries.
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
    unknown = json.dumps({"hello": "world"})
    sqs.send_message(QueueUrl=url, MessageBody=unknown)
    until(lambda: messages(sqs, dead) == [unknown], "a dead letter")
    assert messages(sqs, url) == []


def test_a_chunk_that_cannot_be_sent_is_kept_with_the_reason(ministack, stack):
    """Not tried again: what was sent of it would be sent twice."""
    sqs = ministack.client("sqs")
    unsent = stack.outputs["UnsentUrl"]
    chunk = {"hello": "world"}
    ministack.client("lambda").invoke(
        FunctionName=stack.outputs["SendFunction"],
        InvocationType="Event",
        Payload=json.dumps(chunk),
    )
    until(lambda: len(messages(sqs, unsent)) == 1, "a record of the failure")
    (record,) = map(json.loads, messages(sqs, unsent))
    assert record["requestPayload"] == chunk
    assert "errorMessage" in record["responsePayload"]
    # The record's own count is always 3 here.
    once = ministack.client("lambda").get_function_event_invoke_config(
        FunctionName=stack.outputs["SendFunction"], Qualifier="$LATEST"
    )
    assert once["MaximumRetryAttempts"] == 0
