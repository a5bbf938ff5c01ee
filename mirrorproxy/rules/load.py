"""Reading rule files: from a path to compiled rules, every mistake at its line.

Opens the rule file itself, those that it includes, and those that ``${file:PATH}`` and
tables name. Relative names start at the folder of the file in which they stand.
`aws_secrets` reads what lies elsewhere.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from mirrorproxy import yamlfile
from mirrorproxy.errors import ConfigError
from mirrorproxy.rules.aws_secrets import read_secret
from mirrorproxy.rules.csv_table import read_csv
from mirrorproxy.rules.including import Joined, Part
from mirrorproxy.rules.patterns import Fault, KeyPath
from mirrorproxy.rules.ruleset import RuleSet, compile_rules
from mirrorproxy.rules.schema import AuthEntry, RuleFile, Target
from mirrorproxy.rules.schema_auth import Basic, Use

ReadStored = Callable[[str, str], str]
"""Returns a secret, given the store and the name. Raises ValueError."""

MAX_SECRET_FILE_BYTES = 1 << 20
MAX_TABLE_BYTES = 256 << 20
MAX_TABLE_ENTRIES = 2_000_000
MAX_INCLUDED = 64


def load_rules(
    path: Path,
    environ: Mapping[str, str],
    *,
    target_url: str | None = None,
    bearer: str | None = None,
) -> RuleSet:
    """Return the rules of a file.

    environ: for ``${NAME}``. target_url: from the command line; takes the
    place of the URL of the file's one target, or is the target ``target`` of a
    file without any. bearer: likewise for that target's ``auth``.
    Raises ConfigError with file, line and key; never with a value.
    """
    name = str(path)
    return rules_of(
        yamlfile.load(path, name=name),
        path.parent,
        environ,
        target_url=target_url,
        bearer=bearer,
    )


def rules_of(
    document: yamlfile.Document,
    folder: Path,
    environ: Mapping[str, str],
    *,
    target_url: str | None = None,
    bearer: str | None = None,
    read_stored: ReadStored = read_secret,
) -> RuleSet:
    """Return the rules of a document; folder is where relative file names start.

    read_stored: for ``${secretsmanager:NAME}`` and ``${ssm:NAME}``, see `aws_secrets`.
    """
    # A secret that a table names a thousand times is asked for once.
    read_stored = functools.cache(read_stored)
    around = (Path(document.name).resolve(),)
    joined = Joined(_parts(document, folder, environ, read_stored, around))
    file = _with_options(joined.file, target_url, bearer)

    def read_table(name: str, at: KeyPath) -> Mapping[str, str | Basic]:
        part, path = joined.place(at)
        return _read_table(part.folder / name, environ, read_stored, part.document, path)

    try:
        return compile_rules(file, read_table)
    except Fault as fault:
        if target_url is not None and fault.at[-1:] == ("url",):
            raise ConfigError(fault.message, file="--target") from fault
        raise joined.error(fault.message, fault.at) from fault


def _parts(
    document: yamlfile.Document,
    folder: Path,
    environ: Mapping[str, str],
    read_stored: ReadStored,
    around: tuple[Path, ...],
    known: set[Path] | None = None,
) -> list[Part]:
    """Return a file and all that it includes, itself last.

    around: the files that include it, by their real paths. known: those that
    were read already: what two files include is read once.
    """
    known = set() if known is None else known
    expanded = _expanded(document, folder, environ, read_stored)
    file = yamlfile.convert(expanded, RuleFile)
    parts: list[Part] = []
    for index, name in enumerate(file.include):
        at: KeyPath = ("include", index)
        path = folder / name
        real = path.resolve()
        if real in around:
            raise expanded.error(f"the file {path} includes this one, or is it", at)
        if not path.is_file():
            raise expanded.error(f"the file {path} cannot be read: no such file", at)
        if real in known:
            continue
        known.add(real)
        if len(known) > MAX_INCLUDED:
            raise expanded.error(f"more than {MAX_INCLUDED} files are included", at)
        included = yamlfile.load(path, name=str(path))
        parts += _parts(included, path.parent, environ, read_stored, (*around, real), known)
    return [*parts, Part(expanded, folder, file)]


def _with_options(file: RuleFile, target_url: str | None, bearer: str | None) -> RuleFile:
    if target_url is None and bearer is None:
        return file
    if len(file.targets) > 1:
        raise ConfigError("the rule file names several targets", file="--target")
    if target_url is None and not file.targets:
        raise ConfigError("there is no target to use it for", file="--auth-env")
    name, target = next(iter(file.targets.items()), ("target", Target(url=target_url or "")))
    if target_url is not None:
        target = msgspec.structs.replace(target, url=target_url)
    if bearer is not None:
        target = msgspec.structs.replace(target, auth=[AuthEntry(use=Use(bearer=bearer))])
    return msgspec.structs.replace(file, targets={name: target})


def _expanded(
    document: yamlfile.Document,
    folder: Path,
    environ: Mapping[str, str],
    read_stored: ReadStored,
) -> yamlfile.Document:
    return yamlfile.expand(
        document,
        environ,
        lambda name: _read_text(folder / name),
        read_stored,
    )


def _read_text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_SECRET_FILE_BYTES + 1)
    if len(data) > MAX_SECRET_FILE_BYTES:
        raise OSError(0, f"larger than {MAX_SECRET_FILE_BYTES >> 20} MiB")
    return data.decode("utf-8-sig")


def _read_table(
    path: Path,
    environ: Mapping[str, str],
    read_stored: ReadStored,
    rules: yamlfile.Document,
    at: KeyPath,
) -> Mapping[str, str | Basic]:
    """Return the entries of a table file: one mapping, in YAML or JSON, or a CSV file."""
    if not path.is_file():
        raise rules.error(f"the file {path} cannot be read: no such file", at)
    if path.suffix.lower() == ".csv":
        return read_csv(path, max_bytes=MAX_TABLE_BYTES, max_entries=MAX_TABLE_ENTRIES)
    document = yamlfile.load(
        path, name=str(path), max_bytes=MAX_TABLE_BYTES, max_nodes=MAX_TABLE_ENTRIES
    )
    if document.data is None:
        return {}
    folder = path.parent
    expanded = _expanded(document, folder, environ, read_stored)
    return yamlfile.convert(expanded, dict[str, str | Basic])
