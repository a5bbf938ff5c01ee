"""What the tests of rules share: exchanges made in one line, rules from text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mirrorproxy.record import Credential, Exchange, Request, Response
from mirrorproxy.rules.load import rules_of
from mirrorproxy.rules.ruleset import RuleSet
from mirrorproxy.yamlfile import load

FINGERPRINT = "h1:3f9a:" + "ab" * 16
OTHER = "h1:3f9a:" + "cd" * 16
SUBJECT = "h1:3f9a:" + "5e" * 16
MARK = "{" + FINGERPRINT + "}"
OTHER_MARK = "{" + OTHER + "}"

BEARER = Credential(
    "header",
    "Authorization",
    FINGERPRINT,
    scheme="Bearer",
    subject=SUBJECT,
    claims={"iss": "https://login", "aud": ["orders", "users"], "level": 3},
)


def exchange(
    method: str = "GET",
    target: str = "/orders",
    headers: list[tuple[str, str]] | None = None,
    *,
    status: int | None = 200,
    credentials: list[Credential] | None = None,
    service: str = "orders",
    record_id: str = "0" * 32,
    client: str = "203.0.113.7",
    **request: Any,
) -> Exchange:
    """An exchange; without headers it has a Host alone."""
    return Exchange(
        v=1,
        id=record_id,
        service=service,
        via="inline",
        node="mirror-1/0",
        started_us=1_700_000_000_000_000,
        duration_us=12_000,
        client=client,
        scheme="https",
        upstream="http://10.0.0.1:8080",
        request=Request(
            method=method,
            target=target,
            version="1.1",
            headers=[("Host", "api.example.com")] if headers is None else headers,
            **request,
        ),
        response=None if status is None else Response(status=status),
        credentials=credentials or [],
    )


def with_bearer(**changes: Any) -> Exchange:
    """An exchange whose Authorization is sealed."""
    headers = [("Host", "api.example.com"), ("Authorization", f"Bearer {MARK}")]
    headers += changes.pop("headers", [])
    return exchange(headers=headers, credentials=[BEARER], **changes)


def rules_from(text: str, folder: Path = Path(), **environ: str) -> RuleSet:
    """Rules of a file's text; ``name`` in errors is rules.yaml."""
    return rules_of(load(text, name="rules.yaml"), folder, environ)


def sending(target: str = "", rest: str = "") -> str:
    """A rule file that sends everything to one target; both are YAML in flow style."""
    return (
        "version: 1\n"
        f"targets: {{staging: {{url: 'https://staging.example.com'{target}}}}}\n"
        f"rules: [{{name: all, send: {{target: staging}}{rest}}}]\n"
    )
