"""What deciding costs: 50 rules of every kind, one process, nothing but decisions.

python benchmarks/rule_decisions.py [--decisions N]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from mirrorproxy.record import Credential, Exchange, Request, Response
from mirrorproxy.rules import ruleset
from mirrorproxy.rules.load import rules_of
from mirrorproxy.rules.ruleset import RuleSet
from mirrorproxy.yamlfile import load

RULES = 50
_SERVICES = ("orders", "users", "search", "media", "mail")
_KINDS = (
    "path: '/api/v1/{name}/**'",
    "path: '/api/*/{name}/*/items'",
    "path: {{regex: '^/api/v[0-9]+/{name}/[0-9]+$'}}, method: [POST, PUT]",
    "method: [GET, HEAD], path: ['/{name}', '/{name}/**'], status: 2xx",
    "path: '/api/v2/{name}/**', headers: {{X-Tenant: [acme, initech]}}",
    "path: {{regex: '/{name}/(export|import)'}}, query: {{format: csv}}",
    "host: '{name}.example.com', method: GET",
    "path: '/api/v3/{name}/**', credential: {{claim: {{iss: 'https://login'}}}}",
    "path: '/api/v3/{name}/**', client: [10.0.0.0/8, 192.0.2.0/24]",
    "path: '/api/v4/{name}/**', json: {{$.kind: {name}}}",
)


def rules() -> RuleSet:
    """Fifty rules: globs, regular expressions, headers, claims, networks and bodies."""
    lines = ["version: 1", "targets: {staging: {url: 'http://127.0.0.1:1'}}", "rules:"]
    for number in range(RULES):
        match = _KINDS[number % len(_KINDS)].format(name=f"thing{number}")
        if number % 3 == 0:
            match = f"service: {_SERVICES[number % len(_SERVICES)]}, {match}"
        lines.append(f"  - {{name: r{number}, match: {{{match}}}, send: {{}}}}")
    return rules_of(load("\n".join(lines), name="rules.yaml"), Path(), {})


_PATHS = (
    "/api/v1/{name}/17/lines?page=2",
    "/api/v9/{name}/17/items",
    "/api/v7/{name}/12345",
    "/{name}/a/b",
    "/api/v2/{name}/1",
    "/x/{name}/export?format=csv",
    "/some/page.html",
    "/api/v3/{name}/8",
    "/api/v3/{name}/9?q=1",
    "/api/v4/{name}",
)
_OTHERS = ("/static/js/app.{name}.js", "/api/v1/none/18", "/api/v7/{name}/none", "/")


def exchanges() -> list[Exchange]:
    """Requests for each rule as often, and some that fit none."""
    headers = [
        ("User-Agent", "curl/8"), ("Accept", "*/*"),
        ("X-Tenant", "acme"), ("Content-Type", "application/json"),
    ]  # fmt: skip
    bearer = Credential("header", "Authorization", "h1:3f9a:77", claims={"iss": "https://login"})
    found = []
    for number in range(2 * RULES):
        name = f"thing{number % RULES}"
        is_other = number % 5 == 4 and number >= RULES
        path = (_OTHERS[number // 5 % 4] if is_other else _PATHS[number % len(_PATHS)]).format(
            name=name
        )
        is_write = number % 10 in (2, 9)
        request = Request(
            method="POST" if is_write else "GET",
            target=path,
            version="1.1",
            headers=[("Host", f"{name}.example.com"), *headers],
            body=f'{{"kind":"{name}","lines":[1,2,3]}}' if is_write else None,
            body_encoding="utf8" if is_write else None,
        )
        found.append(
            Exchange(
                v=1, id=f"{number:032x}", service=_SERVICES[number % RULES % len(_SERVICES)],
                via="inline", node="n", started_us=1_700_000_000_000_000, duration_us=1000,
                client="10.1.2.3", scheme="https", upstream="http://10.0.0.1:8080", request=request,
                response=Response(200), credentials=[bearer],
            )
        )  # fmt: skip
    return found


def main() -> int:
    """Measure; print how many decisions one core makes in a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=200_000)
    args = parser.parse_args()
    compiled, captured = rules(), exchanges()
    # Once over all, so that indexes stand.
    matched = sum(compiled.decide(one).rule is not None for one in captured)
    decide = compiled.decide
    best_us = float("inf")
    for _ in range(5):
        rounds = max(args.decisions // 5 // len(captured), 1)
        started_s = time.process_time()
        for _ in range(rounds):
            for one in captured:
                decide(one)
        spent_s = time.process_time() - started_s
        best_us = min(best_us, spent_s / rounds / len(captured) * 1e6)
    kind = "compiled" if not str(ruleset.__file__).endswith(".py") else "pure Python"
    print(
        f"{RULES} rules, {kind}: {best_us:.1f} us of CPU a decision, "
        f"{1e6 / best_us:,.0f} a second and core ({matched} of {len(captured)} requests match)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
