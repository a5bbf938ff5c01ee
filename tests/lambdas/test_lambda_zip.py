"""The zip that `make lambda` makes: it runs by itself, is small, fast, the same each time."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "aws/package_lambda.py"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

IMPORT = """\
import sys, time
sys.path.insert(0, sys.argv[1])
began = time.process_time()
import mirrorproxy.aws_lambda
took_s = time.process_time() - began
assert mirrorproxy.aws_lambda.__file__.startswith(sys.argv[1]), mirrorproxy.aws_lambda.__file__
print(took_s, *sorted(name for name in ("boto3", "aiohttp", "rich") if name in sys.modules))
"""

# What is loaded when it is needed: credentials by OAuth and JWT, sealing, the loop, the rules.
LATER = """\
import sys
sys.path.insert(0, sys.argv[1])
import mirrorproxy.replay.grants, mirrorproxy.replay.logins, mirrorproxy.replay.made_tokens
import mirrorproxy.replay.token_http, mirrorproxy.capture.seal_record, mirrorproxy.capture.seal_key
import cryptography.hazmat.primitives.asymmetric.ec, jwt, isal.isal_zlib, uvloop, yaml, re2
assert yaml.CSafeLoader
for name, module in sys.modules.items():
    where = getattr(module, "__file__", None) or ""
    assert "site-packages" not in where, (name, where)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip, made for this interpreter, once for all workers of a run."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    folder = tmp_path_factory.mktemp("zip")
    if run is not None:
        folder = tmp_path_factory.getbasetemp().parent
    path = folder / f"{run or 'made'}.zip"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            build(path)
    return path


def build(path: Path) -> None:
    command = [
        sys.executable, str(TOOL), "--output", str(path), "--python", VERSION,
        "--machine", platform.machine(), "--rules", "examples/rules/one-percent-forever.yaml",
    ]  # fmt: skip
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


@pytest.fixture(scope="module")
def unpacked(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(made) as archive:
        archive.extractall(folder)
    return folder


# What Lambda's runtime has: boto3, and what it needs.
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")

CALLED = """\
import sys
sys.path[:0] = sys.argv[1:]
from mirrorproxy import aws_lambda
from mirrorproxy.lambdas.around import Kept
environ = {"MIRRORPROXY_SEND_FUNCTION": "send", "MIRRORPROXY_CHUNKS": "s3://work/"}
kept = Kept(is_split=True, environ=environ)
print([type(kept.client(name, "eu-central-1")).__name__ for name in ("s3", "lambda", "ssm")])
"""


def clean(script: str, folder: Path, *more: Path) -> str:
    """Run a script without anything that is installed here."""
    found = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script, str(folder), *map(str, more)],
        cwd=folder.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_the_same_sources_make_the_same_zip(tmp_path):
    """Byte for byte, whenever they were written: a deployment that changes nothing is none."""
    tool = runpy.run_path(str(TOOL))
    digests = set()
    for number in range(2):
        folder = tmp_path / str(number) / "zip"
        shutil.copytree(ROOT / "mirrorproxy/rules", folder / "mirrorproxy/rules")
        for path in folder.rglob("*.py"):
            os.utime(path, (number, number))
        output = tmp_path / f"{number}.zip"
        assert tool["pack"](folder, VERSION, output)
        digests.add(hashlib.sha256(output.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_it_is_small_enough_to_be_uploaded(made):
    """50 MB packed and 250 MB unpacked (Lambda quotas)."""
    with zipfile.ZipFile(made) as archive:
        assert sum(entry.file_size for entry in archive.infolist()) < 250_000_000
        names = archive.namelist()
    assert made.stat().st_size < 50_000_000
    assert names == sorted(names)
    assert {"rules.yaml", "mirrorproxy/aws_lambda.py"} < set(names)
    assert not [name for name in names if name.startswith(("boto", "rich/", "tests/"))]


def test_its_import_is_fast(unpacked):
    """Under 400 ms of processor time, with nothing loaded that is not needed yet."""
    answers = [clean(IMPORT, unpacked).split() for _ in range(3)]
    assert min(float(answer[0]) for answer in answers) < 0.4
    assert answers[0][1:] == []


def test_all_that_is_loaded_later_is_in_it(unpacked):
    """Nothing of this machine's own packages."""
    clean(LATER, unpacked)


def test_boto3_is_the_runtime_s(unpacked, tmp_path):
    """With it, and nothing else, clients are made."""
    (site,) = {Path(importlib.util.find_spec(name).origin).parents[1] for name in RUNTIME[:3]}
    for name in RUNTIME:
        (tmp_path / name).symlink_to(site / name)
    assert clean(CALLED, unpacked, tmp_path) == "['S3', 'Lambda', 'SSM']\n"


def test_the_pinned_versions_are_those_that_the_project_allows():
    """And each of its packages is there, but for those that nothing in a function uses."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["jwt"]]
    pins = dict(
        line.partition(" ; ")[0].lower().split("==")
        for line in (ROOT / "aws/lambda-requirements.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    for line in wanted:
        name, least = re.match(r"([A-Za-z0-9_-]+)(?:\[\w+\])?>=([0-9.]+)", line).groups()
        if name == "rich":
            assert name not in pins
            continue
        assert _version(pins[name.lower()]) >= _version(least), name
    assert "boto3" not in pins


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))
