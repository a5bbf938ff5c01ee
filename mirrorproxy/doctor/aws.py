"""Fetching from AWS for the doctor: every call, and what its failures mean.

Owns sessions and clients of boto3, which is an extra: nothing here loads it
before `Aws` is made. Changes nothing: what could is asked in a way that cannot
do anything, or is taken back at once.
"""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mirrorproxy.aws_urls import BucketUrl, QueueUrl
from mirrorproxy.doctor.finding import Failure, FailureKind
from mirrorproxy.doctor.http import ahead_of
from mirrorproxy.errors import ConfigError

T = TypeVar("T")

TIMEOUT_S = 10

_KINDS: Mapping[FailureKind, frozenset[str]] = {
    "denied": frozenset(
        {
            "403",
            "AccessDenied",
            "AccessDeniedException",
            "AuthorizationError",
            "AllAccessDisabled",
            "KMS.AccessDeniedException",
        }
    ),
    "missing": frozenset(
        {
            "404",
            "NoSuchBucket",
            "NoSuchKey",
            "NoSuchPublicAccessBlockConfiguration",
            "ServerSideEncryptionConfigurationNotFoundError",
            "ResourceNotFoundException",
            "AWS.SimpleQueueService.NonExistentQueue",
            "QueueDoesNotExist",
        }
    ),
    "expired": frozenset(
        {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
    ),
    "credentials": frozenset(
        {
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidToken",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        }
    ),
    "refused": frozenset(
        {
            "InvalidAddress",
            "InvalidArgumentException",
            "InvalidParameterValue",
            "ReadCountOutOfRange",
            "ReceiptHandleIsInvalid",
            "SerializationException",
            "ValidationException",
        }
    ),
    "region": frozenset(
        {
            "301",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
            "InvalidSignatureException",
            "PermanentRedirect",
        }
    ),
}


class Aws:
    """Calls of one set of credentials. Raises ConfigError if boto3 is not installed."""

    def __init__(self) -> None:
        try:
            self._boto3 = importlib.import_module("boto3")
            self._config = importlib.import_module("botocore.config").Config
            self._errors = importlib.import_module("botocore.exceptions")
        except ImportError:
            raise ConfigError(
                "AWS needs the extra: pip install 'mirrorproxy[aws]'", file="boto3"
            ) from None
        self.clock_ahead_s: float | None = None
        self._clients: dict[tuple[str, str | None, str | None], Any] = {}

    def region(self, region: str | None) -> str | None:
        """Return the region that calls go to if a place names this one."""
        found: str | None = region or self._boto3.session.Session().region_name
        return found

    def identity(self) -> str | Failure:
        """Return who calls: the ARN of its user or role."""
        answer = self._try(
            lambda: self._client("sts", self.region(None) or "us-east-1").get_caller_identity()
        )
        return answer if isinstance(answer, Failure) else str(answer["Arn"])

    def stream(self, name: str, region: str | None) -> Mapping[str, Any] | Failure:
        """Return a stream's description."""
        answer = self._try(
            lambda: self._client("firehose", region).describe_delivery_stream(
                DeliveryStreamName=name
            )
        )
        return answer if isinstance(answer, Failure) else answer["DeliveryStreamDescription"]

    def put_nothing(self, name: str, region: str | None) -> Failure | None:
        """Return how a batch without records is answered."""
        return _failure(
            self._try(
                lambda: self._client("firehose", region).put_record_batch(
                    DeliveryStreamName=name, Records=[]
                )
            )
        )

    def bucket_region(self, place: BucketUrl) -> str | Failure | None:
        """Return where a bucket is, None where it does not say."""
        answer = self._try(lambda: self._s3(place).head_bucket(Bucket=place.bucket))
        if not isinstance(answer, Failure):
            headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
            region = answer.get("BucketRegion") or headers.get("x-amz-bucket-region")
            return None if region is None else str(region)
        return answer

    def begin_upload(self, place: BucketUrl) -> Failure | None:
        """Begin an upload and give it up: nothing becomes of it, no event is sent."""
        key = f"{place.folder}bodies/doctor-{uuid.uuid4()}"
        answer = self._try(
            lambda: self._s3(place).create_multipart_upload(Bucket=place.bucket, Key=key)
        )
        if isinstance(answer, Failure):
            return answer
        return _failure(
            self._try(
                lambda: self._s3(place).abort_multipart_upload(
                    Bucket=place.bucket, Key=key, UploadId=answer["UploadId"]
                )
            )
        )

    def list_one(self, place: BucketUrl) -> str | Failure | None:
        """Return the first key below a prefix, None without one."""
        answer = self._try(
            lambda: self._s3(place).list_objects_v2(
                Bucket=place.bucket, Prefix=place.folder, MaxKeys=1
            )
        )
        if isinstance(answer, Failure):
            return answer
        found = answer.get("Contents") or [{"Key": None}]
        return found[0]["Key"]  # type: ignore[no-any-return]

    def read_one(self, place: BucketUrl, key: str | None) -> Failure | None:
        """Return how a look at an object is answered; without one, at a name that is not there."""
        wanted = key or f"{place.folder}doctor-{uuid.uuid4()}"
        return _failure(
            self._try(lambda: self._s3(place).head_object(Bucket=place.bucket, Key=wanted))
        )

    def public_access(self, place: BucketUrl) -> Mapping[str, Any] | Failure:
        """Return a bucket's PublicAccessBlockConfiguration."""
        answer = self._try(lambda: self._s3(place).get_public_access_block(Bucket=place.bucket))
        return answer if isinstance(answer, Failure) else answer["PublicAccessBlockConfiguration"]

    def encryption(self, place: BucketUrl) -> Mapping[str, Any] | Failure:
        """Return a bucket's ServerSideEncryptionConfiguration."""
        answer = self._try(lambda: self._s3(place).get_bucket_encryption(Bucket=place.bucket))
        return (
            answer if isinstance(answer, Failure) else answer["ServerSideEncryptionConfiguration"]
        )

    def queue_url(self, place: QueueUrl) -> str | Failure:
        """Return a queue's URL."""
        if place.address is not None:
            return place.address
        answer = self._try(lambda: self._sqs(place).get_queue_url(QueueName=place.name))
        return answer if isinstance(answer, Failure) else str(answer["QueueUrl"])

    def queue(self, place: QueueUrl, url: str) -> Mapping[str, Any] | Failure:
        """Return a queue's attributes."""
        answer = self._try(
            lambda: self._sqs(place).get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        )
        return answer if isinstance(answer, Failure) else answer.get("Attributes", {})

    def queue_action(self, place: QueueUrl, url: str, action: str) -> Failure | None:
        """Return how a call is answered that names no message: it can do nothing."""
        sqs = self._sqs(place)
        calls: Mapping[str, Callable[[], Any]] = {
            "ReceiveMessage": lambda: sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=0),
            "DeleteMessage": lambda: sqs.delete_message(QueueUrl=url, ReceiptHandle="doctor"),
            "ChangeMessageVisibility": lambda: sqs.change_message_visibility(
                QueueUrl=url, ReceiptHandle="doctor", VisibilityTimeout=0
            ),
        }
        return _failure(self._try(calls[action]))

    def _s3(self, place: BucketUrl) -> Any:
        return self._client("s3", place.region, place.endpoint)

    def _sqs(self, place: QueueUrl) -> Any:
        return self._client("sqs", place.region)

    def _client(self, service: str, region: str | None, endpoint: str | None = None) -> Any:
        key = (service, region, endpoint)
        if key not in self._clients:
            self._clients[key] = self._boto3.session.Session().client(
                service,
                region_name=region,
                endpoint_url=endpoint,
                config=self._config(
                    connect_timeout=TIMEOUT_S,
                    read_timeout=TIMEOUT_S,
                    retries={"mode": "standard", "total_max_attempts": 2},
                    # What cannot be meant is what is sent on purpose.
                    parameter_validation=False,
                ),
            )
        return self._clients[key]

    def _try(self, call: Callable[[], Any]) -> Any:
        try:
            answer = call()
        except self._errors.ClientError as error:
            self._hear(error.response)
            return failure_of(error.response)
        except (self._errors.NoCredentialsError, self._errors.PartialCredentialsError) as error:
            return Failure("credentials", _line(error))
        except self._errors.NoRegionError:
            return Failure("region", "no region is named")
        except self._errors.HTTPClientError as error:
            return Failure("away", _line(error))
        except self._errors.BotoCoreError as error:
            return Failure("other", _line(error))
        self._hear(answer)
        return answer

    def _hear(self, answer: Mapping[str, Any]) -> None:
        """Keep what time it is there."""
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        self.clock_ahead_s = ahead_of(date)


def failure_of(response: Mapping[str, Any]) -> Failure:
    """Return what an error's response means. Pure."""
    error = response.get("Error", {})
    code = str(error.get("Code", ""))
    text = " ".join(f"{code}: {error.get('Message', '')}".split())[:200]
    for kind, codes in _KINDS.items():
        if code in codes:
            return Failure(kind, text)
    return Failure("other", text)


def _failure(answer: Any) -> Failure | None:
    return answer if isinstance(answer, Failure) else None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
