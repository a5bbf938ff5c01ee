"""The two functions in this process: the emulator's S3, and a Lambda turned by hand."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from emulated import RULES
from support.ministack import Ministack

from mirrorproxy.clock import new_id, wall_us
from mirrorproxy.errors import MirrorproxyError
from mirrorproxy.lambdas import send_function, split_function
from mirrorproxy.lambdas.around import Call, Kept

SECRETS = {"STAGING_TOKEN": "of-staging"}


class Refused(Exception):
    """An error as boto3 raises it."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(code)
        self.response = {
            "Error": {"Code": code, "Message": "Rate Exceeded."},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }


class Killed(BaseException):
    """What ends a call without a word, as Lambda does when its time is over."""


class Context:
    """A call. own: the function's name. left_s: when Lambda ends it."""

    def __init__(self, own: str, left_s: float, request: str) -> None:
        self._until_s = time.monotonic() + left_s
        self.aws_request_id = request
        self.invoked_function_arn = own

    def get_remaining_time_in_millis(self) -> int:
        return round((self._until_s - time.monotonic()) * 1000)


def take_all(_number: int, _function: str) -> None:
    """Refuse no invocation."""


class ByHand:
    """Takes invocations, and runs them when it is told to. refuse: raises in place of taking."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.refuse: Callable[[int, str], None] = take_all
        self.asked = 0

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803
        assert InvocationType == "Event"
        self.asked += 1
        self.refuse(self.asked, FunctionName)
        self.taken.append((FunctionName, Payload))


class _Denying:
    """S3, but for what may not be got: the keys in denied."""

    def __init__(self, client: Any, denied: set[str]) -> None:
        self._client = client
        self._denied = denied

    def get_object(self, **wanted: Any) -> Any:
        if wanted["Key"] in self._denied:
            raise Refused("AccessDenied", 403)
        return self._client.get_object(**wanted)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class Both:
    """`split` and `send`, with one target and a bucket for chunks and claims."""

    def __init__(
        self,
        ministack: Ministack,
        target: str,
        variables: Mapping[str, str] | None = None,
        rules: str = RULES,
    ) -> None:
        self._ministack = ministack
        self.denied: set[str] = set()
        self.s3 = self._client("s3", None)
        self.work = f"work-{new_id(wall_us())}"
        self.s3.create_bucket(Bucket=self.work)
        self.by_hand = ByHand()
        self.lost: list[tuple[object, str]] = []
        self._requests = 0
        self._target = target
        self.put_rules(rules)
        self.variables = {
            "MIRRORPROXY_RULES": f"s3://{self.work}/rules.yaml",
            "MIRRORPROXY_SEND_FUNCTION": "send",
            "MIRRORPROXY_CHUNKS": f"s3://{self.work}/replay/",
            "MIRRORPROXY_SPREAD_OVER": "300ms",
            **(variables or {}),
        }
        self.kept = {
            "split": self._kept("split", {}),
            "send": self._kept("send", SECRETS),
        }

    def put_rules(self, rules: str) -> None:
        self.s3.put_object(Bucket=self.work, Key="rules.yaml", Body=(rules % self._target).encode())

    def _kept(self, name: str, secrets: Mapping[str, str]) -> Kept:
        environ = {"AWS_LAMBDA_FUNCTION_NAME": name, **self.variables, **secrets}
        return Kept(is_split=name == "split", environ=environ, client=self._client)

    def _client(self, service: str, _region: str | None) -> Any:
        if service == "lambda":
            return self.by_hand
        client = _client(self._ministack, service)
        return _Denying(client, self.denied) if service == "s3" else client

    def call(self, name: str, event: object, left_s: float = 30.0) -> Any:
        """Run one call to its end."""
        self._requests += 1
        call = Call(self.kept[name], Context(name, left_s, f"request-{self._requests}"))
        try:
            function = split_function.split if name == "split" else send_function.send
            return function(call, event)
        finally:
            call.close()

    def run_all(self, left_s: float = 30.0) -> None:
        """Run what was invoked, and what that invokes; what fails is in `lost`."""
        while self.by_hand.taken:
            name, payload = self.by_hand.taken.pop(0)
            event = json.loads(payload)
            try:
                self.call(name, event, left_s)
            except MirrorproxyError as error:
                self.lost.append((event, str(error)))

    def kept_keys(self, folder: str) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.work, Prefix=f"replay/{folder}/")
        return [Path(entry["Key"]).name for entry in found.get("Contents", ())]


@functools.cache
def _client(ministack: Ministack, service: str) -> Any:
    # Making one takes longer than most of what it is used for.
    return ministack.client(service)


def told_of(bucket: str, *keys: str) -> dict[str, Any]:
    """Return S3's notification of some objects."""
    return {
        "Records": [
            {
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": bucket}, "object": {"key": key}},
            }
            for key in keys
        ]
    }


def messages(*bodies: object) -> dict[str, Any]:
    """Return an event of SQS with messages 0, 1 and so on."""
    return {
        "Records": [
            {
                "eventSource": "aws:sqs",
                "messageId": str(number),
                "body": body if isinstance(body, str) else json.dumps(body),
            }
            for number, body in enumerate(bodies)
        ]
    }


def ledgers(out: str, function: str) -> list[dict[str, Any]]:
    """Return the ledgers that a function has written."""
    lines = [json.loads(line) for line in out.splitlines() if line[:12] == '{"function":']
    return [line for line in lines if line["function"] == function]
