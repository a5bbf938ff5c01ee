"""The checks of an S3 bucket that captures are written to or read from.

Pure: over the answers of S3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mirrorproxy.doctor.finding import Failure, Finding, failed, unknown

Use = Literal["write", "read"]

_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def check_region(bucket: str, answer: str | Failure | None, used: str | None) -> Finding:
    """Return whether a bucket is there, and where. answer: its region, None if it says none.

    used: the region that calls go to.
    """
    what = f"bucket {bucket}"
    if isinstance(answer, Failure):
        return failed(
            what,
            answer,
            permission="s3:ListBucket on the bucket (or it is somebody else's)",
            missing="create it, or mend its name",
        )
    if answer and used and answer != used:
        return Finding(
            "problem",
            what,
            f"is in {answer}, and calls go to {used}",
            f"name it: region={answer} in the URL, or AWS_REGION={answer}",
        )
    return Finding("ok", what, f"is there, in {answer or used or 'its region'}")


def check_write(bucket: str, prefix: str, answer: Failure | None) -> Finding:
    """Return whether objects may be written. answer: to an upload that was begun and given up."""
    what = f"bucket {bucket} writing"
    where = f"arn:aws:s3:::{bucket}/{prefix}*"
    if answer is None:
        return Finding("ok", what, f"allowed below {prefix or '/'}")
    return failed(
        what,
        answer,
        permission=f"s3:PutObject and s3:AbortMultipartUpload on {where} (and kms:GenerateDataKey "
        "where the bucket has a key of its own)",
        missing="create it, or mend its name",
    )


def check_list(bucket: str, prefix: str, answer: int | Failure, use: Use) -> Finding:
    """Return whether objects can be found. answer: how many were, looking for one."""
    what = f"bucket {bucket} listing"
    if isinstance(answer, Failure):
        if use == "write":
            return unknown(what, answer, permission="s3:ListBucket")
        return failed(
            what,
            answer,
            permission=f"s3:ListBucket on arn:aws:s3:::{bucket}",
            missing="mend its name",
        )
    if not answer and use == "read":
        return Finding(
            "warning",
            what,
            f"holds nothing below {prefix or '/'}",
            "mend the prefix: it ends before the year's folder",
        )
    return Finding("ok", what, f"allowed below {prefix or '/'}")


def check_read(bucket: str, answer: Failure | None) -> Finding:
    """Return whether an object can be read."""
    what = f"bucket {bucket} reading"
    if answer is None or answer.kind == "missing":
        return Finding("ok", what, "allowed")
    return failed(
        what,
        answer,
        permission=f"s3:GetObject on arn:aws:s3:::{bucket}/* (and kms:Decrypt where the bucket "
        "has a key of its own)",
        missing="",
    )


def check_public(bucket: str, answer: Mapping[str, Any] | Failure) -> Finding:
    """Return whether the public is kept out. answer: PublicAccessBlockConfiguration."""
    what = f"bucket {bucket} public access"
    remedy = "block all public access: captures hold what clients sent"
    if isinstance(answer, Failure):
        if answer.kind == "missing":
            return Finding("warning", what, "is not blocked by the bucket", remedy)
        return unknown(what, answer, permission="s3:GetBucketPublicAccessBlock")
    open_ = [name for name in _BLOCKS if not answer.get(name)]
    if open_:
        return Finding("warning", what, f"is not blocked: {', '.join(open_)} off", remedy)
    return Finding("ok", what, "is blocked")


def check_encryption(bucket: str, answer: Mapping[str, Any] | Failure) -> Finding:
    """Return how objects are encrypted. answer: ServerSideEncryptionConfiguration."""
    what = f"bucket {bucket} encryption"
    if isinstance(answer, Failure):
        if answer.kind == "missing":
            return Finding(
                "warning", what, "none is set", "set SSE-S3, or a key of your own (SSE-KMS)"
            )
        return unknown(what, answer, permission="s3:GetEncryptionConfiguration")
    rules = answer.get("Rules") or [{}]
    default = rules[0].get("ApplyServerSideEncryptionByDefault") or {}
    algorithm = str(default.get("SSEAlgorithm", "none"))
    if algorithm == "aws:kms" and not rules[0].get("BucketKeyEnabled"):
        return Finding(
            "warning",
            what,
            "asks KMS for every object",
            "switch the bucket key on: it is cheaper, and KMS does not throttle",
        )
    return Finding("ok", what, algorithm)
