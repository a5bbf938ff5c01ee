"""Tables of credentials as CSV: a line for each user, as spreadsheets and databases write them.

The first line names the columns: the first column is what the table is sorted by, the
others are ``token``, or ``user`` and ``password``. Values never appear in errors.
"""

from __future__ import annotations

import csv
from pathlib import Path

from mirrorproxy.errors import ConfigError
from mirrorproxy.rules.schema_auth import Basic
from mirrorproxy.yamlfile import read_bounded


def read_csv(path: Path, *, max_bytes: int, max_entries: int) -> dict[str, str | Basic]:
    """Return the entries of a file. Raises ConfigError with file and line."""
    name = str(path)
    text = _decoded(read_bounded(path, name, max_bytes))
    if text is None:
        raise ConfigError("not UTF-8 text", file=name)
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    entries: dict[str, str | Basic] = {}
    columns: list[str] | None = None
    while True:
        row, is_good = _next(reader)
        line = reader.line_num
        if not is_good:
            raise ConfigError("not valid CSV", file=name, line=line)
        if row is None:
            return entries
        if not row:
            continue
        if columns is None:
            columns = _columns(row, name)
            continue
        if len(row) != len(columns):
            raise ConfigError(f"expected {len(columns)} columns", file=name, line=line)
        if row[0] in entries:
            raise ConfigError("repeated: it stands above already", file=name, line=line)
        if len(entries) >= max_entries:
            raise ConfigError(f"more than {max_entries:,} entries", file=name, line=line)
        fields = dict(zip(columns[1:], row[1:], strict=True))
        if "token" in fields:
            entries[row[0]] = fields["token"]
        else:
            entries[row[0]] = Basic(fields["user"], fields["password"])


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _next(reader: object) -> tuple[list[str] | None, bool]:
    try:
        return next(reader, None), True  # type: ignore[call-overload]
    except csv.Error:
        return None, False


def _columns(row: list[str], name: str) -> list[str]:
    columns = [column.strip() for column in row]
    if sorted(columns[1:]) not in (["token"], ["password", "user"]):
        raise ConfigError(
            "expected a first line such as subject,token or subject,user,password",
            file=name,
            line=1,
        )
    return columns
