"""Stacks of aws/mirrorproxy.yaml in the emulator, the zip that their functions run, and users.

The emulator makes every resource of the template, and asks for the permissions that it gives. What
it takes and leaves without effect is held by the tests of the template itself: the bucket's
lifecycle, reserved concurrency, the stream's file extension.
"""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import cloud_template
from support.ministack import Ministack

ROOT = Path(__file__).parents[3]
DEPLOY_S = 90
WAIT_S = 90


def lambda_zip() -> bytes:
    """Return a zip of this checkout's functions.

    Sources alone: the packages that they import are this environment's, as the emulator runs
    them with its own interpreter, whatever a stack asks for. `make lambda` packs Lambda's.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted((ROOT / "mirrorproxy").rglob("*.py")):
            archive.write(path, path.relative_to(ROOT))
    return packed.getvalue()


def template_body(*, is_tls_only: bool) -> str:
    """Return the template as the emulator takes it.

    A number is written out: the emulator hands numbers from parameters on as text, and then
    compares this one with a number. AWS makes a number of it. is_tls_only: leave the bucket's
    policy in, by which the emulator, which is reached without TLS, refuses everybody.
    """
    body = cloud_template.PATH.read_text()
    written = "{MaximumConcurrency: !Ref SplitConcurrency}"
    assert body.count(written) == 1
    body = body.replace(written, "{MaximumConcurrency: 10}")
    if is_tls_only:
        return body
    body, dropped = re.subn(r"\n  CapturesPolicy:\n.+?\n\n", "\n", body, flags=re.DOTALL)
    assert dropped == 1
    return body


class Stack:
    """A stack, made from nothing. parameters: those that are not the template's defaults.

    is_tls_only: see `template_body`.
    """

    def __init__(
        self, ministack: Ministack, name: str, *, is_tls_only: bool = False, **parameters: str
    ) -> None:
        self.name = name
        self._cloudformation = ministack.client("cloudformation")
        self._cloudformation.create_stack(
            StackName=name,
            TemplateBody=template_body(is_tls_only=is_tls_only),
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM"],
        )
        self.outputs = {
            one["OutputKey"]: one["OutputValue"] for one in self._ended("CREATE")["Outputs"]
        }

    def resources(self) -> dict[str, str]:
        """Return the types of what was made, by name."""
        found = self._cloudformation.describe_stack_resources(StackName=self.name)
        return {one["LogicalResourceId"]: one["ResourceType"] for one in found["StackResources"]}

    def delete(self) -> None:
        """Delete it, and wait until it is gone."""
        stack = self._cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]["StackId"]
        self._cloudformation.delete_stack(StackName=self.name)
        self.name = stack
        self._ended("DELETE")

    def _ended(self, deed: str) -> Any:
        deadline = time.monotonic() + DEPLOY_S
        while time.monotonic() < deadline:
            (stack,) = self._cloudformation.describe_stacks(StackName=self.name)["Stacks"]
            if not stack["StackStatus"].endswith("IN_PROGRESS"):
                assert stack["StackStatus"] == f"{deed}_COMPLETE", self._reasons()
                return stack
            time.sleep(0.05)
        raise AssertionError(f"{self.name}: no end of {deed} after {DEPLOY_S} s")

    def _reasons(self) -> list[str]:
        events = self._cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
        return [f"{one['LogicalResourceId']}: {one.get('ResourceStatusReason')}"
                for one in events if one["ResourceStatus"].endswith("FAILED")]  # fmt: skip


def user(ministack: Ministack, name: str, *policies: str) -> dict[str, str]:
    """Make a user with managed policies and nothing else; return the keys, as boto3 takes them."""
    iam = ministack.client("iam")
    iam.create_user(UserName=name)
    for policy in policies:
        iam.attach_user_policy(UserName=name, PolicyArn=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {
        "aws_access_key_id": key["AccessKeyId"],
        "aws_secret_access_key": key["SecretAccessKey"],
    }


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what other processes do. Raises AssertionError if it never comes."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)


def messages(sqs: Any, url: str) -> list[str]:
    """Return what is in a queue, and leave it there."""
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
    return [one["Body"] for one in found.get("Messages", ())]


def told_of(sqs: Any, url: str) -> list[str]:
    """Return the keys that a queue tells of."""
    events = [json.loads(body) for body in messages(sqs, url)]
    return [one["s3"]["object"]["key"] for event in events for one in event.get("Records", ())]
