"""Invoking functions: asynchronously, again and again while there are too many.

Owns the trying again, by `retry`, up to a moment after which the caller hands on what is
left. Blocks.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from mirrorproxy.lambdas.chunk import EVENT_LIMIT_BYTES
from mirrorproxy.retry import RetrySchedule
from mirrorproxy.sources.aws import AwsError, Deed, trouble_of

LIMIT_S = 5.0
"""The longest wait between two attempts: the time of a function is short."""


class NotTaken(Exception):
    """Lambda took an invocation no more before the time was over; the text says why."""


class Invoker:
    """Invokes functions. client: boto3's for Lambda.

    clock_s, sleep: of the process. jitter: a number from 0 to 1. throttled: how often an
    invocation was refused because there are too many.
    """

    def __init__(
        self,
        client: Any,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._clock_s = clock_s
        self._sleep = sleep
        self._jitter = jitter
        self.throttled = 0

    def invoke(self, function: str, payload: bytes, until_s: float) -> None:
        """Have a function invoked with a payload, some time soon.

        until_s: up to when it is tried again, by clock_s; it is tried once at least. Raises
        NotTaken after that, and AwsError where trying again does not help.
        """
        if len(payload) > EVENT_LIMIT_BYTES:
            raise ValueError(f"{len(payload)} bytes are no payload of an asynchronous invocation")
        deed = Deed(f"the function {function}", f"lambda:InvokeFunction on {function}")
        schedule = RetrySchedule(self._jitter, limit_s=LIMIT_S)
        while True:
            try:
                self._client.invoke(FunctionName=function, InvocationType="Event", Payload=payload)
                return
            except Exception as error:
                trouble = trouble_of(error, deed)
                if trouble.kind != "unavailable":
                    raise AwsError(trouble) from error
                self.throttled += 1
                now_s = self._clock_s()
                schedule.failed(now_s)
                wait_s = schedule.waits_s(now_s) or 0.0
                if now_s + wait_s > until_s:
                    raise NotTaken(trouble.text) from error
            self._sleep(wait_s)
            schedule.started()
