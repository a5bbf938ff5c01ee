"""The rule file, version 1, as it is written.

Values only: what each key may hold, and what it means when it is left out.
`compiled` turns them into decisions. Every key is described in docs/rules.md.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from mirrorproxy.rules.schema_auth import Use
from mirrorproxy.units import Seconds


class Regex(Struct, frozen=True, forbid_unknown_fields=True):
    """A regular expression in RE2's syntax, searched for anywhere in the text."""

    regex: str


Patterns = str | Regex | list[str | Regex]
"""A glob, a regular expression, or a list of them, any of which may fit."""

Presence = str | Regex | list[str | Regex] | bool
"""Like Patterns; true: it is there, false: it is not."""

# A key without a value would match everything: null is refused, hence UNSET.


class Match(Struct, frozen=True, forbid_unknown_fields=True):
    """What an exchange must be like: keys AND, lists OR."""

    service: Patterns | UnsetType = UNSET
    via: Patterns | UnsetType = UNSET
    method: Patterns | UnsetType = UNSET
    host: Patterns | UnsetType = UNSET
    path: Patterns | UnsetType = UNSET
    query: dict[str, Presence] | UnsetType = UNSET
    headers: dict[str, Presence] | UnsetType = UNSET
    status: int | str | list[int | str] | UnsetType = UNSET
    any: list[Match] | UnsetType = UNSET
    all: list[Match] | UnsetType = UNSET
    not_: Match | UnsetType = field(default=UNSET, name="not")


class Send(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to, and how much of it."""

    target: str | list[str] | UnsetType = UNSET
    percent: float = 100.0
    percent_by: Literal["id", "session"] = "id"
    without_body: bool = False


class PathRewrite(Struct, frozen=True, forbid_unknown_fields=True):
    """Every place in the path where ``from`` is found becomes ``to``."""

    from_: str = field(name="from")
    to: str


class HeaderRewrite(Struct, frozen=True, forbid_unknown_fields=True):
    """Headers to take out (globs), then headers to set."""

    remove: str | list[str] = []
    set: dict[str, str] = {}


class Rewrite(Struct, frozen=True, forbid_unknown_fields=True):
    """Changes to what was captured; rules are matched before any of them."""

    host: str | UnsetType = UNSET
    path: PathRewrite | list[PathRewrite] | UnsetType = UNSET
    headers: HeaderRewrite | UnsetType = UNSET


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """One rule; the first that matches decides. Either skip or send."""

    name: str
    match: Match | UnsetType = UNSET
    skip: bool = False
    send: Send | UnsetType = UNSET
    rewrite: Rewrite | UnsetType = UNSET


class When(Struct, frozen=True, forbid_unknown_fields=True):
    """Which credentials an entry of ``auth`` is for: keys AND, lists OR."""

    service: Patterns | UnsetType = UNSET
    in_: Literal["header", "query", "cookie", "body"] | UnsetType = field(default=UNSET, name="in")
    name: Patterns | UnsetType = UNSET
    scheme: Patterns | UnsetType = UNSET
    fingerprint: Patterns | UnsetType = UNSET
    subject: Patterns | UnsetType = UNSET
    user: Patterns | UnsetType = UNSET
    claim: dict[str, Presence] | UnsetType = UNSET


class AuthEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of ``auth``; the first that fits is used."""

    use: Use | Literal["none"]
    when: When | UnsetType = UNSET


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """How fast and how much at once. rate: requests a second; none unless given."""

    rate: float | UnsetType = UNSET
    concurrency: int = 256
    timeout: Seconds = field(default_factory=lambda: Seconds(30))
    max_lag: Seconds = field(default_factory=lambda: Seconds(5))
    max_shots: int | UnsetType = UNSET
    max_duration: Seconds | UnsetType = UNSET


class Backoff(Struct, frozen=True, forbid_unknown_fields=True):
    """At which signs of a target less is sent to it. errors: null looks at none."""

    p95: str | float | UnsetType = UNSET
    errors: str | float | None = "5%"
    timeouts: str | float | UnsetType = UNSET
    floor: str | float = "1%"
    increase: str | float = "10%"
    window: Seconds = field(default_factory=lambda: Seconds(1))


class Target(Struct, frozen=True, forbid_unknown_fields=True):
    """Where shots go."""

    url: str
    host: Literal["target", "original"] = "target"
    auth: list[AuthEntry] | Literal["none"] = []
    limits: Limits = field(default_factory=Limits)
    backoff: Backoff | UnsetType = UNSET
    ramp: Seconds | UnsetType = UNSET
    safe_methods_only: bool = False
    user_agent: Literal["keep", "append", "set"] = "keep"
    allow_production: bool = False


class Session(Struct, frozen=True, forbid_unknown_fields=True):
    """What makes two requests one session, and what of a session waits for what.

    by: the first of these that a request has. order: among all targets, or of
    each by itself; by default of each if a rule sends to several at once.
    """

    by: list[str] = field(default_factory=lambda: ["credential", "client"])
    order: Literal["session", "target", "off"] | UnsetType = UNSET
    on_failure: Literal["continue", "skip_session"] = "continue"


class Defaults(Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for everything that no rule says otherwise."""

    unmatched: Literal["skip", "send"] = "skip"
    session: Session = field(default_factory=Session)
    logged_credentials: Literal["replace", "send"] = "replace"


class RuleFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    version: Literal[1]
    defaults: Defaults = field(default_factory=Defaults)
    targets: dict[str, Target] = {}
    rules: list[Rule] = []


def json_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of a rule file, for editors."""

    def hook(type_: type) -> dict[str, object]:
        if type_ is Seconds:
            return {"type": ["string", "number"], "description": "such as 800ms, 10s, 1h30m"}
        raise NotImplementedError(type_)

    schema = msgspec.json.schema(RuleFile, schema_hook=hook)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mirrorproxy rule file, version 1",
        **schema,
    }
