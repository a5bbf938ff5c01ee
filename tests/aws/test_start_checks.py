"""What a capture says when AWS cannot be used: one line, and status 2."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.commands import Answer, Application, free_port, run, serving
from support.firehose import Fault, Firehose

from mirrorproxy.errors import ConfigError
from mirrorproxy.sinks.probe import NO_BOTO3, probe

NOT_THERE = "is not there, in us-east-1: check its name, and ?region="
BESIDE = "beside the stream's own objects: ?bodies=s3://BUCKET/PREFIX"
KEYS = "AWS does not take the credentials for the bucket bbb in us-east-1"
REGION = "the bucket bbb is not in us-east-1: name its region, ?region="


@pytest.fixture
def refusing(monkeypatch, aws_environ):
    """A server in S3's place that refuses everything; its answer is set by the test."""
    application = Application()
    monkeypatch.setenv("AWS_ENDPOINT_URL", application.url)
    with serving(application):
        yield application


def capture(folder: Path, to: str, environ: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a capture that is expected to end at once; return its status and what it says."""
    ended = run(
        [
            "capture", "--listen", f"127.0.0.1:{free_port()}", "--upstream", "http://127.0.0.1:9",
            "--admin", "off", "--workers", "1", "--spool", str(folder / "spool"), "--to", to,
        ],
        folder,
        environ,
    )  # fmt: skip
    return ended.returncode, ended.stderr.strip()


def error(code: str, status: int) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
    return Answer(status, [("Content-Type", "application/xml")], body.encode())


@pytest.mark.parametrize(
    ("to", "line"),
    [
        ("s3://no-such/x", f"the bucket no-such {NOT_THERE}"),
        ("s3://B!/x", "expected s3://BUCKET/PREFIX"),
        ("s3://bucket?colour=red", "s3:// has no option colour; known: endpoint, region"),
        ("firehose://s", f"say where large bodies go, {BESIDE}"),
        ("firehose://s?bodies=s3://bbb/p&packing=zip", "packing: expected gzip or plain"),
        ("firehose://none?bodies=s3://bbb/p", f"the stream none {NOT_THERE}"),
    ],
)  # fmt: skip
def test_a_wrong_name_ends_the_command_with_one_line(tmp_path, aws_environ, to, line):
    """Before anything listens."""
    assert capture(tmp_path, to) == (2, f"mirrorproxy: --to: {line}")


def test_a_stream_in_another_region(tmp_path, aws_environ, firehose, bucket):
    """The endpoint of one region does not take what is signed for another."""
    firehose.create("stream", bucket)
    to = f"firehose://stream?region=eu-west-1&bodies=s3://{bucket}/p"
    status, line = capture(tmp_path, to)
    assert status == 2
    assert "credentials for the stream stream in eu-west-1" in line
    assert line.endswith("check the keys, and the region")


def test_the_missing_permission_is_named(aws_environ, firehose, bucket):
    """Of Firehose, by the very call that shipping makes."""
    firehose.create("stream", bucket)
    firehose.denied.add("firehose:PutRecordBatch")
    with pytest.raises(
        ConfigError, match=r"not permitted: firehose:PutRecordBatch on the stream stream$"
    ):
        probe(f"firehose://stream?bodies=s3://{bucket}/p")


@pytest.mark.parametrize(
    ("code", "status", "line"),
    [
        ("AccessDenied", 403, "not permitted: s3:PutObject on the bucket bbb"),
        ("ExpiredToken", 400, "the AWS token has expired: renew the credentials"),
        ("InvalidAccessKeyId", 403, KEYS),
        ("AuthorizationHeaderMalformed", 400, REGION),
    ],
)  # fmt: skip
def test_what_s3_refuses(refusing, code, status, line):
    """A permission, a token, a key, a region."""
    refusing.answer = lambda _request: error(code, status)
    with pytest.raises(ConfigError, match=re.escape(line)):
        probe("s3://bbb/p")


def test_an_upload_that_may_not_be_given_up(refusing):
    """Large bodies need that permission as well."""
    begun = (
        b"<InitiateMultipartUploadResult><Bucket>bbb</Bucket><Key>k</Key>"
        b"<UploadId>u</UploadId></InitiateMultipartUploadResult>"
    )
    refusing.answer = lambda request: (
        error("AccessDenied", 403)
        if request.method == "DELETE"
        else Answer(200, [("Content-Type", "application/xml")], begun)
    )
    with pytest.raises(ConfigError, match="not permitted: s3:AbortMultipartUpload"):
        probe("s3://bbb/p")


def test_no_credentials(aws_environ, bucket, monkeypatch):
    """None in the environment, no profile, no role."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ConfigError, match="no AWS credentials: set AWS_ACCESS_KEY_ID"):
        probe(f"s3://{bucket}/p")


def test_no_region(aws_environ, bucket, monkeypatch):
    """Of Firehose there is one in each region: it has to be said."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigError, match=r"no AWS region: add \?region=NAME"):
        probe(f"firehose://s?bodies=s3://{bucket}/p")


def test_an_outage_at_start_is_no_mistake(aws_environ, firehose, bucket, monkeypatch):
    """The application's traffic does not wait for AWS: the spool holds."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert probe(f"s3://{bucket}/p") == f"cannot reach the bucket {bucket}: no connection"
    firehose.create("stream", bucket)
    firehose.plan(Fault("throttle"))
    found = probe(f"firehose://stream?bodies=s3://{bucket}/p")
    assert found == "the stream stream answers 500 ServiceUnavailableException"


def test_a_target_that_can_be_used(aws_environ, firehose: Firehose, s3, bucket):
    """Nothing but an empty member is left in the stream, and nothing in the bucket."""
    firehose.create("stream", bucket)
    assert probe(f"firehose://stream?bodies=s3://{bucket}/p") is None
    assert [len(put.records) for put in firehose.puts] == [1]
    assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_without_boto3(tmp_path, aws_environ):
    """It says what to install."""
    (tmp_path / "boto3.py").write_text("raise ModuleNotFoundError(name='boto3')\n")
    status, line = capture(tmp_path, "s3://bucket/p", {"PYTHONPATH": str(tmp_path)})
    assert (status, line) == (2, f"mirrorproxy: --to: {NO_BOTO3}")
