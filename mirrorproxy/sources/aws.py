"""Calls to AWS: clients, what their errors mean, and trying again.

Owns the translation of every error of boto3 into one line that says what is
wrong and what to do, and whether trying again can help. boto3 is loaded only
when a client is made. Retries are ours: boto3's own end after a tenth of a second.
"""

from __future__ import annotations

import importlib
import random
import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from mirrorproxy.errors import ConfigError
from mirrorproxy.retry import wait_s

Kind = Literal["gone", "denied", "credentials", "refused", "unavailable"]

_T = TypeVar("_T")

START_ATTEMPTS = 3
_TIMEOUT_S = 30.0
_CONNECT_TIMEOUT_S = 5.0
_CONNECTIONS = 32

_GONE = frozenset({
    "NoSuchBucket", "NoSuchKey", "NoSuchVersion", "404", "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
})  # fmt: skip
_DENIED = frozenset({
    "AccessDenied", "AccessDeniedException", "403", "AllAccessDisabled", "UnauthorizedOperation",
})  # fmt: skip
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_CREDENTIALS = frozenset({
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId", "InvalidToken",
    "UnrecognizedClientException", "InvalidSignatureException", "AuthFailure",
})  # fmt: skip
_REGION = frozenset({
    "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException",
    "301",
})  # fmt: skip
_BUSY = frozenset({
    "SlowDown", "Throttling", "ThrottlingException", "RequestThrottled", "RequestTimeout",
    "RequestTimeTooSkewed", "ServiceUnavailable", "InternalError", "RequestLimitExceeded",
})  # fmt: skip


class Trouble(NamedTuple):
    """What went wrong: of which kind it is, why, and with what."""

    kind: Kind
    reason: str
    place: str

    @property
    def text(self) -> str:
        """All of it in one line."""
        return f"{self.place}: {self.reason}"


class AwsError(Exception):
    """A call that is not tried again; `trouble` says why."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.text)
        self.trouble = trouble


class Deed(NamedTuple):
    """What a call does, for messages.

    place: what it is done to, such as ``s3://captures``. permission: what it
    needs, such as ``s3:ListBucket on arn:aws:s3:::captures``.
    """

    place: str
    permission: str


def client(service: str, region: str | None, endpoint: str | None = None) -> Any:
    """Return boto3's client of a service, such as "s3". Raises ConfigError.

    region, endpoint: None for AWS's own defaults (environment, profile).
    """
    try:
        boto3 = importlib.import_module("boto3")
        config = importlib.import_module("botocore.config")
    except ImportError as error:
        raise ConfigError("AWS needs the extra: pip install 'mirrorproxy[aws]'") from error
    try:
        return boto3.session.Session().client(
            service,
            region_name=region,
            endpoint_url=endpoint,
            config=config.Config(
                retries={"total_max_attempts": 1},
                connect_timeout=_CONNECT_TIMEOUT_S,
                read_timeout=_TIMEOUT_S,
                max_pool_connections=_CONNECTIONS,
                tcp_keepalive=True,
            ),
        )
    except Exception as error:  # botocore's errors have no type that needs no import
        if type(error).__name__ == "NoRegionError":
            text = f"{service}: no region; set AWS_REGION, or add ?region=REGION"
            raise ConfigError(text) from error
        raise ConfigError(f"{service}: {_one_line(error)}") from error


class Caller:
    """Makes calls, again and again while that can help. May be used by several threads.

    on_problem: hears what goes wrong while it is tried again, and None when it goes
    on. stopping: ends the trying. jitter: a number from 0 to 1.
    """

    def __init__(
        self,
        on_problem: Callable[[str | None], None],
        stopping: threading.Event,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._on_problem = on_problem
        self._stopping = stopping
        self._jitter = jitter

    def __call__(
        self,
        deed: Deed,
        function: Callable[[], _T],
        *,
        attempts: int | None = None,
        again: frozenset[Kind] = frozenset({"unavailable"}),
    ) -> _T:
        """Return what the function returns. Blocks; call it in a thread.

        attempts: how often it is tried at most, None: without end. again: the kinds
        of trouble after which it is tried again. Raises AwsError.
        """
        failures = 0
        while True:
            try:
                result = function()
            except Exception as error:  # botocore's, urllib3's and the socket's
                trouble = trouble_of(error, deed)
                failures += 1
                is_last = attempts is not None and failures >= attempts
                if trouble.kind not in again or is_last or self._stopping.is_set():
                    raise AwsError(trouble) from error
                self._on_problem(trouble.text)
                self._stopping.wait(wait_s(failures, self._jitter()))
                continue
            if failures:
                self._on_problem(None)
            return result


def trouble_of(error: Exception, deed: Deed) -> Trouble:
    """Return what an error of boto3 means."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        return _refusal(response, deed)
    name = type(error).__name__
    if name in {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}:
        text = "no credentials: set AWS_ACCESS_KEY_ID and its secret, AWS_PROFILE, or use a role"
        return Trouble("credentials", text, deed.place)
    if name in {"TokenRetrievalError", "UnauthorizedSSOTokenError", "SSOTokenLoadError"}:
        return Trouble("credentials", _one_line(error), deed.place)
    if name in {"ParamValidationError", "InvalidRegionError", "UnknownServiceError"}:
        return Trouble("refused", _one_line(error), deed.place)
    return Trouble("unavailable", _one_line(error), deed.place)


def _refusal(response: Mapping[str, Any], deed: Deed) -> Trouble:
    said = response.get("Error", {})
    code = str(said.get("Code", ""))
    meta = response.get("ResponseMetadata", {})
    status = meta.get("HTTPStatusCode", 0)
    if code in _GONE:
        what = {"NoSuchBucket": "no such bucket", "NoSuchKey": "no such object"}
        default = "no such queue" if "Queue" in code else "not there"
        return Trouble("gone", f"{what.get(code, default)}", deed.place)
    if code in _DENIED:
        return Trouble("denied", f"not allowed; it needs {deed.permission}", deed.place)
    if code in _EXPIRED:
        text = "the session token has expired; renew the credentials"
        return Trouble("credentials", text, deed.place)
    if code in _CREDENTIALS:
        return Trouble("credentials", f"the credentials are not accepted ({code})", deed.place)
    if code in _REGION:
        headers = meta.get("HTTPHeaders", {})
        region = said.get("Region") or headers.get("x-amz-bucket-region")
        where = f"it lies in {region}; add ?region={region}" if region else "add ?region=REGION"
        return Trouble("refused", f"the wrong region; {where}", deed.place)
    if code == "PreconditionFailed":
        return Trouble("refused", "it was changed meanwhile", deed.place)
    if code == "InvalidObjectState":
        return Trouble("gone", "archived; restore it first", deed.place)
    text = f"{code or status} {_shortened(str(said.get('Message', '')))}".rstrip()
    is_busy = code in _BUSY or status >= 500 or status == 429
    return Trouble("unavailable" if is_busy else "refused", text, deed.place)


def _one_line(error: Exception) -> str:
    return _shortened(str(error)) or type(error).__name__


def _shortened(text: str) -> str:
    return " ".join(text.split())[:200]
