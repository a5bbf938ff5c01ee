"""Finding objects in directories, among files, and on standard input."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mirrorproxy.errors import SourceError
from mirrorproxy.keys import object_key
from mirrorproxy.sources.objects import find_objects

HOUR_US = 3_600_000_000
T0 = 1_700_000_000_000_000


def put(root: Path, key: str) -> Path:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def names(root: Path, *specs: str) -> list[str]:
    return [os.path.relpath(one.name, root) for one in find_objects(specs or (str(root),))]


def test_objects_come_by_the_time_in_their_keys(tmp_path):
    """Hours, days and years in order, across prefixes and streams."""
    keys = [
        object_key("", "b", T0, "u1"),
        object_key("", "a", T0 + 1_000_000, "u2"),
        object_key("orders/eu/", "a", T0 + 2_000_000, "u3"),
        object_key("", "a", T0 + 30 * HOUR_US, "u4"),
        object_key("orders/eu/", "a", T0 + 24 * 400 * HOUR_US, "u5"),
    ]
    for key in reversed(keys):
        put(tmp_path, key)
    assert names(tmp_path) == keys


def test_files_that_say_no_time_come_first(tmp_path):
    """They may hold the oldest record."""
    key = object_key("", "a", T0, "u")
    put(tmp_path, key)
    put(tmp_path, "other/capture.ndjson")
    assert names(tmp_path) == ["other/capture.ndjson", key]


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("bodies/2023/11/14/22/0123456789abcdef0123456789abcdef", id="a body"),
        pytest.param(".spool/segments/x.ndjson", id="a hidden folder"),
        pytest.param("2023/11/14/22/.hidden", id="a hidden file"),
        pytest.param("2023/11/14/22/a.jsonl.gz.tmp", id="an unfinished object"),
        pytest.param("orders/bodies/2023/11/14/22/x", id="a body below a prefix"),
    ],
)
def test_what_is_no_record_object_is_left_alone(tmp_path, key):
    """Bodies, hidden and unfinished files are not read."""
    put(tmp_path, key)
    assert names(tmp_path) == []


def test_a_link_to_a_folder_is_not_followed(tmp_path):
    """A loop of links would never end."""
    inside = tmp_path / "in"
    put(inside, "a.ndjson")
    (inside / "loop").symlink_to(inside)
    assert names(inside, str(inside)) == ["a.ndjson"]


def test_later_hours_are_listed_only_when_they_are_reached(tmp_path):
    """A folder that appears while earlier ones are read is found."""
    put(tmp_path, object_key("", "a", T0, "u1"))
    found = find_objects((str(tmp_path),))
    put(tmp_path, object_key("", "a", T0 + 2_000_000, "u2"))
    later = object_key("", "a", T0 + HOUR_US, "u3")
    hour = put(tmp_path, object_key("", "a", T0 + HOUR_US, "u4")).parent
    assert next(found).name.endswith("u1.jsonl.gz")
    put(tmp_path, later)
    assert hour.is_dir()
    assert {one.name.rsplit("-", 1)[1] for one in found} >= {"u3.jsonl.gz", "u4.jsonl.gz"}


@pytest.mark.parametrize(
    ("key", "base"),
    [
        pytest.param("2023/11/14/22/a.jsonl.gz", ".", id="no prefix"),
        pytest.param("cap/2023/11/14/22/a.jsonl.gz", "cap/", id="a prefix"),
        pytest.param("cap/a.ndjson", "cap/", id="a file lying about"),
    ],
)
def test_bodies_lie_beside_the_year_folder(tmp_path, monkeypatch, key, base):
    """The base of a file is what stands before its hour folder."""
    monkeypatch.chdir(tmp_path)
    put(tmp_path, key)
    (found,) = find_objects((key,))
    assert found.base == base


def test_bodies_lie_where_they_are_said_to_lie(tmp_path):
    """--bodies wins over the place of the file."""
    path = put(tmp_path, "a.ndjson")
    assert [one.base for one in find_objects((str(path), "-"), "elsewhere")] == ["elsewhere"] * 2


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        pytest.param((), "no source is named", id="none"),
        pytest.param(("missing",), "missing: No such file or directory", id="missing"),
        pytest.param(("-", "-"), "standard input: named more than once", id="stdin twice"),
        pytest.param(("ftp://host/x",), "ftp:// is no source that can be read", id="scheme"),
        pytest.param(("a\0b",), "a\0b: not a path", id="NUL"),
    ],
)
def test_a_source_that_cannot_be_read_is_named_at_once(specs, message):
    """Before anything is opened or sent."""
    with pytest.raises(SourceError) as caught:
        find_objects(specs)
    assert str(caught.value) == message
