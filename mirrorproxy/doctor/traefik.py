"""The checks of Traefik: over what its API says, and over its static configuration. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mirrorproxy.doctor.finding import Finding
from mirrorproxy.doctor.http import Unanswered

_WHAT = "Traefik"
_MIRROR = re.compile(r"(?:mirror-|mirrorproxy-).*@")
_VERSION = re.compile(r"v?([0-9]+)\.([0-9]+)")
TRIED = (3, 7)


def check_version(answer: Mapping[str, Any] | Unanswered) -> Finding:
    """Return what is to be said of its version. answer: /api/version."""
    if isinstance(answer, Unanswered):
        return Finding(
            "problem",
            _WHAT,
            answer.reason,
            "switch its API on (api: {insecure: true}, inside your network), or mend the URL",
        )
    text = str(answer.get("Version", ""))
    found = _VERSION.match(text)
    if found is None:
        return Finding("unchecked", f"{_WHAT} version", "says none that is known")
    version = (int(found[1]), int(found[2]))
    if version[0] < 3:
        return Finding(
            "problem", f"{_WHAT} version", text, "use Traefik 3: rules of 2 are written otherwise"
        )
    if version < TRIED:
        return Finding(
            "warning", f"{_WHAT} version", text, "tried with 3.7; update where something is odd"
        )
    return Finding("ok", f"{_WHAT} version", text)


def check_providers(answer: Mapping[str, Any] | Unanswered) -> Finding:
    """Return whether it follows Consul's catalog. answer: /api/overview."""
    what = f"{_WHAT} providers"
    if isinstance(answer, Unanswered):
        return Finding("unchecked", what, answer.reason)
    providers = [str(one) for one in answer.get("providers") or ()]
    if "consulcatalog" not in [one.lower() for one in providers]:
        return Finding(
            "problem",
            what,
            f"does not follow Consul's catalog ({', '.join(providers) or 'none'})",
            "add providers.consulCatalog, see traefik/consul-catalog.yaml",
        )
    return Finding("ok", what, ", ".join(providers))


def check_routers(answer: Sequence[Mapping[str, Any]] | Unanswered, apps: int) -> list[Finding]:
    """Return whether the mirrors have routers. answer: /api/http/routers.

    apps: how many ask to be mirrored, as far as that is known.
    """
    what = f"{_WHAT} routers"
    if isinstance(answer, Unanswered):
        return [Finding("unchecked", what, answer.reason)]
    mirrors = [one for one in answer if _MIRROR.match(str(one.get("name", "")))]
    findings = [
        Finding(
            "problem",
            f"{_WHAT} router {one.get('name')}",
            "; ".join(map(str, one.get("error") or ())) or f"is {one.get('status')}",
            "see the app's tags, and that they are equal on all mirrors",
        )
        for one in mirrors
        if one.get("status", "enabled") != "enabled"
    ]
    if not mirrors:
        level, remedy = "warning", "start a mirror with --consul, and tag an app"
        if apps:
            level, remedy = "problem", "see in /status of the mirror why it is not registered"
        found = f"none of a mirror; {apps} apps ask for one"
        return [Finding("problem" if level == "problem" else "warning", what, found, remedy)]
    enabled = len(mirrors) - len(findings)
    return [Finding("ok", what, f"{enabled} of mirrors are in use"), *findings]


def check_static(data: object) -> list[Finding]:
    """Return what is to be said of its static configuration, as its YAML file holds it."""
    what = f"{_WHAT} configuration"
    providers = _part(_lower(data), "providers")
    findings = [*_catalog(what, _part(providers, "consulcatalog")), *_empty(what, providers)]
    return findings or [Finding("ok", what, "watches Consul")]


def _catalog(what: str, catalog: Mapping[str, Any]) -> Iterator[Finding]:
    if not catalog:
        yield Finding(
            "problem",
            what,
            "has no providers.consulCatalog",
            "add it, see traefik/consul-catalog.yaml",
        )
        return
    if not _true(catalog.get("watch")):
        yield Finding(
            "problem",
            what,
            "does not watch Consul: a mirror that died is asked for up to 15 s",
            "set providers.consulCatalog.watch: true",
        )
    if _true(catalog.get("connectbydefault")):
        yield Finding(
            "problem",
            what,
            "reaches apps over Consul Connect, which the mirror does not speak",
            "leave connectByDefault off, or do not mirror such apps",
        )
    if catalog.get("exposedbydefault", True) not in (False, "false"):
        yield Finding(
            "warning",
            what,
            "exposes every service of the catalog",
            "set exposedByDefault: false, and the tag traefik.enable=true on apps",
        )


def _empty(what: str, providers: Mapping[str, Any]) -> Iterator[Finding]:
    for name, provider in providers.items():
        if isinstance(provider, dict) and _true(provider.get("allowemptyservices")):
            yield Finding(
                "warning",
                what,
                f"keeps routers without a server ({name}): 503 where the app's own would serve",
                "leave allowEmptyServices off",
            )


def _true(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _part(data: object, key: str) -> Mapping[str, Any]:
    found = data.get(key) if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def _lower(data: object) -> object:
    """Return nested mappings with keys in lower case, as Traefik reads them."""
    if isinstance(data, dict):
        return {str(key).lower(): _lower(value) for key, value in data.items()}
    return data
