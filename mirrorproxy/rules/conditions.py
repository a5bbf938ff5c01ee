"""Conditions: tests of what a request came with beside its line and headers.

Pure. The client's network, the credential, the body, its size and type, and
the time, each as it was captured. `match` puts them together.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import UNSET

from mirrorproxy.record import Credential
from mirrorproxy.remembered import Remembered
from mirrorproxy.rules.facts import Facts
from mirrorproxy.rules.jsonpath import NotJsonError, find_texts, parse_path
from mirrorproxy.rules.offers import claim_texts
from mirrorproxy.rules.patterns import Fault, KeyPath, Kind, compile_patterns
from mirrorproxy.rules.presence import ValuesTest, compile_presence
from mirrorproxy.rules.schema import CredentialMatch, Patterns, Presence, Size, When, Window

FactsTest = Callable[[Facts], bool]
CredentialTest = Callable[[Credential], bool]

_DAILY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])\s*-\s*([01][0-9]|2[0-3]):([0-5][0-9])")
_MINUTE_US = 60_000_000
_DAY_MINUTES = 24 * 60
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def content_type_test(patterns: Patterns, at: KeyPath) -> FactsTest:
    """Return a test of the media type, without its parameters. Raises Fault."""
    test = compile_patterns(patterns, Kind.FOLDED, at)
    return lambda facts: test(facts.media)


def json_test(path: str, wanted: Presence, at: KeyPath) -> FactsTest:
    """Return a test of the values at a path of the body; a body that is not JSON has none.

    Raises Fault.
    """
    compiled = parse_path(path, at)
    test = compile_presence(wanted, at)

    def fits(facts: Facts) -> bool:
        body = facts.body
        values: list[str] = []
        if body is not None:
            try:
                values = find_texts(body, compiled)
            except NotJsonError:
                values = []
        return test(values)

    return fits


def client_test(wanted: str | list[str], at: KeyPath) -> FactsTest:
    """Return a test of the client's address: one of these addresses or networks. Raises Fault."""
    if not wanted:
        raise Fault("an empty list matches nothing", at)
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for index, text in enumerate(wanted if isinstance(wanted, list) else [wanted]):
        where = (*at, index) if isinstance(wanted, list) else at
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise Fault(
                "expected an address or a network such as 10.0.0.0/8 or 2001:db8::/32, "
                "without bits behind the mask",
                where,
            ) from error

    def contains(client: str) -> bool:
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        # A listener on :: sees IPv4 clients in this form.
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in networks)

    known = Remembered[str, bool](contains)
    return lambda facts: known[facts.exchange.client]


def size_test(size: Size, at: KeyPath) -> FactsTest:
    """Return a test of the body's length on the wire, in bytes. Raises Fault."""
    if size.min is UNSET and size.max is UNSET:
        raise Fault("expected min or max", at)
    least = 0 if size.min is UNSET else int(size.min)
    most = (1 << 62) if size.max is UNSET else int(size.max)
    if most < least:
        raise Fault("max is below min", (*at, "max"))

    def fits(facts: Facts) -> bool:
        request = facts.exchange.request
        length = request.body_bytes
        if length is None:
            length = len(facts.body or b"")
        return least <= length <= most

    return fits


def time_test(window: Window, at: KeyPath) -> FactsTest:
    """Return a test of when the request came. Raises Fault."""
    since_us, until_us = 0, 1 << 62
    if window.from_ is not UNSET:
        since_us = _moment_us(window.from_, (*at, "from"))
    if window.until is not UNSET:
        until_us = _moment_us(window.until, (*at, "until"))
    if until_us <= since_us:
        raise Fault("is not after from", (*at, "until"))
    if window.daily is UNSET:
        if window.from_ is UNSET and window.until is UNSET:
            raise Fault("expected from, until or daily", at)
        return lambda facts: since_us <= facts.exchange.started_us < until_us
    found = _DAILY.fullmatch(window.daily)
    if found is None:
        raise Fault("expected two times of day in UTC, such as 22:00-06:00", (*at, "daily"))
    begin, end = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
    length = (end - begin) % _DAY_MINUTES or _DAY_MINUTES

    def fits(facts: Facts) -> bool:
        started_us = facts.exchange.started_us
        minute = started_us // _MINUTE_US % _DAY_MINUTES
        return since_us <= started_us < until_us and (minute - begin) % _DAY_MINUTES < length

    return fits


def _moment_us(text: str, at: KeyPath) -> int:
    """Return microseconds since 1970; a time without a zone would depend on the machine."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Fault("expected a time with its zone, such as 2026-03-01T00:00:00Z", at)
    return (moment - _EPOCH) // datetime.timedelta(microseconds=1)


def credential_test(wanted: CredentialMatch | Literal[False], at: KeyPath) -> FactsTest:
    """Return a test of the request's credentials: one fits, or (False) there is none.

    Raises Fault.
    """
    if wanted is False:
        return lambda facts: not facts.exchange.credentials
    tests = attribute_tests(wanted, at)
    if wanted.in_ is not UNSET:
        place = wanted.in_
        tests.insert(0, lambda credential: credential.place == place)
    return lambda facts: any(
        all(test(credential) for test in tests) for credential in facts.exchange.credentials
    )


def attribute_tests(wanted: CredentialMatch | When, at: KeyPath) -> list[CredentialTest]:
    """Return the tests of a credential, but for where it stands. Raises Fault."""
    tests: list[CredentialTest] = []
    for key in ("name", "scheme", "fingerprint", "subject", "user"):
        patterns: Patterns | msgspec.UnsetType = getattr(wanted, key)
        if patterns is not UNSET:
            kind = Kind.FOLDED if key in ("name", "scheme") else Kind.TEXT
            tests.append(_attribute(key, kind, compile_patterns(patterns, kind, (*at, key))))
    if wanted.claim is not UNSET:
        for name, presence in wanted.claim.items():
            tests.append(_claim(name, compile_presence(presence, (*at, "claim", name))))
    return tests


def _attribute(key: str, kind: Kind, test: Callable[[str], bool]) -> CredentialTest:
    def fits(credential: Credential) -> bool:
        value = getattr(credential, key)
        if value is None:
            return False
        return test(value.lower() if kind is Kind.FOLDED else value)

    return fits


def _claim(name: str, test: ValuesTest) -> CredentialTest:
    return lambda credential: test(claim_texts(credential, name))
