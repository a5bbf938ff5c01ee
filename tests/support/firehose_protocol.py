"""What a Firehose endpoint says and takes: records, refusals and descriptions, as JSON.

Pure, beside making HTTP answers. The shapes are the API reference's.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from support.firehose_streams import Stream

MAX_RECORD_BYTES = 1_024_000


class Refusal(Exception):
    """An error that the client is told. code: its type; status: of HTTP."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def json_answer(answer: Mapping[str, Any], status: int = 200) -> web.Response:
    """Return an answer of the JSON protocol."""
    return web.Response(
        body=json.dumps(answer).encode(),
        status=status,
        content_type="application/x-amz-json-1.1",
        headers={"x-amzn-RequestId": str(uuid.uuid4())},
    )


def data_of(record: Mapping[str, Any]) -> bytes:
    """Return a record's bytes. Raises Refusal."""
    try:
        data = base64.b64decode(record["Data"], validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise Refusal("SerializationException", "Data is not base64") from error
    if len(data) > MAX_RECORD_BYTES:
        raise Refusal(
            "ValidationException",
            "1 validation error detected: Value at 'records.1.member.data' failed to satisfy "
            f"constraint: Member must have length less than or equal to {MAX_RECORD_BYTES}",
        )
    return data


def destination_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the destination that a stream is asked to be made with. Raises Refusal."""
    for key in ("ExtendedS3DestinationConfiguration", "S3DestinationConfiguration"):
        if key in body:
            found: Mapping[str, Any] = body[key]
            return found
    raise Refusal("InvalidArgumentException", "no S3 destination")


def description_of(stream: Stream) -> Mapping[str, Any]:
    """Return what DescribeDeliveryStream says of a stream."""
    described = {
        "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 300},
        "CompressionFormat": "UNCOMPRESSED",
        "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
        **stream.described,
    }
    plain = (
        "RoleARN",
        "BucketARN",
        "Prefix",
        "BufferingHints",
        "CompressionFormat",
        "EncryptionConfiguration",
    )
    return {
        "DeliveryStreamName": stream.name,
        "DeliveryStreamARN": stream.arn,
        "DeliveryStreamStatus": "ACTIVE",
        "DeliveryStreamType": "DirectPut",
        "VersionId": "1",
        "Destinations": [
            {
                "DestinationId": "destinationId-000000000001",
                "S3DestinationDescription": {
                    key: described[key] for key in plain if key in described
                },
                "ExtendedS3DestinationDescription": described,
            }
        ],
        "HasMoreDestinations": False,
    }
