"""AWS as the sinks see it: boto3's clients, and its errors in one line each.

The only place that knows boto3's exceptions. Imported in the shipper's process and in the
check at start alone: boto3 takes a worker's memory and start for nothing. boto3's own
retries are off: they give up within a tenth of a second.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import boto3
import botocore.exceptions
from boto3.exceptions import S3UploadFailedError
from botocore.config import Config

from mirrorproxy.errors import ConfigError, SinkRejected, SinkUnavailable

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 15.0

_Answer = TypeVar("_Answer")

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_BAD_CREDENTIALS = {
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "403"}
_MISSING = {"NoSuchBucket", "ResourceNotFoundException", "404"}
_ELSEWHERE = {
    "301",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
}
_INVALID = {
    "EntityTooLarge",
    "InvalidArgument",
    "InvalidArgumentException",
    "KeyTooLongError",
    "SerializationException",
    "ValidationException",
}
_NO_CREDENTIALS = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.TokenRetrievalError,
    botocore.exceptions.SSOError,
)


class Refused(SinkUnavailable):
    """AWS's answer to a mistake that people can mend: a name, a permission, credentials.

    At start it ends the command; while running it is tried again, as everything is.
    """


class Service:
    """One service's client. where: what the actions are done on, such as "the bucket b".

    A client whose credentials were refused is made anew for the next attempt, so that
    renewed ones are found. Raises ConfigError without a region.
    """

    def __init__(self, name: str, where: str, region: str | None, endpoint: str | None) -> None:
        self._name = name
        self._where = where
        self._region = region
        self._endpoint = endpoint
        self._client: Any = self._make()

    def call(self, action: str, work: Callable[[Any], _Answer]) -> _Answer:
        """Return what work does with the client.

        action: the permission it needs, such as "s3:PutObject".
        Raises Refused, SinkUnavailable, and SinkRejected for what will never be taken.
        """
        try:
            return work(self._client)
        except S3UploadFailedError as error:
            cause = error.__context__ or error
            raise self._translated(cause, action) from error
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise self._translated(error, action) from error

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def _make(self) -> Any:
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"total_max_attempts": 1, "mode": "standard"},
            tcp_keepalive=True,
            parameter_validation=False,
            user_agent_extra="mirrorproxy",
        )
        try:
            # A session of its own: the default one keeps the credentials that it found first.
            return boto3.Session().client(
                self._name,
                region_name=self._region or os.environ.get("AWS_REGION"),
                endpoint_url=self._endpoint,
                config=config,
            )
        except botocore.exceptions.NoRegionError as error:
            raise ConfigError(
                "no AWS region: add ?region=NAME, or set AWS_REGION", file="--to"
            ) from error
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise ConfigError(f"AWS cannot be used: {error}", file="--to") from error

    def _translated(self, error: BaseException, action: str) -> SinkRejected | SinkUnavailable:
        if isinstance(error, botocore.exceptions.ClientError):
            found = self._translated_answer(error, action)
        elif isinstance(error, _NO_CREDENTIALS):
            found = Refused(
                "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, "
                "or give the machine a role"
            )
        elif isinstance(error, botocore.exceptions.ParamValidationError):
            found = SinkRejected(f"{action} on {self._where}: not a valid request")
        else:
            return SinkUnavailable(f"cannot reach {self._where}: {_reason(error)}")
        if isinstance(found, Refused):
            self._client.close()
            self._client = self._make()
        return found

    def _translated_answer(
        self, error: botocore.exceptions.ClientError, action: str
    ) -> SinkRejected | SinkUnavailable:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        region = self._client.meta.region_name
        if code in _EXPIRED:
            return Refused("the AWS token has expired: renew the credentials")
        if code in _BAD_CREDENTIALS:
            return Refused(
                f"AWS does not take the credentials for {self._where} in {region} ({code}): "
                "check the keys, and the region"
            )
        if code in _DENIED:
            return Refused(f"not permitted: {action} on {self._where}")
        if code in _MISSING:
            return Refused(f"{self._where} is not there, in {region}: check its name, and ?region=")
        if code in _ELSEWHERE:
            return Refused(f"{self._where} is not in {region}: name its region, ?region=")
        if code in _INVALID:
            return SinkRejected(f"{self._where} refuses it for good ({code})")
        return SinkUnavailable(f"{self._where} answers {status} {code}")


def _reason(error: BaseException) -> str:
    name = type(error).__name__
    reasons = {
        "ConnectTimeoutError": "connecting took too long",
        "ReadTimeoutError": "no answer in time",
        "EndpointConnectionError": "no connection",
        "ConnectionClosedError": "the connection was closed",
    }
    return reasons.get(name, name)
