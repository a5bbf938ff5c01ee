"""What is around a call of a function: its settings, clients, rules, and the time it has.

Owns what is kept between the calls of a warm function: clients, threads that download, and
compiled rules.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from mirrorproxy.lambdas.deadline import Deadline
from mirrorproxy.lambdas.invoking import Invoker
from mirrorproxy.lambdas.lines import say
from mirrorproxy.lambdas.places import Places
from mirrorproxy.lambdas.rules_at import Rules, RulesAt, WithoutSecrets, placeholder
from mirrorproxy.lambdas.settings import settings_of
from mirrorproxy.rules.aws_secrets import read_secret
from mirrorproxy.sources import aws
from mirrorproxy.sources.download import Downloads
from mirrorproxy.sources.s3 import S3Reader

THREADS = 2
"""A small function has a part of one processor: more threads would wait for it."""

Client = Callable[[str, str | None], Any]


class Context(Protocol):
    """What Lambda says of a call."""

    aws_request_id: str
    invoked_function_arn: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the call is ended."""


class Kept:
    """What a warm function keeps. is_split: whether it is the one that needs no secrets."""

    def __init__(
        self,
        *,
        is_split: bool,
        environ: Mapping[str, str] = os.environ,
        client: Client = aws.client,
    ) -> None:
        self.settings = settings_of(environ)
        self._new_client = client
        self._clients: dict[tuple[str, str | None], Any] = {}
        self.rules = RulesAt(
            self.settings.rules,
            self.client,
            Path(environ.get("LAMBDA_TASK_ROOT", ".")),
            WithoutSecrets(environ) if is_split else environ,
            placeholder if is_split else read_secret,
        )
        self._downloads: Downloads | None = None

    def client(self, service: str, region: str | None = None) -> Any:
        """Return boto3's client of a service, the same one each time."""
        at = (service, region)
        if at not in self._clients:
            self._clients[at] = self._new_client(service, region)
        return self._clients[at]

    def downloads(self) -> Downloads:
        """Return the threads that download."""
        if self._downloads is None:
            self._downloads = Downloads(THREADS)
        return self._downloads


class Call:
    """One call of a function; end it with `close`."""

    def __init__(self, kept: Kept, context: Context) -> None:
        self.settings = kept.settings
        self.deadline = Deadline(context.get_remaining_time_in_millis() / 1000, time.monotonic)
        self.request = context.aws_request_id
        self.own_arn = context.invoked_function_arn
        self._kept = kept
        # Nothing is tried again when there is no time left to say that it failed.
        self._stopping = threading.Event()
        self._timer = threading.Timer(
            max(self.deadline.hand_on_s - time.monotonic(), 0), self._stopping.set
        )
        self._timer.daemon = True
        self._timer.start()
        self.aws = aws.Caller(self._problem, self._stopping)
        self.s3 = kept.client("s3", None)
        self.reader = S3Reader(self.s3, self.aws, kept.downloads())
        # Claims and hand-overs are written when the time for anything else is over.
        self.places = Places(
            self.settings.chunks, self.s3, aws.Caller(self._problem, threading.Event())
        )
        self.invoker = Invoker(kept.client("lambda", None))

    def rules(self) -> Rules:
        """Return the rules as they are now. Raises ConfigError."""
        return self._kept.rules.current(self.aws)

    def close(self) -> None:
        """End the call."""
        self._timer.cancel()
        self._stopping.set()

    @staticmethod
    def _problem(text: str | None) -> None:
        if text is not None:
            say(f"warning: {text}; trying again")
