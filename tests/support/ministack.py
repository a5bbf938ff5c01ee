"""S3, SQS and SNS over the network: a real emulator, alone on a free port of the loopback address.

Owns its process. It keeps everything in memory, asks for permissions only if it is told to, and
knows no limits of Firehose's: those are `support.firehose`'s. Clients are boto3's own.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from support.commands import free_port

REGION = "us-east-1"
ACCESS_KEY = "test"
SECRET_KEY = "test"

START_TIMEOUT_S = 60


class MinistackMissing(Exception):
    """Why there is no emulator to test with."""


def require_ministack() -> None:
    """Raises MinistackMissing unless the emulator and boto3 are installed."""
    missing = [name for name in ("ministack", "boto3") if not importlib.util.find_spec(name)]
    if missing:
        raise MinistackMissing(f"{' and '.join(missing)} not installed: pip install -e '.[test]'")


class Ministack:
    """One emulator; starts and ends with the block, or by its methods. folder: for its output.

    is_strict: who is not its owner (`credentials`) may do what policies allow, and nothing else.
    A restart is on the same port, with nothing in it.
    """

    def __init__(self, folder: Path, *, is_strict: bool = False) -> None:
        self._folder = folder
        self._is_strict = is_strict
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._names = 0

    def __enter__(self) -> Ministack:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "ministack.log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                env=self._environ(),
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = (self._folder / "ministack.log").read_text(errors="replace")
                raise RuntimeError(f"ministack did not start: {log[-1000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it; its port refuses from then on."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def environ(self) -> dict[str, str]:
        """Return the variables that point boto3 here, and nowhere else, in any process."""
        return {**credentials(), "AWS_ENDPOINT_URL": self.url}

    def client(self, service: str, **options: Any) -> Any:
        """Return boto3's own client of a service, such as "s3", pointed here."""
        return (
            importlib.import_module("boto3")
            .Session()
            .client(
                service,
                **{
                    "endpoint_url": self.url,
                    "region_name": REGION,
                    "aws_access_key_id": ACCESS_KEY,
                    "aws_secret_access_key": SECRET_KEY,
                    **options,
                },
            )
        )

    def bucket(self) -> str:
        """Make a bucket with a name of its own, and return the name."""
        self._names += 1
        name = f"bucket-{self._names}"
        self.client("s3").create_bucket(Bucket=name)
        return name

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_ministack/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _environ(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        return {
            **kept,
            **credentials(),
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "LOG_LEVEL": "WARNING",
            "AUTH": str(self._is_strict).lower(),
            # No containers, nothing kept: it would look for Docker otherwise.
            "DOCKER_HOST": f"unix://{self._folder}/no-docker",
            "TMPDIR": str(self._folder),
        }


def credentials() -> dict[str, str]:
    """Return the variables with which boto3 signs, and looks for no others."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def objects(s3: Any, bucket: str, prefix: str = "") -> dict[str, bytes]:
    """Return every object of a bucket under a prefix, by key."""
    return {
        key: s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        for key in keys(s3, bucket, prefix)
    }


def keys(s3: Any, bucket: str, prefix: str = "") -> Iterator[str]:
    """Yield every key of a bucket under a prefix, in order."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            yield entry["Key"]
