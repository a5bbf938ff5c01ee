"""docs/stateful-writes.md: its commands, run as they stand there (addresses aside)."""

from __future__ import annotations

import contextlib
import gzip
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT, blocks, links
from support.commands import capturing, free_port, run

from mirrorproxy.sources.events import Captured
from mirrorproxy.sources.reading import read_capture

PAGE = ROOT / "docs/stateful-writes.md"
RULES = "examples/rules/stateful.yaml"
SHOWN_ID = "019ab0c1f2a47e5c8d3f0a1b2c3d4e5f"
START_TIMEOUT_S = 30


def lines_of_the_page(swaps: dict[str, str]) -> list[list[str]]:
    """Return the words of every command of the page, with other addresses in them."""
    text = "".join(block.text for block in blocks(PAGE) if block.language == "sh")
    for old, new in swaps.items():
        assert old in text, old
        text = text.replace(old, new)
    return [shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines()]


@contextlib.contextmanager
def serving(words: list[str], log: Path) -> Iterator[None]:
    """Run the page's application until the block ends."""
    with log.open("wb") as output, subprocess.Popen(words, cwd=ROOT, stdout=output) as process:
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while time.monotonic() < deadline:
                assert process.poll() is None
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{words[3]}/", timeout=10)
                except urllib.error.HTTPError:
                    break
                except urllib.error.URLError:
                    time.sleep(0.05)
            yield
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the page's commands leave: a folder, and the commands themselves."""
    folder = tmp_path_factory.mktemp("page")
    port, production, staging = free_port(), free_port(), free_port()
    commands = lines_of_the_page(
        {
            "8000": str(port),
            "8080": str(production),
            "8090": str(staging),
            RULES: "rules.yaml",
        }
    )
    text = (ROOT / RULES).read_text()
    (folder / "rules.yaml").write_text(text.replace("8090", str(staging)))
    python = [words[1:] for words in commands if words and words[0] == "python"]
    (served, copied, shops) = ([sys.executable, *words] for words in python)
    mirror = [words[1:] for words in commands if words and words[0] == "mirrorproxy"]
    (capture, replay, *after) = mirror
    (password,) = (words[1] for words in commands if words and words[0] == "export")
    name, _, value = password.partition("=")
    with serving(served, folder / "production.log"):
        with capturing([*capture, "--admin", "off"], folder, port):
            subprocess.run(shops, cwd=ROOT, check=True, timeout=60)
    others = []
    with serving(copied, folder / "staging.log"):
        done = run(replay, folder, {name: value})
        assert done.returncode == 0, done.stderr
        change = changed(folder / "capture")
        for words in after:
            asked = [change if word == SHOWN_ID else word for word in words]
            others.append((words, run(asked, folder, {name: value})))
    return folder, done, others


def changed(capture: Path) -> str:
    """The id of the first change of an order."""
    for event in read_capture([str(capture)]):
        if isinstance(event, Captured) and event.exchange.request.method == "PATCH":
            return event.exchange.id
    raise AssertionError("nothing was changed")


def logged(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line != "GET / 401"]


def test_production_and_staging_answer_alike(told):
    """Staging made other numbers, and was asked for those."""
    folder, done, _ = told
    production, staging = logged(folder / "production.log"), logged(folder / "staging.log")
    assert production == [
        "POST /login 200",
        "POST /orders 201", "PATCH /orders/42 200", "GET /orders/42 200",
        "POST /orders 201", "PATCH /orders/43 200", "GET /orders/43 200",
        "POST /orders 201", "DELETE /orders/44 204",
    ]  # fmt: skip
    first = staging[: len(production)]
    for ours, theirs in ((42, 77), (43, 78), (44, 79)):
        production = [line.replace(str(ours), str(theirs)) for line in production]
    assert first == production
    assert "differ from production's" not in done.stdout


def test_it_is_explained_what_was_replaced(told):
    """As the page shows it: the number in the path, and which answer it came from."""
    _, _, others = told
    ((_, explained),) = [one for one in others if "--explain" in one[0]]
    assert explained.returncode == 0, explained.stderr
    print(explained.stdout)
    assert "42 -> 80, learned from" in explained.stdout


def test_without_it_nothing_fits(told):
    """Nearly everything is refused, or not sent."""
    _, _, others = told
    ((_, done),) = [one for one in others if "--no-correlate" in one[0]]
    assert done.returncode == 0, done.stderr
    assert "no credential 8" in done.stdout


def test_the_page_shows_its_rule_file_and_its_application():
    """Both are what is run here."""
    assert {"../examples/orders.py", f"../{RULES}"} <= set(links(PAGE))


def test_what_is_declared_is_a_rule_file(tmp_path):
    """As it stands there."""
    (text,) = (block.text for block in blocks(PAGE) if block.language == "yaml")
    (tmp_path / "rules.yaml").write_text(text)
    done = run(["check", "rules.yaml"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_password_is_left(told):
    """Not in the capture, not in the outcomes, not in what was printed."""
    folder, _, _ = told
    texts = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    texts += [gzip.decompress(text) for text in texts if text.startswith(b"\x1f\x8b")]
    for secret in (b"of-production", b"of-staging"):
        assert not any(secret in text for text in texts)
