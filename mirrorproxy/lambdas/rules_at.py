"""The rules of the functions: where they lie, and when they are read again.

Owns the reading of a rule file from S3, from a parameter of Systems Manager or from the
function's own files, and the keeping of what was compiled between the calls of a warm function:
each asks whether the file has changed, and compiles it only then. Blocks.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mirrorproxy import yamlfile
from mirrorproxy.errors import ConfigError
from mirrorproxy.rules.aws_secrets import read_secret
from mirrorproxy.rules.load import ReadStored, rules_of
from mirrorproxy.rules.ruleset import RuleSet
from mirrorproxy.sources.aws import START_ATTEMPTS, AwsError, Caller, Deed

MAX_AGE_S = 300.0
"""So long compiled rules are kept, if they did not change: the secrets that they name may have."""

_VARIABLE = "MIRRORPROXY_RULES"
_NAME = re.compile(r"[A-Za-z0-9_./:-]{1,1000}")
_UNCHANGED = frozenset({"304", "NotModified"})

Client = Callable[[str, str | None], Any]
"""Returns boto3's client of a service, in a region or in the usual one."""


class Rules(NamedTuple):
    """Compiled rules. identity: the same for the same text, wherever it lies."""

    compiled: RuleSet
    identity: str


class _Text(NamedTuple):
    content: bytes
    version: str


class RulesAt:
    """The rules at one place; see the module.

    place: ``s3://BUCKET/KEY``, ``ssm:NAME``, or a path in the function's own files. folder:
    of those. environ, read_stored: for secrets in them, see `load.rules_of`.
    """

    def __init__(
        self,
        place: str,
        client: Client,
        folder: Path,
        environ: Mapping[str, str],
        read_stored: ReadStored = read_secret,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.place = place
        self._client = client
        self._folder = folder
        self._environ = environ
        self._read_stored = read_stored
        self._clock_s = clock_s
        self._text: _Text | None = None
        self._rules: Rules | None = None
        self._compiled_s = 0.0
        self.compiled = 0
        """How often they were compiled."""

    def current(self, call: Caller) -> Rules:
        """Return the rules as they are now. Raises ConfigError with file, line and key."""
        known = self._text
        text = self._read(call, known)
        now_s = self._clock_s()
        rules = self._rules
        if rules is None or text is not known or now_s - self._compiled_s > MAX_AGE_S:
            rules = self._compile(text.content)
            self._text, self._rules, self._compiled_s = text, rules, now_s
            self.compiled += 1
        return rules

    def _read(self, call: Caller, known: _Text | None) -> _Text:
        """Return the text, the known one itself if it is the same still."""
        try:
            if self.place.startswith("s3://"):
                return self._of_s3(call, known)
            if self.place.startswith("ssm:"):
                return self._of_parameter(call, known)
        except AwsError as error:
            raise ConfigError(error.trouble.text, file=_VARIABLE) from error
        return known or self._of_file()

    def _of_s3(self, call: Caller, known: _Text | None) -> _Text:
        bucket, _, key = self.place.removeprefix("s3://").partition("/")
        if not bucket or not key:
            raise ConfigError("expected s3://BUCKET/KEY", file=_VARIABLE)
        wanted = {"Bucket": bucket, "Key": key}
        if known is not None:
            wanted["IfNoneMatch"] = known.version

        def get() -> _Text:
            try:
                answer = self._client("s3", None).get_object(**wanted)
                return _Text(answer["Body"].read(yamlfile.MAX_BYTES + 1), answer["ETag"])
            except Exception as error:
                response = getattr(error, "response", {})
                if known is not None and response.get("Error", {}).get("Code") in _UNCHANGED:
                    return known
                raise

        permission = f"s3:GetObject on arn:aws:s3:::{bucket}/{key}"
        return call(Deed(self.place, permission), get, attempts=START_ATTEMPTS)

    def _of_parameter(self, call: Caller, known: _Text | None) -> _Text:
        name = self.place.removeprefix("ssm:")
        if not _NAME.fullmatch(name):
            raise ConfigError("expected ssm: and the name of a parameter", file=_VARIABLE)

        def get() -> _Text:
            answer = self._client("ssm", None).get_parameter(Name=name, WithDecryption=True)
            found = answer["Parameter"]
            return _Text(found["Value"].encode(), str(found["Version"]))

        deed = Deed(f"the parameter {name}", f"ssm:GetParameter on {name}")
        text = call(deed, get, attempts=START_ATTEMPTS)
        return known if known is not None and known.version == text.version else text

    def _of_file(self) -> _Text:
        path = self._folder / self.place
        try:
            return _Text(path.read_bytes(), "")
        except OSError as error:
            text = f"{self.place}: cannot be read: {error.strerror}"
            raise ConfigError(text, file=_VARIABLE) from error

    def _compile(self, content: bytes) -> Rules:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise ConfigError("not UTF-8 text", file=self.place, line=line) from error
        document = yamlfile.load(text, name=self.place)
        folder = self._folder if ":" in self.place else (self._folder / self.place).parent
        rules = rules_of(document, folder, self._environ, read_stored=self._read_stored)
        if not rules.targets:
            raise ConfigError("names no target", file=self.place, key="targets")
        return Rules(rules, hashlib.blake2b(content, digest_size=8).hexdigest())


# -- without secrets --------------------------------------------------------------------


class WithoutSecrets(Mapping[str, str]):
    """An environment in which each variable stands for itself that is not there.

    `split` decides what is sent, and sends nothing: it needs no secret that rules name, and
    so has no permission to read one.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        return self._environ.get(name) or placeholder("environment", name)

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)


def placeholder(store: str, name: str) -> str:
    """Return what stands where a secret would, of a length that any check of keys accepts."""
    return f"{store}-{name}-is-read-by-send-alone".ljust(64, "-")
