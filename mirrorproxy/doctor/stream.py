"""The checks of a Firehose stream: whether what is put into it comes out as a capture.

Pure: over the answer of DescribeDeliveryStream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mirrorproxy.aws_urls import BucketUrl, Packing
from mirrorproxy.doctor.finding import Failure, Finding, allowed, failed, unknown

_TIMESTAMP = re.compile(r"!\{timestamp:([^}]*)\}")
_HOURS = "yyyy/MM/dd/HH/"
_MEMBERS_BREAK = "gzip members must reach the bucket as they are"
_OF_PLAIN = "or use packing=plain"

LONG_BUFFER_S = 300
SMALL_BUFFER_MIB = 5


def check_stream(
    name: str,
    answer: Mapping[str, Any] | Failure,
    packing: Packing,
    bodies: BucketUrl | None,
) -> list[Finding]:
    """Return what is to be said of a stream. answer: its DeliveryStreamDescription."""
    what = f"stream {name}"
    permission = "firehose:DescribeDeliveryStream"
    if isinstance(answer, Failure):
        if answer.kind == "denied":
            # Shipping does not need it: only this check does.
            return [unknown(f"{what} settings", answer, permission=permission)]
        return [
            failed(
                what,
                answer,
                permission=permission,
                missing="create it, or name the region where it is",
            )
        ]
    findings = list(_state(what, answer))
    destination = _destination(answer)
    if destination is None:
        findings.append(
            Finding("problem", what, "does not deliver to S3", "give it a bucket as destination")
        )
        return findings
    for check in (_compression, _processing, _prefix, _errors, _buffer, _logging):
        findings += check(what, destination, packing)
    findings += _bodies(what, destination, bodies)
    if not any(one.level == "problem" for one in findings):
        bucket = _bucket_of(destination)
        findings.insert(
            0, Finding("ok", what, f"active, delivers into {bucket}, packing {packing}")
        )
    return findings


def check_put(name: str, answer: Failure | None) -> Finding:
    """Return whether records may be put. answer: to a batch that holds none."""
    return allowed(
        f"stream {name} PutRecordBatch",
        answer,
        permission="firehose:PutRecordBatch",
        missing="create it, or name the region where it is",
    )


def base_of_prefix(prefix: str) -> str | None:
    """Return what stands before the hour folders in a stream's objects; None without such.

    Firehose adds the hours itself unless the prefix holds a timestamp (its
    developer guide, custom prefixes for S3 objects).
    """
    base, _, rest = _TIMESTAMP.sub(_shown, prefix).partition("\0")
    if rest and rest.replace("\0", "") != _HOURS:
        return None
    if "!{" in base or (base and not base.endswith("/")):
        return None
    return base


def _shown(found: re.Match[str]) -> str:
    return f"\0{found[1]}\0"


def _state(what: str, answer: Mapping[str, Any]) -> Iterator[Finding]:
    status = answer.get("DeliveryStreamStatus", "ACTIVE")
    if status != "ACTIVE":
        yield Finding("problem", what, f"is {status}", "wait until it is ACTIVE, or mend it")
    if answer.get("DeliveryStreamType", "DirectPut") != "DirectPut":
        yield Finding(
            "problem",
            what,
            "takes its records from another stream, not from a put",
            "create one with Direct PUT as its source",
        )


def _destination(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for one in answer.get("Destinations") or ():
        for key in ("ExtendedS3DestinationDescription", "S3DestinationDescription"):
            if one.get(key):
                found: Mapping[str, Any] = one[key]
                return found
    return None


def _compression(what: str, to: Mapping[str, Any], packing: Packing) -> Iterator[Finding]:
    compression = to.get("CompressionFormat", "UNCOMPRESSED")
    if packing == "gzip" and compression != "UNCOMPRESSED":
        yield Finding(
            "problem",
            what,
            f"compresses ({compression}) what is compressed already: packing gzip",
            f"set its compression to UNCOMPRESSED, {_OF_PLAIN}",
        )
    elif compression not in ("UNCOMPRESSED", "GZIP"):
        yield Finding(
            "problem", what, f"compresses with {compression}, which no reader knows", "use GZIP"
        )
    elif packing == "plain" and compression == "UNCOMPRESSED":
        yield Finding(
            "warning",
            what,
            "stores plain lines: eight to ten times the bytes",
            "set its compression to GZIP, or use packing=gzip",
        )


def _processing(what: str, to: Mapping[str, Any], packing: Packing) -> Iterator[Finding]:
    conversion = to.get("DataFormatConversionConfiguration") or {}
    if conversion.get("Enabled", bool(conversion)):
        yield Finding(
            "problem", what, "converts records to another format", "switch the conversion off"
        )
    if (to.get("DynamicPartitioningConfiguration") or {}).get("Enabled") and packing == "gzip":
        yield Finding(
            "problem",
            what,
            f"partitions by content, which gzip hides: {_MEMBERS_BREAK}",
            f"switch dynamic partitioning off, {_OF_PLAIN}",
        )
    processing = to.get("ProcessingConfiguration") or {}
    if not processing.get("Enabled"):
        return
    for processor in processing.get("Processors") or ():
        kind = str(processor.get("Type", "unknown"))
        if kind == "AppendDelimiterToRecord":
            says = "adds a delimiter to every record"
            remedy = "switch the delimiter (AppendDelimiterToRecord) off"
        else:
            says = f"changes records on their way (processor {kind})"
            remedy = f"take the processor {kind} off"
        if packing == "gzip":
            yield Finding("problem", what, f"{says}: {_MEMBERS_BREAK}", f"{remedy}, {_OF_PLAIN}")
        elif kind != "AppendDelimiterToRecord":
            yield Finding("warning", what, says, "make sure that lines come out as they went in")


def _prefix(what: str, to: Mapping[str, Any], _packing: Packing) -> Iterator[Finding]:
    prefix = to.get("Prefix") or ""
    if base_of_prefix(prefix) is None:
        remedy = f"end it with !{{timestamp:{_HOURS}}}"
        if "!{timestamp:" not in prefix:
            remedy = "end it with a slash"
        yield Finding(
            "problem",
            what,
            f"its prefix {prefix!a} does not lead to hour folders, by which captures are read",
            remedy,
        )
    zone = to.get("CustomTimeZone") or "UTC"
    if zone not in ("UTC", "Etc/UTC"):
        yield Finding(
            "problem", what, f"names its folders in {zone} time; readers expect UTC", "use UTC"
        )


def _errors(what: str, to: Mapping[str, Any], _packing: Packing) -> Iterator[Finding]:
    errors, base = to.get("ErrorOutputPrefix") or "", base_of_prefix(to.get("Prefix") or "")
    if errors and base is not None and errors.startswith(base) and _TIMESTAMP.search(errors):
        first = errors.removeprefix(base).partition("/")[0]
        if first.startswith("!{timestamp:"):
            yield Finding(
                "problem",
                what,
                "writes what failed among the captures, where it would be replayed",
                "give ErrorOutputPrefix a folder of its own, such as errors/",
            )


def _buffer(what: str, to: Mapping[str, Any], _packing: Packing) -> Iterator[Finding]:
    hints = to.get("BufferingHints") or {}
    seconds, mib = hints.get("IntervalInSeconds"), hints.get("SizeInMBs")
    if seconds is not None and seconds >= LONG_BUFFER_S:
        yield Finding(
            "warning",
            what,
            f"holds records for up to {seconds} s before they can be read",
            "for live shadowing buffer 60 s, and replay with a --delay above it",
        )
    if mib is not None and mib <= SMALL_BUFFER_MIB:
        yield Finding(
            "warning",
            what,
            f"ends objects at {mib} MiB: many small ones under load",
            "set SizeInMBs to 64 or more; an object still ends after its interval",
        )


def _logging(what: str, to: Mapping[str, Any], _packing: Packing) -> Iterator[Finding]:
    if not (to.get("CloudWatchLoggingOptions") or {}).get("Enabled"):
        yield Finding(
            "warning",
            what,
            "its error log is off: nobody would see why nothing is delivered",
            "switch CloudWatch error logging on",
        )
    if to.get("S3BackupMode") == "Enabled":
        yield Finding(
            "warning", what, "keeps a second copy of everything", "switch source backup off"
        )


def _bodies(what: str, to: Mapping[str, Any], bodies: BucketUrl | None) -> Iterator[Finding]:
    bucket, base = _bucket_of(to), base_of_prefix(to.get("Prefix") or "")
    if bodies is None:
        yield Finding(
            "problem",
            what,
            "no bucket is named for large bodies",
            f"add ?bodies=s3://{bucket}/{base or ''} to the URL",
        )
    elif base is not None and (bodies.bucket, bodies.folder) != (bucket, base):
        yield Finding(
            "problem",
            what,
            f"delivers to s3://{bucket}/{base}, and large bodies go to "
            f"s3://{bodies.bucket}/{bodies.folder}: readers look for them beside the records",
            f"use bodies=s3://{bucket}/{base}",
        )


def _bucket_of(to: Mapping[str, Any]) -> str:
    return str(to.get("BucketARN", "")).rpartition(":")[2]
