"""Object keys: the layout of Firehose, built and read."""

from __future__ import annotations

import pytest

from mirrorproxy.keys import base_of, body_ref, key_time_us, object_key

AT_US = 1_700_000_000_123_456  # 2023-11-14 22:13:20.123456 UTC
UUID = "0b5ff5a2-4b49-4d8e-9d0e-4a3c5e1c9a77"


def test_an_object_key_is_the_one_firehose_would_give():
    """Hour folder and name tell the same second, in UTC."""
    assert object_key("captures/", "orders", AT_US, UUID) == (
        f"captures/2023/11/14/22/orders-1-2023-11-14-22-13-20-{UUID}.jsonl.gz"
    )


def test_a_body_lies_in_the_hour_its_exchange_began():
    """The reference is relative to the record's base."""
    assert body_ref(AT_US, "0f" * 16) == f"bodies/2023/11/14/22/{'0f' * 16}"


@pytest.mark.parametrize(
    ("prefix", "stream", "unique"),
    [
        pytest.param("captures", "orders", UUID, id="prefix without a slash at its end"),
        pytest.param("/captures/", "orders", UUID, id="prefix with a slash in front"),
        pytest.param("", "orders/x", UUID, id="slash in the stream"),
        pytest.param("", "", UUID, id="no stream"),
        pytest.param("", "o" * 65, UUID, id="stream too long"),
        pytest.param("", "orders\n", UUID, id="newline in the stream"),
        pytest.param("", "orders", "../x", id="way out in the unique part"),
    ],
)
def test_a_key_that_could_not_be_read_back_is_refused(prefix, stream, unique):
    """Names from a configuration can't leave their folder."""
    with pytest.raises(ValueError):
        object_key(prefix, stream, AT_US, unique)


@pytest.mark.parametrize(
    "record_id", ["", "../../etc/passwd", "0F" * 16, "0" * 31, "0" * 32 + "\n"]
)
def test_a_body_is_named_by_an_id_only(record_id):
    """Nothing but 32 lower-case hex digits becomes a file name."""
    with pytest.raises(ValueError):
        body_ref(AT_US, record_id)


@pytest.mark.parametrize(
    ("key", "base"),
    [
        pytest.param("2023/11/14/22/orders-1-x.jsonl.gz", "", id="no prefix"),
        pytest.param("a/b/2023/11/14/22/orders-1-x.jsonl.gz", "a/b/", id="prefix"),
        pytest.param("2022/01/01/00/2023/11/14/22/o", "2022/01/01/00/", id="prefix like an hour"),
        pytest.param("somewhere/orders.jsonl.gz", "somewhere/", id="no hour folder"),
        pytest.param("orders.jsonl.gz", "", id="a lone file"),
        pytest.param("a12023/11/14/22/o", "a12023/11/14/22/", id="year glued to a prefix"),
    ],
)
def test_bodies_are_looked_for_beside_the_year_folders(key, base):
    """The base stands before the hour folder, or is the file's own folder."""
    assert base_of(key) == base


@pytest.mark.parametrize(
    ("key", "time_us"),
    [
        pytest.param(
            f"p/2023/11/14/22/orders-1-2023-11-14-22-13-20-{UUID}.jsonl.gz",
            1_700_000_000_000_000,
            id="ours",
        ),
        pytest.param(
            f"my-stream-12-2023-11-14-22-13-20-{UUID}", 1_700_000_000_000_000, id="firehose, later"
        ),
        pytest.param("2023/11/14/22/traffic.jsonl", None, id="no time in the name"),
        pytest.param(f"orders-1-2023-13-14-22-13-20-{UUID}", None, id="no such month"),
        pytest.param(f"orders-1-2023-11-14-22-13-20-{UUID}/x", None, id="time in a folder's name"),
    ],
)
def test_a_name_tells_when_its_first_record_arrived(key, time_us):
    """To the second; None where the name does not say it."""
    assert key_time_us(key) == time_us
