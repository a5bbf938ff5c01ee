"""The two functions in the emulator: real processes that run our package, and what is around them.

Owns the zip of the sources, the functions, a queue that S3 tells of objects, the dead-letter
queues, and the reading of logs. The emulator knows no limit of a payload: tests assert them.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from support.ministack import REGION, Ministack

ROOT = Path(__file__).resolve().parents[2]
ROLE = "arn:aws:iam::000000000000:role/function"
DEADLINE_S = 90

RULES = """\
version: 1
targets:
  staging:
    url: %s
    auth: [{use: {bearer: "${STAGING_TOKEN}"}}]
rules:
  - {name: everything, match: {path: "/**"}, send: {target: staging}}
"""


def sources(extra: Mapping[str, str] | None = None) -> bytes:
    """Return a zip of the package, and of some files beside it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted((ROOT / "mirrorproxy").rglob("*.py")):
            archive.write(path, path.relative_to(ROOT))
        for name, text in (extra or {}).items():
            archive.writestr(name, text)
    return buffer.getvalue()


class Functions:
    """`split` and `send` with the rules of one target; environ: more variables, by function."""

    def __init__(
        self,
        ministack: Ministack,
        bucket: str,
        target: str,
        *,
        variables: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        rules: str = RULES,
        split_handler: str = "mirrorproxy.aws_lambda.split",
        split_timeout_s: int = 60,
        send_timeout_s: int = 60,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self.ministack = ministack
        self.bucket = bucket
        self.client = ministack.client("lambda")
        self.sqs = ministack.client("sqs")
        self.s3 = ministack.client("s3")
        self.logs = ministack.client("logs")
        self.split, self.send = f"split-{bucket}", f"send-{bucket}"
        self.work = ministack.bucket()
        self.s3.put_object(Bucket=self.work, Key="rules.yaml", Body=(rules % target).encode())
        self.dead, self.dead_arn = self._queue("dead")
        code = sources(extra)
        common = {
            "AWS_ENDPOINT_URL": ministack.url,
            "MIRRORPROXY_RULES": f"s3://{self.work}/rules.yaml",
            "MIRRORPROXY_SEND_FUNCTION": self.send,
            "MIRRORPROXY_CHUNKS": f"s3://{self.work}/replay/",
            **(variables or {}),
        }
        self._create(self.split, split_handler, code, split_timeout_s, common)
        # What only `send` knows: the credentials of the target.
        own = {**common, **(secrets if secrets is not None else {"STAGING_TOKEN": "of-staging"})}
        self._create(self.send, "mirrorproxy.aws_lambda.send", code, send_timeout_s, own)

    def _create(
        self, name: str, handler: str, code: bytes, timeout_s: int, variables: Mapping[str, str]
    ) -> None:
        self.client.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=ROLE,
            Handler=handler,
            Code={"ZipFile": code},
            Timeout=timeout_s,
            MemorySize=512,
            Environment={"Variables": {"AWS_LAMBDA_FUNCTION_NAME": name, **variables}},
        )
        self.client.put_function_event_invoke_config(
            FunctionName=name,
            MaximumRetryAttempts=0,
            DestinationConfig={"OnFailure": {"Destination": self.dead_arn}},
        )

    def _queue(self, kind: str, **attributes: str) -> tuple[str, str]:
        url = self.sqs.create_queue(QueueName=f"{kind}-{self.bucket}", Attributes=attributes)
        asked = self.sqs.get_queue_attributes(QueueUrl=url["QueueUrl"], AttributeNames=["All"])
        return url["QueueUrl"], asked["Attributes"]["QueueArn"]

    def hear_of_objects(self, *, most_receives: int = 3, visibility_s: int = 2) -> str:
        """Let S3 tell a queue of objects, and the queue `split`; return the queue's URL."""
        url, arn = self._queue(
            "told",
            VisibilityTimeout=str(visibility_s),
            RedrivePolicy=json.dumps(
                {"deadLetterTargetArn": self.dead_arn, "maxReceiveCount": most_receives}
            ),
        )
        self.client.create_event_source_mapping(
            EventSourceArn=arn,
            FunctionName=self.split,
            BatchSize=5,
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )
        self.s3.put_bucket_notification_configuration(
            Bucket=self.bucket,
            NotificationConfiguration={
                "QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]
            },
        )
        return url

    def hear_directly(self) -> None:
        """Let S3 invoke `split` by itself."""
        arn = self.client.get_function(FunctionName=self.split)["Configuration"]["FunctionArn"]
        self.s3.put_bucket_notification_configuration(
            Bucket=self.bucket,
            NotificationConfiguration={
                "LambdaFunctionConfigurations": [
                    {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}
                ]
            },
        )

    # -- what became of it ----------------------------------------------------------

    def lines(self, function: str) -> list[str]:
        """Return what a function has logged."""
        try:
            found = self.logs.filter_log_events(
                logGroupName=f"/aws/lambda/{function}", limit=10_000
            )
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        return [line for event in found["events"] for line in event["message"].splitlines()]

    def ledgers(self, function: str) -> list[dict[str, Any]]:
        """Return the ledgers that a function has logged."""
        return [json.loads(line) for line in self.lines(function) if line[:12] == '{"function":']

    def metrics(self, function: str) -> list[dict[str, Any]]:
        """Return the lines that CloudWatch makes metrics of."""
        return [json.loads(line) for line in self.lines(function) if line.startswith('{"_aws"')]

    def total(self, function: str, *names: str) -> list[int]:
        """Return the sums of some metrics."""
        lines = self.metrics(function)
        return [sum(line[name] for line in lines) for name in names]

    def dead_letters(self) -> list[dict[str, Any]]:
        """Take what is in the dead-letter queue."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.sqs.receive_message(
                QueueUrl=self.dead, MaxNumberOfMessages=10, WaitTimeSeconds=0
            )
            messages = answer.get("Messages", [])
            if not messages:
                return found
            for message in messages:
                self.sqs.delete_message(QueueUrl=self.dead, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))

    def kept(self, folder: str) -> list[str]:
        """Return the keys below the place of chunks and claims."""
        found = self.s3.list_objects_v2(Bucket=self.work, Prefix=f"replay/{folder}/")
        return [entry["Key"] for entry in found.get("Contents", ())]


def until(what: str, is_so: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Wait until something is so."""
    end = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < end, f"{what}: not in {deadline_s} s"
        time.sleep(0.1)


__all__ = ["REGION", "RULES", "Functions", "until"]
