"""docs/aws.md, held to what is shipped."""

from __future__ import annotations

import json
import re

from pages import ROOT

from mirrorproxy.aws_urls import bodies_of, parse_bucket, parse_streams
from mirrorproxy.sinks.firehose import PERMISSION

PAGE = (ROOT / "docs/aws.md").read_text()


def test_the_policy_is_the_one_in_the_folder():
    """And permits what the sinks do, no more."""
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert shown == (ROOT / "aws/capture-policy.json").read_text()
    statements = json.loads(shown)["Statement"]
    assert [statement["Action"] for statement in statements] == [
        PERMISSION,
        ["s3:PutObject", "s3:AbortMultipartUpload"],
    ]


def test_the_urls_in_the_examples_are_taken():
    """As they stand."""
    urls = re.findall(r"--to '([^']+)'", PAGE)
    assert [url.partition("://")[0] for url in urls] == ["s3", "firehose"]
    assert parse_bucket(urls[0], "--to").region == "eu-central-1"
    assert bodies_of(parse_streams(urls[1], "--to"), "--to").folder == "mirror/"
