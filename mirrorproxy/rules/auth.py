"""Credentials: which entry of a target's ``auth`` speaks for which credential.

Pure. Decides what to use: `offers` what is known beforehand, `late` what is fetched;
`unseal` puts it in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from msgspec import UNSET

from mirrorproxy.record import Credential, Exchange
from mirrorproxy.rules.conditions import attribute_tests
from mirrorproxy.rules.late import LATE, Source, compile_late
from mirrorproxy.rules.offers import Offer, ReadTable, Replacement, compile_static
from mirrorproxy.rules.patterns import Fault, KeyPath, Kind, compile_patterns
from mirrorproxy.rules.schema import AuthEntry, When
from mirrorproxy.rules.schema_auth import Use

_PLACES = frozenset({"header", "query"})
_STATIC = ("bearer", "basic", "headers", "query", "table")


class _Entry(NamedTuple):
    service: Callable[[str], bool] | None
    is_narrowed: bool
    fits: Callable[[Credential], bool]
    offer: Offer


class Auth:
    """A target's ``auth``, ready to use.

    sources: what fetches the values that are not known beforehand.
    """

    def __init__(self, entries: Sequence[_Entry], sources: Sequence[Source] = ()) -> None:
        self._entries = entries
        self.sources = sources

    def replacement(self, exchange: Exchange) -> Replacement | None:
        """Return what the first entry that fits offers for each credential, None if none does."""
        left: Sequence[Credential] = exchange.credentials
        found: Replacement | None = None
        for entry in self._entries:
            if entry.service is not None and not entry.service(exchange.service):
                continue
            fitting = [one for one in left if entry.fits(one)]
            if not fitting and (entry.is_narrowed or found is not None):
                continue
            offered = entry.offer(fitting, exchange)
            if offered is None:
                continue
            # Who is somebody by one entry is not made nobody by another.
            if offered.anonymous:
                if found is None:
                    return offered
                continue
            found = offered if found is None else found.joined(offered)
            left = [one for one in left if not found.covers(one)]
            if not left:
                break
        return found


def compile_auth(
    auth: Sequence[AuthEntry] | Literal["none"], at: KeyPath, read_table: ReadTable
) -> Auth:
    """Return a target's ``auth`` ready to use. Raises Fault."""
    if isinstance(auth, str):
        return Auth([_Entry(None, False, lambda _credential: True, _anonymous)])
    entries: list[_Entry] = []
    sources: list[Source] = []
    for index, one in enumerate(auth):
        entry, source = _compile_entry(one, (*at, index), read_table)
        entries.append(entry)
        if source is not None:
            sources.append(source)
    return Auth(entries, sources)


def _compile_entry(
    entry: AuthEntry, at: KeyPath, read_table: ReadTable
) -> tuple[_Entry, Source | None]:
    when = When() if entry.when is UNSET else entry.when
    use = entry.use
    # A table names each secret that it replaces. Anything else speaks for the user of the
    # request: not for a cookie or a login's body, unless the entry says so.
    is_table = isinstance(use, Use) and use.table is not UNSET
    places = None if is_table or isinstance(use, str) else _PLACES
    if isinstance(use, Use) and use.login is not UNSET and use.login.cookie is not UNSET:
        places = _PLACES | {"cookie"}
    fits, narrowed = _compile_when(when, places, (*at, "when"))
    service = (
        None
        if when.service is UNSET
        else compile_patterns(when.service, Kind.TEXT, (*at, "when", "service"))
    )
    if isinstance(use, str):
        return _Entry(service, narrowed, fits, _anonymous), None
    is_named = when.name is not UNSET
    offer, source = _compile_use(use, (*at, "use"), read_table, is_named=is_named)
    return _Entry(service, True, fits, offer), source


def _compile_when(
    when: When, places: frozenset[str] | None, at: KeyPath
) -> tuple[Callable[[Credential], bool], bool]:
    """Return a test of credentials, and whether ``when`` asks for anything of them."""
    tests = attribute_tests(when, at)
    narrowed = when.in_ is not UNSET or bool(tests)
    allowed = frozenset({when.in_}) if when.in_ is not UNSET else places

    def is_placed(credential: Credential) -> bool:
        return allowed is None or credential.place in allowed

    def fits(credential: Credential) -> bool:
        return is_placed(credential) and all(test(credential) for test in tests)

    return (fits if tests else is_placed), narrowed


_ANONYMOUS = Replacement(
    removed=frozenset({"authorization", "proxy-authorization"}), anonymous=True
)


def _anonymous(_credentials: Sequence[Credential], _exchange: Exchange) -> Replacement:
    return _ANONYMOUS


def _compile_use(
    use: Use, at: KeyPath, read_table: ReadTable, *, is_named: bool
) -> tuple[Offer, Source | None]:
    given = {key for key in (*_STATIC, *LATE) if getattr(use, key) is not UNSET}
    # Both are set at once: some want an API key in a header and a client's name in the query.
    if len(given) != 1 and given != {"headers", "query"}:
        raise Fault(f"expected exactly one of {', '.join((*_STATIC, *LATE))}", at)
    if given.isdisjoint(LATE):
        return compile_static(use, at, read_table), None
    return compile_late(use, at, read_table, is_named=is_named)
