"""Labels: what an app tells Traefik in its Consul tags or Docker labels.

Pure. Reads as Traefik 3 reads: ``key=value``, the prefix as written and the
rest of a key whatever its case, the last of equal keys counts, tags without a
value or with another prefix mean nothing.
Only HTTP is read; values stay as they are written. What is decided from it is
not decided here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

PREFIX = "traefik"

Options = tuple[tuple[str, str], ...]
"""Keys as written, below the router or service that they belong to, and values; sorted."""

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,19}")
_PLAIN = re.compile(r"[A-Za-z0-9._@\-]{1,128}")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_NAME_TEMPLATE = re.compile(r"\{\{-?\s*(normalize\s+)?\.Name\s*-?\}\}")


class Router(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP router. options: all that has no field of its own.

    rule: "" for none. priority: what Traefik sorts by: as written, or the
    length of the rule in bytes. service: as written, "" for none.
    """

    name: str
    rule: str = ""
    priority: int = 0
    service: str = ""
    entry_points: tuple[str, ...] = ()
    middlewares: tuple[str, ...] = ()
    options: Options = ()

    def option(self, key: str) -> str | None:
        """Return the value of a key (lower case), or None."""
        return value_of(self.options, key)


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """All that concerns HTTP. services: by name; general: the keys above routers and services.

    faults: sentences about what Traefik itself could not read.
    """

    routers: tuple[Router, ...] = ()
    services: Mapping[str, Options] = {}
    general: Options = ()
    faults: tuple[str, ...] = ()

    def option(self, key: str) -> str | None:
        """Return the value of a general key (lower case, without the prefix), or None."""
        return value_of(self.general, key)


def pairs(tags: Iterable[str], prefix: str) -> dict[str, str]:
    """Return the keys below a prefix, without it and as written, and their values.

    Of keys that differ in case alone the first spelling and the last value stay.
    """
    found: dict[str, str] = {}
    spelling: dict[str, str] = {}
    start = f"{prefix}."
    for tag in tags:
        key, equals, value = tag.partition("=")
        if not equals or not key.startswith(start):
            continue
        key = key[len(start) :]
        found[spelling.setdefault(key.lower(), key)] = value
    return found


def parse_labels(tags: Iterable[str], *, prefix: str = PREFIX) -> Labels:
    """Return what the tags say. prefix: that of Traefik's provider. Never raises."""
    routers: dict[str, dict[str, str]] = {}
    services: dict[str, dict[str, str]] = {}
    general: dict[str, str] = {}
    spelling: dict[str, str] = {}
    for key, value in sorted(pairs(tags, prefix).items()):
        words = key.split(".", 3)
        kind = ".".join(words[:2]).lower()
        group = {"http.routers": routers, "http.services": services}.get(kind)
        if group is None:
            general[key] = value
        elif len(words) == 4:
            name = spelling.setdefault(f"{kind}.{words[2].lower()}", words[2])
            group.setdefault(name, {})[words[3]] = value
    faults: list[str] = []
    return Labels(
        routers=tuple(_router(name, options, faults) for name, options in routers.items()),
        services={name: tuple(options.items()) for name, options in services.items()},
        general=tuple(general.items()),
        faults=tuple(faults),
    )


def _router(name: str, options: Mapping[str, str], faults: list[str]) -> Router:
    known = {key.lower(): value for key, value in options.items()}
    rule, priority = known.get("rule", ""), known.get("priority", "0")
    if not _WHOLE_NUMBER.fullmatch(priority):
        faults.append(f"the priority of its router {shown(name)} is not a whole number")
        priority = "0"
    own = ("rule", "priority", "service", "entrypoints", "middlewares")
    return Router(
        name=name,
        rule=rule,
        priority=int(priority) or default_priority(rule),
        service=known.get("service", ""),
        entry_points=listed(known.get("entrypoints", "")),
        middlewares=listed(known.get("middlewares", "")),
        options=tuple(item for item in options.items() if item[0].lower() not in own),
    )


def default_priority(rule: str) -> int:
    """Return the priority that Traefik gives a router without one: its rule's length in bytes."""
    return len(rule.encode())


def shown(name: str) -> str:
    """Return a name from a tag as it may stand in a sentence, on one line and not too long."""
    return name if _PLAIN.fullmatch(name) else repr(name[:64])


def listed(value: str) -> tuple[str, ...]:
    """Return the items of a comma-separated value."""
    return tuple(item for part in value.split(",") if (item := part.strip()))


def value_of(options: Options, key: str) -> str | None:
    """Return the value of a key (lower case) among options, or None."""
    return next((value for written, value in options if written.lower() == key), None)


def flag(value: str | None) -> bool | None:
    """Return a truth value as Traefik reads it; None for none, or one that it would not read."""
    if value in _TRUE:
        return True
    return False if value in _FALSE else None


def normalized(name: str) -> str:
    """Return a Consul service's name as Traefik spells it in names of its own.

    Runs of what is neither letter nor digit become one hyphen.
    """
    return "-".join(word for word in re.split(r"[\W_]+", name) if word)


def expand_rule(template: str, service: str) -> str | None:
    """Return a default rule for a service, None when it holds more than the service's name.

    ``{{ .Name }}`` and ``{{ normalize .Name }}`` are understood.
    """
    rule = _NAME_TEMPLATE.sub(lambda found: normalized(service) if found[1] else service, template)
    return None if "{{" in rule else rule
