"""A Firehose stream: what would spoil a capture, by its description alone."""

from __future__ import annotations

from typing import Any

import pytest

from mirrorproxy.aws_urls import BucketUrl
from mirrorproxy.doctor.finding import Failure
from mirrorproxy.doctor.stream import base_of_prefix, check_put, check_stream

BODIES = BucketUrl(bucket="captures", prefix="orders/")
GOOD = {
    "BucketARN": "arn:aws:s3:::captures",
    "Prefix": "orders/",
    "CompressionFormat": "UNCOMPRESSED",
    "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 60},
    "CloudWatchLoggingOptions": {"Enabled": True},
}


def found(packing: Any = "gzip", bodies: BucketUrl | None = BODIES, **changes: Any) -> list[str]:
    """Return what is said of a good stream with changes, without what is fine."""
    answer = {
        "DeliveryStreamStatus": changes.pop("status", "ACTIVE"),
        "DeliveryStreamType": changes.pop("kind", "DirectPut"),
        "Destinations": [{"ExtendedS3DestinationDescription": {**GOOD, **changes}}],
    }
    findings = check_stream("orders", answer, packing, bodies)
    assert all(one.do for one in findings if one.level in ("warning", "problem"))
    return [f"{one.level}: {one.says}" for one in findings if one.level != "ok"]


def processors(*kinds: str, enabled: bool = True) -> dict[str, Any]:
    return {"Enabled": enabled, "Processors": [{"Type": kind, "Parameters": []} for kind in kinds]}


def test_a_good_stream():
    """One line says so."""
    answer = {"Destinations": [{"ExtendedS3DestinationDescription": GOOD}]}
    (finding,) = check_stream("orders", answer, "gzip", BODIES)
    assert (finding.level, finding.what, finding.says) == (
        "ok", "stream orders", "active, delivers into captures, packing gzip",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {"CompressionFormat": "GZIP"},
            "problem: compresses (GZIP) what is compressed already: packing gzip",
            id="compression on top of gzip",
        ),
        pytest.param(
            {"CompressionFormat": "Snappy", "packing": "plain"},
            "problem: compresses with Snappy, which no reader knows",
            id="another compression",
        ),
        pytest.param(
            {"packing": "plain"},
            "warning: stores plain lines: eight to ten times the bytes",
            id="plain lines",
        ),
        pytest.param(
            {"ProcessingConfiguration": processors("AppendDelimiterToRecord")},
            "problem: adds a delimiter to every record: gzip members must reach the bucket as they "
            "are",
            id="a delimiter",
        ),
        pytest.param(
            {"ProcessingConfiguration": processors("Lambda")},
            "problem: changes records on their way (processor Lambda): gzip members must reach the "
            "bucket as they are",
            id="a function",
        ),
        pytest.param(
            {
                "ProcessingConfiguration": processors("Lambda"),
                "packing": "plain",
                "CompressionFormat": "GZIP",
            },
            "warning: changes records on their way (processor Lambda)",
            id="a function over plain lines",
        ),
        pytest.param(
            {"DynamicPartitioningConfiguration": {"Enabled": True}},
            "problem: partitions by content, which gzip hides: gzip members must reach the bucket "
            "as they are",
            id="partitions",
        ),
        pytest.param(
            {"DataFormatConversionConfiguration": {"Enabled": True}},
            "problem: converts records to another format",
            id="Parquet",
        ),
        pytest.param(
            {"CustomTimeZone": "Europe/Berlin"},
            "problem: names its folders in Europe/Berlin time; readers expect UTC",
            id="another time zone",
        ),
        pytest.param(
            {"ErrorOutputPrefix": "orders/!{timestamp:yyyy/MM/dd/HH/}errors"},
            "problem: writes what failed among the captures, where it would be replayed",
            id="errors among captures",
        ),
        pytest.param(
            {"BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 300}},
            "warning: holds records for up to 300 s before they can be read",
            id="a long buffer",
        ),
        pytest.param(
            {"BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 60}},
            "warning: ends objects at 5 MiB: many small ones under load",
            id="a small buffer",
        ),
        pytest.param(
            {"CloudWatchLoggingOptions": {"Enabled": False}},
            "warning: its error log is off: nobody would see why nothing is delivered",
            id="no error log",
        ),
        pytest.param(
            {"S3BackupMode": "Enabled"},
            "warning: keeps a second copy of everything",
            id="a backup",
        ),
        pytest.param({"status": "CREATING"}, "problem: is CREATING", id="not yet there"),
        pytest.param(
            {"kind": "KinesisStreamAsSource"},
            "problem: takes its records from another stream, not from a put",
            id="fed by another stream",
        ),
        pytest.param(
            {"bodies": None}, "problem: no bucket is named for large bodies", id="no bodies"
        ),
        pytest.param(
            {"bodies": BucketUrl(bucket="captures", prefix="bodies/")},
            "problem: delivers to s3://captures/orders/, and large bodies go to "
            "s3://captures/bodies/: readers look for them beside the records",
            id="bodies elsewhere",
        ),
    ],
)
def test_what_spoils_a_capture(changes, expected):
    """Each by itself, with a remedy."""
    assert found(**changes) == [expected]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {"ProcessingConfiguration": processors("Lambda", enabled=False)}, id="switched off"
        ),
        pytest.param(
            {
                "ProcessingConfiguration": processors("AppendDelimiterToRecord"),
                "packing": "plain",
                "CompressionFormat": "GZIP",
            },
            id="a delimiter after plain lines",
        ),
        pytest.param({"ErrorOutputPrefix": "orders/errors/"}, id="errors in a folder of their own"),
        pytest.param({"Prefix": "orders/!{timestamp:yyyy/MM/dd/HH/}"}, id="hours written out"),
    ],
)
def test_what_does_no_harm(changes):
    """Nothing is said of it."""
    assert found(**changes) == []


@pytest.mark.parametrize(
    ("prefix", "base"),
    [
        pytest.param("", "", id="none"),
        pytest.param("a/b/", "a/b/", id="a folder: Firehose adds the hours"),
        pytest.param("a/b", None, id="the hours would stick to the name"),
        pytest.param("!{timestamp:yyyy/MM/dd/HH/}", "", id="hours"),
        pytest.param("a/!{timestamp:yyyy/MM/dd/HH}/", "a/", id="hours, the slash outside"),
        pytest.param(
            "a/!{timestamp:yyyy}/!{timestamp:MM}/!{timestamp:dd}/!{timestamp:HH}/", "a/", id="parts"
        ),
        pytest.param("a/!{timestamp:yyyy/MM/dd}/", None, id="days"),
        pytest.param("a/year=!{timestamp:yyyy}/!{timestamp:MM/dd/HH}/", None, id="as Hive does"),
        pytest.param("!{firehose:random-string}/!{timestamp:yyyy/MM/dd/HH/}", None, id="random"),
        pytest.param("a/!{timestamp:yyyy/MM/dd/HH/}x/", None, id="more behind the hours"),
    ],
)
def test_prefixes_lead_to_hour_folders(prefix, base):
    """Or there is no base that bodies could lie in."""
    assert base_of_prefix(prefix) == base


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        pytest.param(
            Failure("denied", "x"),
            ("unchecked", "allow firehose:DescribeDeliveryStream to have it"),
            id="shipping does not need it",
        ),
        pytest.param(
            Failure("missing", "x"),
            ("problem", "create it, or name the region where it is"),
            id="not there",
        ),
        pytest.param(
            Failure("region", "x"),
            ("problem", "name the region where it is: region= in the URL, or AWS_REGION"),
            id="elsewhere",
        ),
    ],
)
def test_a_stream_that_cannot_be_described(failure, expected):
    """Says why, and what it needs."""
    (finding,) = check_stream("orders", failure, "gzip", BODIES)
    assert (finding.level, finding.do) == expected


def test_a_stream_to_somewhere_else():
    """Only S3 can be read."""
    (finding,) = check_stream("orders", {"Destinations": [{}]}, "gzip", BODIES)
    assert finding.says == "does not deliver to S3"


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        pytest.param(None, "ok", id="taken"),
        pytest.param(Failure("refused", "empty"), "ok", id="refused for being empty"),
        pytest.param(Failure("denied", "no"), "problem", id="denied"),
        pytest.param(Failure("expired", "old"), "problem", id="expired"),
        pytest.param(Failure("other", "busy"), "unchecked", id="an error of theirs"),
    ],
)
def test_putting_is_judged_by_an_empty_batch(answer, level):
    """Nothing is put for it."""
    assert check_put("orders", answer).level == level
