"""The sealing key is made once, shared, and never shown."""

from __future__ import annotations

import pickle
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mirrorproxy.capture.seal_key import SealKey, from_env, from_hex, from_text, load_or_create
from mirrorproxy.errors import ConfigError

TEXT = "a key of the installation"


def test_a_key_is_made_once(tmp_path: Path):
    """The first start makes a key that only the owner may read; the next ones read it."""
    path = tmp_path / "new" / "seal.key"
    first = load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create(path).hex() == first.hex()
    assert [entry.name for entry in path.parent.iterdir()] == ["seal.key"]


def test_processes_that_start_at_once_share_a_key(tmp_path: Path):
    """Whoever comes second takes the first one's key."""
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: load_or_create(tmp_path / "seal.key").hex(), range(16)))
    assert len(set(keys)) == 1


def test_file_and_environment_agree(tmp_path: Path):
    """The same text is the same key wherever it comes from, newline or not."""
    path = tmp_path / "seal.key"
    path.write_text(TEXT + "\n")
    path.chmod(0o600)
    key = from_env("SEAL_KEY", {"SEAL_KEY": TEXT})
    assert load_or_create(path).hex() == key.hex() == from_text(TEXT).hex()
    assert from_hex(key.hex()).fingerprint(b"x") == key.fingerprint(b"x")


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        pytest.param(TEXT, 0o644, "others may read", id="readable by others"),
        pytest.param("hunter2", 0o600, "at least 16 characters", id="too short"),
        pytest.param("", 0o600, "at least 16 characters", id="empty"),
    ],
)
def test_bad_key_files(tmp_path: Path, content: str, mode: int, reason: str):
    """A bad key file is named in one line that does not tell its content."""
    path = tmp_path / "seal.key"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=reason) as caught:
        load_or_create(path)
    assert str(path) in str(caught.value)
    assert not content or content not in str(caught.value)


def test_a_missing_variable_is_named():
    """The error says which variable, and a short key is not told."""
    with pytest.raises(ConfigError, match="SEAL_KEY"):
        from_env("SEAL_KEY", {})
    with pytest.raises(ConfigError, match="SEAL_KEY") as caught:
        from_env("SEAL_KEY", {"SEAL_KEY": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_key_is_not_shown():
    """Neither repr nor pickle carry it; its id says nothing about it."""
    key = from_text(TEXT)
    assert repr(key) == f"SealKey(id='{key.id}')"
    assert key.id not in key.hex()
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_fingerprints_depend_on_key_and_value():
    """Another key or another secret, another fingerprint."""
    one, other = from_text(TEXT), from_text(TEXT + "!")
    assert one.fingerprint(b"a") == one.fingerprint(b"a")
    assert len({one.fingerprint(b"a"), one.fingerprint(b"b"), other.fingerprint(b"a")}) == 3
    assert one.fingerprint(b"a").startswith(f"h1:{one.id}:")


def test_known_fingerprint():
    """Marks stay readable across versions: this one never changes."""
    key = SealKey(bytes(range(32)))
    assert key.fingerprint(b"hunter2") == "h1:c71c:b647e3fd2b1244744adde272972e517e"
