"""The rule file, version 1, as it is written.

Values only: what each key may hold, and what it means when it is left out.
`compiled` turns them into decisions. Every key is described in docs/rules.md.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from mirrorproxy.rules.schema_auth import Use
from mirrorproxy.rules.schema_learn import LearnRule, UseRule
from mirrorproxy.units import Bytes, Seconds


class Regex(Struct, frozen=True, forbid_unknown_fields=True):
    """A regular expression in RE2's syntax, searched for anywhere in the text."""

    regex: str


Patterns = str | Regex | list[str | Regex]
"""A glob, a regular expression, or a list of them, any of which may fit."""

Presence = str | Regex | list[str | Regex | int] | bool | int
"""Like Patterns, or a whole number; true: it is there, false: it is not."""

# A key without a value would match everything: null is refused, hence UNSET.

Place = Literal["header", "query", "cookie", "body"]


class CredentialMatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What one of the request's credentials must be like: keys AND, lists OR."""

    in_: Place | UnsetType = field(default=UNSET, name="in")
    name: Patterns | UnsetType = UNSET
    scheme: Patterns | UnsetType = UNSET
    fingerprint: Patterns | UnsetType = UNSET
    subject: Patterns | UnsetType = UNSET
    user: Patterns | UnsetType = UNSET
    claim: dict[str, Presence] | UnsetType = UNSET


class Size(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the body was on the wire, both ends included."""

    min: Bytes | UnsetType = UNSET
    max: Bytes | UnsetType = UNSET


class Window(Struct, frozen=True, forbid_unknown_fields=True):
    """When the request came. until: not included. daily: a time of day in UTC."""

    from_: str | UnsetType = field(default=UNSET, name="from")
    until: str | UnsetType = UNSET
    daily: str | UnsetType = UNSET


class Match(Struct, frozen=True, forbid_unknown_fields=True):
    """What an exchange must be like: keys AND, lists OR."""

    service: Patterns | UnsetType = UNSET
    via: Patterns | UnsetType = UNSET
    method: Patterns | UnsetType = UNSET
    host: Patterns | UnsetType = UNSET
    path: Patterns | UnsetType = UNSET
    query: dict[str, Presence] | UnsetType = UNSET
    headers: dict[str, Presence] | UnsetType = UNSET
    content_type: Patterns | UnsetType = UNSET
    json: dict[str, Presence] | UnsetType = UNSET
    credential: CredentialMatch | Literal[False] | UnsetType = UNSET
    status: int | str | list[int | str] | UnsetType = UNSET
    client: str | list[str] | UnsetType = UNSET
    size: Size | UnsetType = UNSET
    time: Window | UnsetType = UNSET
    any: list[Match] | UnsetType = UNSET
    all: list[Match] | UnsetType = UNSET
    not_: Match | UnsetType = field(default=UNSET, name="not")


class Send(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to, and how much of it."""

    target: str | list[str] | UnsetType = UNSET
    percent: float = 100.0
    percent_by: Literal["id", "session"] = "id"
    without_body: bool = False
    rate: float | UnsetType = UNSET


class PathRewrite(Struct, frozen=True, forbid_unknown_fields=True):
    """Every place in the path where ``from`` is found becomes ``to``."""

    from_: str = field(name="from")
    to: str


class FieldRewrite(Struct, frozen=True, forbid_unknown_fields=True):
    """Named values: some taken out (globs), then some renamed, then some set."""

    remove: str | list[str] = []
    rename: dict[str, str] = {}
    set: dict[str, str] = {}


class JsonRewrite(Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of each value at a path. create: add the last name where it is missing."""

    path: str
    set: Any = UNSET
    remove: bool = False
    create: bool = False


class BodyRewrite(Struct, frozen=True, forbid_unknown_fields=True):
    """Every place in the body where ``from`` is found becomes ``to``."""

    from_: str = field(name="from")
    to: str


class Declared(Struct, frozen=True, forbid_unknown_fields=True):
    """Places of values that one rewrite is about, by name, in JSON by path."""

    headers: list[str] = []
    query: list[str] = []
    form: list[str] = []
    json: list[str] = []


class Rewrite(Struct, frozen=True, forbid_unknown_fields=True):
    """Changes to what was captured; rules are matched before any of them."""

    scheme: Literal["http", "https"] | UnsetType = UNSET
    host: str | UnsetType = UNSET
    path: PathRewrite | list[PathRewrite] | UnsetType = UNSET
    query: FieldRewrite | UnsetType = UNSET
    headers: FieldRewrite | UnsetType = UNSET
    cookies: FieldRewrite | UnsetType = UNSET
    form: FieldRewrite | UnsetType = UNSET
    json: JsonRewrite | list[JsonRewrite] | UnsetType = UNSET
    body: BodyRewrite | list[BodyRewrite] | UnsetType = UNSET
    shift: Declared | UnsetType = UNSET
    unique: Declared | UnsetType = UNSET


class Compare(Struct, frozen=True, forbid_unknown_fields=True):
    """What of the target's answers is compared with production's, beside what always is."""

    ignore: list[str] = []
    headers: list[str] = []
    probe: list[str] = []


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """One rule; the first that matches decides. Either skip or send."""

    name: str
    match: Match | UnsetType = UNSET
    skip: bool = False
    send: Send | UnsetType = UNSET
    rewrite: Rewrite | UnsetType = UNSET
    compare: Compare | bool | UnsetType = UNSET
    correlate: bool | UnsetType = UNSET
    learn: LearnRule | list[LearnRule] = []
    use: UseRule | list[UseRule] = []


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
    compare: Compare | bool | UnsetType = UNSET
    correlate: bool = True


class RuleFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    version: Literal[1]
    include: list[str] = []
    defaults: Defaults = field(default_factory=Defaults)
    targets: dict[str, Target] = {}
    rules: list[Rule] = []


def json_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of a rule file, for editors."""

    def hook(type_: type) -> dict[str, object]:
        if type_ is Seconds:
            return {"type": ["string", "number"], "description": "such as 800ms, 10s, 1h30m"}
        if type_ is Bytes:
            return {"type": ["string", "integer"], "description": "such as 512, 64KiB, 1MB"}
        raise NotImplementedError(type_)

    schema = msgspec.json.schema(RuleFile, schema_hook=hook)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mirrorproxy rule file, version 1",
        **schema,
    }
