"""Stacks of aws/mirrorproxy.yaml in the emulator, and the zip that their functions run.

The emulator makes every resource of the template. What it takes and leaves without effect is
held by the tests of the template itself: the bucket's lifecycle, reserved concurrency, the
stream's file extension, every permission.
"""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from typing import Any

from support import cloud_template
from support.ministack import Ministack

HERE = Path(__file__).parent
BUILT = HERE.parents[1] / "dist/mirrorproxy-lambda.zip"
DEPLOY_S = 90


def lambda_zip() -> bytes:
    """Return the zip that `make lambda` built, or one with a stand-in for both functions."""
    # The stand-in goes when `make lambda` is there: return BUILT.read_bytes().
    if BUILT.exists():
        return BUILT.read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("mirrorproxy/__init__.py", "")
        archive.write(HERE / "standin_lambda.py", "mirrorproxy/aws_lambda.py")
    return packed.getvalue()


def template_body() -> str:
    """Return the template as the emulator takes it.

    It hands numbers from parameters on as text, and then compares this one with a number. AWS
    makes a number of it.
    """
    written = "{MaximumConcurrency: !Ref SplitConcurrency}"
    body = cloud_template.PATH.read_text()
    assert body.count(written) == 1
    return body.replace(written, "{MaximumConcurrency: 10}")


class Stack:
    """A stack, made from nothing. parameters: those that are not the template's defaults."""

    def __init__(self, ministack: Ministack, name: str, **parameters: str) -> None:
        self.name = name
        self._cloudformation = ministack.client("cloudformation")
        self._cloudformation.create_stack(
            StackName=name,
            TemplateBody=template_body(),
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
