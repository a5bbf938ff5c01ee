"""The ready configurations for Fluentd, Fluent Bit and Vector.

None of the three can be installed here (Debian, PyPI and npm have none of them), so
their files are read by small readers of their syntax, and the object names that they
make are held to what mirrorproxy expects. What they ship is tests/sources' business.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import yaml

from mirrorproxy import keys

FOLDER = Path(__file__).parents[2] / "traefik"
AT = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
AT_US = 1_700_000_000_000_000
UUID = "0190c8de-7b1e-7c44-9a5b-0f3c1d2e4a5b"

LOG = "/var/log/traefik/access.log"
"""Where traefik/access-log.yaml has it written."""


def fluentd(text: str) -> dict:
    """Sections of Fluentd's configuration: parameters, and sections by their tag."""
    stack: list[tuple[str, dict]] = [("", {})]
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("</"):
            tag, _ = stack.pop()
            assert line == f"</{tag}>"
        elif line.startswith("<"):
            tag, _, argument = line.strip("<>").partition(" ")
            section: dict = {"argument": argument}
            assert tag not in stack[-1][1], f"{tag} stands twice"
            stack[-1][1][tag] = section
            stack.append((tag, section))
        else:
            name, value = re.split(r"\s+", line, maxsplit=1)
            stack[-1][1][name] = value
    assert len(stack) == 1
    return stack[0][1]


def fluent_bit(text: str) -> dict[str, dict[str, str]]:
    """Sections of Fluent Bit's classic configuration, keys in lower case."""
    sections: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if match := re.fullmatch(r"\[([A-Z]+)\]", line):
            current = sections.setdefault(match[1], {})
        else:
            assert raw.startswith("    "), "keys are indented by four"
            name, value = re.split(r"\s+", line, maxsplit=1)
            current[name.lower()] = value
    return sections


def assert_is_expected(key: str) -> None:
    """Folders by hour, and a name that says when its first line was written."""
    assert key == f"traefik/2023/11/14/22/traefik-1-2023-11-14-22-13-20-{UUID}.jsonl.gz"
    assert keys.key_time_us(key) == AT_US
    assert keys.base_of(key) == "traefik/"


def test_traefik_writes_the_log_that_all_of_them_read():
    """JSON, with every header kept and credentials redacted."""
    log = yaml.safe_load((FOLDER / "access-log.yaml").read_text())["accessLog"]
    assert (log["filePath"], log["format"]) == (LOG, "json")
    headers = log["fields"]["headers"]
    assert headers["defaultMode"] == "keep"
    assert headers["names"]["Authorization"] == headers["names"]["Cookie"] == "redact"


def test_fluentd():
    """Lines as they are, an object a minute."""
    config = fluentd((FOLDER / "fluentd.conf").read_text())
    source, match = config["source"], config["match"]
    assert (source["@type"], source["path"], source["parse"]["@type"]) == ("tail", LOG, "none")
    assert match["argument"] == source["tag"]
    assert match["format"]["@type"] == "single_value"
    assert (match["buffer"]["argument"], match["buffer"]["timekey_use_utc"]) == ("time", "true")
    key = match["s3_object_key_format"]
    for name, value in {
        "path": match["path"], "uuid_flush": UUID, "file_extension": "gz",
    }.items():  # fmt: skip
        key = key.replace(f"%{{{name}}}", value)
    assert_is_expected(AT.strftime(key))


def test_fluent_bit():
    """The line in `log`, with `date` beside it."""
    config = fluent_bit((FOLDER / "fluent-bit.conf").read_text())
    tail, s3 = config["INPUT"], config["OUTPUT"]
    assert (tail["name"], tail["path"], s3["name"]) == ("tail", LOG, "s3")
    assert s3["match"] == tail["tag"]
    assert (s3["use_put_object"], s3["compression"]) == ("On", "gzip")
    key = AT.strftime(s3["s3_key_format"].replace("$UUID", UUID))
    assert_is_expected(key.removeprefix("/"))


def test_vector():
    """Lines as they are; the name is of when it was sent, so that must be soon."""
    config = yaml.safe_load((FOLDER / "vector.yaml").read_text())
    source, sink = config["sources"]["traefik"], config["sinks"]["s3"]
    assert (source["type"], source["include"]) == ("file", [LOG])
    assert (sink["type"], sink["inputs"], sink["encoding"]) == (
        "aws_s3",
        ["traefik"],
        {"codec": "text"},
    )
    assert sink["batch"]["timeout_secs"] < 30
    name = f"{sink['filename_time_format']}-{UUID}.{sink['filename_extension']}"
    assert_is_expected(AT.strftime(sink["key_prefix"] + name))
