"""Notices: the shapes of S3's notifications, and everything else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.sources.notices import UnknownNotice, Written, written


def event(key: str, name: str = "ObjectCreated:Put", **more: str) -> dict[str, object]:
    record = {"eventName": name, "s3": {"bucket": {"name": "b"}, "object": {"key": key, **more}}}
    return {"Records": [record]}


def bridge(key: str, kind: str = "Object Created", **more: str) -> dict[str, object]:
    return {
        "detail-type": kind,
        "detail": {"bucket": {"name": "b"}, "object": {"key": key, **more}},
    }


def wrapped(message: object) -> dict[str, object]:
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:x", "Message": json.dumps(message)}


@pytest.mark.parametrize(
    ("message", "objects"),
    [
        pytest.param(event("a+b/%2B%C3%A9.gz"), [Written("b", "a b/+é.gz", None)], id="direct"),
        pytest.param(event("k", versionId="7"), [Written("b", "k", "7")], id="versioned"),
        pytest.param(event("k", "s3:ObjectCreated:Copy"), [Written("b", "k", None)], id="prefixed"),
        pytest.param(wrapped(event("k")), [Written("b", "k", None)], id="through SNS"),
        pytest.param(bridge("a+b %41"), [Written("b", "a+b %41", None)], id="EventBridge"),
        pytest.param(bridge("k", **{"version-id": "7"}), [Written("b", "k", "7")], id="version"),
        pytest.param(wrapped(bridge("k")), [Written("b", "k", None)], id="EventBridge, SNS"),
        pytest.param({"Event": "s3:TestEvent", "Bucket": "b"}, [], id="S3's test"),
        pytest.param(event("k", "ObjectRemoved:Delete"), [], id="removed"),
        pytest.param(bridge("k", "Object Deleted"), [], id="deleted"),
        pytest.param(event("p/bodies/2025/11/23/08/0"), [], id="a body object"),
        pytest.param({"Records": []}, [], id="empty"),
    ],
)
def test_notifications(message, objects):
    """Which objects a message tells of."""
    assert written(json.dumps(message)) == objects


@pytest.mark.parametrize(
    "body",
    [
        "", "null", "[]", "{}", "no JSON", '{"Records": [{}]}', '{"Records": "x"}',
        '{"Event": "x"}',
        '{"Type": "Notification", "Message": "hello"}', '{"detail-type": "Object Created"}',
        json.dumps(wrapped(wrapped(wrapped(wrapped(wrapped(event("k"))))))), "[" * 100_000,
    ],
)  # fmt: skip
def test_another_shape_is_refused(body):
    """With nothing of it in the reason."""
    with pytest.raises(UnknownNotice) as caught:
        written(body)
    assert len(str(caught.value)) < 60


@given(st.text() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_no_text_breaks_the_reader(body):
    """Whatever a stranger sends."""
    try:
        assert isinstance(written(body), list)
    except UnknownNotice:
        return
