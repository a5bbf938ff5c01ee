"""Rule files as a whole: which rule decides, and every mistake at its line."""

from __future__ import annotations

import pytest
from rulekit import BEARER, OTHER, SUBJECT, exchange, rules_from, with_bearer

from mirrorproxy.errors import ConfigError
from mirrorproxy.record import Credential
from mirrorproxy.rules.load import load_rules
from mirrorproxy.rules.plan import plan
from mirrorproxy.rules.simple import simple_rules

HEAD = "version: 1\ntargets:\n  staging: {url: 'https://staging.example.com'}\nrules:\n"


@pytest.mark.parametrize(
    ("one", "rule", "targets"),
    [
        pytest.param(exchange(target="/health"), "health", [], id="skipped by the first"),
        pytest.param(exchange("POST", "/api/x"), "writes", ["staging"], id="the first that fits"),
        pytest.param(exchange("GET", "/api/x"), "rest", ["staging"], id="a later one"),
        pytest.param(exchange("GET", "/other"), None, [], id="none"),
    ],
)
def test_the_first_rule_that_matches_decides(one, rule, targets):
    """Order is the file's."""
    rules = rules_from(
        HEAD
        + "- {name: health, match: {path: /health}, skip: true}\n"
        + "- {name: writes, match: {method: [POST, PUT]}, send: {target: staging}}\n"
        + "- {name: rest, match: {path: '/api/**'}, send: {}}\n"
    )
    decision = rules.decide(one)
    assert decision.rule == rule
    assert [target.name for target in decision.targets] == targets


@pytest.mark.parametrize(
    ("unmatched", "skipped"),
    [
        pytest.param("skip", "no rule", id="skipped by default"),
        pytest.param("send", None, id="sent when told so"),
    ],
)
def test_what_no_rule_takes(unmatched, skipped):
    """Nothing is sent unless the file says so."""
    rules = rules_from(f"defaults: {{unmatched: {unmatched}}}\n{HEAD} []")
    assert plan(exchange(), rules, "seed", "run").skipped == skipped


def test_deciding_forgets_made_up_methods():
    """Methods come from the network: thousands of them decide rightly all the same."""
    rules = rules_from(HEAD + "- {name: a, match: {method: M*}, send: {}}\n")
    assert {rules.decide(exchange(f"M{number}")).rule for number in range(3000)} == {"a"}
    assert rules.decide(exchange("GET")).rule is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("rules: []", "rules.yaml:1: version is missing", id="no version"),
        pytest.param("version: 2", "rules.yaml:1: version: expected 1", id="another version"),
        pytest.param(
            HEAD + "- {name: a, mach: {}, skip: true}",
            "rules.yaml:5: rules[0].mach: unknown key; did you mean match?",
            id="a misspelt key",
        ),
        pytest.param(
            HEAD + "- name: a\n  match:\n    path: {regex: '('}\n  skip: true",
            "rules.yaml:7: rules[0].match.path.regex: not a regular expression of RE2: missing )",
            id="a bad expression",
        ),
        pytest.param(
            HEAD + "- {name: a, match: {path: }, skip: true}",
            "rules.yaml:5: rules[0].match.path: expected text, a mapping or a list, not nothing",
            id="a key without a value does not match everything",
        ),
        pytest.param(
            HEAD + "- {name: a}",
            "rules.yaml:5: rules[0]: expected either skip: true or send",
            id="neither skip nor send",
        ),
        pytest.param(
            HEAD + "- {name: a, skip: true, send: {}}",
            "rules.yaml:5: rules[0]: expected either skip: true or send",
            id="both",
        ),
        pytest.param(
            HEAD + "- {name: a, skip: true, rewrite: {host: x}}",
            "rules.yaml:5: rules[0].rewrite: nothing is sent, so nothing is rewritten",
            id="a rewrite of what is skipped",
        ),
        pytest.param(
            HEAD + "- {name: a, skip: true}\n- {name: a, skip: true}",
            "rules.yaml:6: rules[1].name: another rule has this name",
            id="a name twice",
        ),
        pytest.param(
            HEAD + "- {name: a, send: {target: prod}}",
            "rules.yaml:5: rules[0].send.target: there is no such target; known here: staging",
            id="an unknown target",
        ),
        pytest.param(
            "version: 1\nrules: [{name: a, send: {}}]",
            "rules.yaml:2: rules[0].send: say which target: the file does not have exactly one",
            id="no target at all",
        ),
        pytest.param(
            HEAD + "- {name: a, send: {percent: -1}}",
            "rules.yaml:5: rules[0].send.percent: expected a number from 0 to 10000",
            id="a negative percentage",
        ),
        pytest.param(
            HEAD + "- {name: a, send: {percent: 10%}}",
            "rules.yaml:5: rules[0].send.percent: expected a number, not text",
            id="a percentage with its sign",
        ),
        pytest.param(
            HEAD + "- {name: a, send: {percent_by: user}}",
            "rules.yaml:5: rules[0].send.percent_by: expected id or session",
            id="by something else",
        ),
        pytest.param(
            HEAD + "- {name: a, send: {}, rewrite: {path: {from: '^/a', to: '/b?c'}}}",
            "rules.yaml:5: rules[0].rewrite.path.to: holds a character that a path can't: "
            "a space, ?, # or control",
            id="a query in a path",
        ),
        pytest.param(
            HEAD + "- {name: a, send: {}, rewrite: {path: [{from: a, to: $1}]}}",
            "rules.yaml:5: rules[0].rewrite.path[0].to: "
            "$1 is a group that the pattern does not have",
            id="no such group",
        ),
        pytest.param(
            HEAD + "- {name: a, send: {}, rewrite: {headers: {set: {Host: x}}}}",
            "rules.yaml:5: rules[0].rewrite.headers.set.Host: "
            "this header is not for rules to set (for Host: rewrite.host)",
            id="the Host header",
        ),
        pytest.param(
            HEAD + "- {name: a, send: {}, rewrite: {host: 'a b'}}",
            "rules.yaml:5: rules[0].rewrite.host: "
            "expected a host such as api.example.com or api.example.com:8443",
            id="no host",
        ),
        pytest.param(
            "version: 1\ntargets: {s: {url: 'ftp://x'}}",
            "rules.yaml:2: targets.s.url: a URL here begins with http:// or https://",
            id="another scheme",
        ),
        pytest.param(
            "version: 1\ntargets: {s: {url: 'http://u:s3cret@x'}}",
            "rules.yaml:2: targets.s.url: the URL must not hold a user or a password",
            id="a password in a URL",
        ),
        pytest.param(
            "version: 1\ntargets: {s: {url: 'http://x/a b'}}",
            "rules.yaml:2: targets.s.url: the path of the URL holds a character that a path can't",
            id="a space in a URL",
        ),
        pytest.param(
            "version: 1\ntargets: {s: {url: 'http://x', limits: {timeout: 5x}}}",
            "rules.yaml:2: targets.s.limits.timeout: "
            "expected a duration such as 800ms, 10s, 5m or 1h30m",
            id="no duration",
        ),
        pytest.param(
            "version: 1\ntargets: {s: {url: 'http://x', limits: {rate: 0}}}",
            "rules.yaml:2: targets.s.limits.rate: expected a number of requests a second above 0",
            id="a rate of nothing",
        ),
        pytest.param(
            "version: 1\ntargets: {s: {url: 'http://x', colour: red}}",
            "rules.yaml:2: targets.s.colour: unknown key; known here: allow_production, auth, "
            "backoff, host, limits, ramp, safe_methods_only, url, user_agent",
            id="a key that is not supported is never ignored",
        ),
        pytest.param(
            "version: 1\ndefaults: {session: {by: [credential, cookies]}}",
            "rules.yaml:2: defaults.session.by[1]: expected credential, subject, fingerprint, "
            "client, cookie:<name>, header:<name> or claim:<name>",
            id="an unknown part of a session",
        ),
        pytest.param(
            "version: 1\ndefaults: {session: {order: always}}",
            "rules.yaml:2: defaults.session.order: expected off, session or target",
            id="an unknown order",
        ),
        pytest.param(
            "version: 1\ntargets: {s: {url: '${NOT_SET}'}}",
            "rules.yaml:2: targets.s.url: the environment variable NOT_SET is not set",
            id="a missing variable",
        ),
    ],
)
def test_a_mistake_is_one_line_with_file_line_and_key(text, message):
    """All of it is found before anything is sent."""
    with pytest.raises(ConfigError) as raised:
        rules_from(text)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("by", "key"),
    [
        pytest.param("[credential, client]", SUBJECT, id="the subject first"),
        pytest.param("[fingerprint]", BEARER.fingerprint, id="the fingerprint"),
        pytest.param("['claim:iss']", "https://login", id="a claim"),
        pytest.param("['header:X-User']", "x-user:ann", id="a header"),
        pytest.param("['cookie:sid']", "cookie:7", id="a cookie in the clear"),
        pytest.param("['cookie:gone', client]", "client:203.0.113.7", id="what is there"),
        pytest.param("['cookie:gone']", f"exchange:{'0' * 32}", id="nothing is shared"),
    ],
)
def test_the_session_key(by, key):
    """The first part that the request has makes the key."""
    rules = rules_from(f"defaults: {{session: {{by: {by}}}}}\n{HEAD} []")
    one = with_bearer(headers=[("X-User", "ann"), ("Cookie", "a=1; sid=7")])
    assert rules.session_key(one) == key


TWO = "version: 1\ntargets: {a: {url: 'http://a'}, b: {url: 'http://b'}}\n"
ONE_EACH = "rules: [{name: x, send: {target: a}}, {name: y, send: {target: b}}]"
SESSION = "defaults: {session: {%s}}\n"
BOTH = "rules: [{name: x, send: {target: [a, b]}}]"


@pytest.mark.parametrize(
    ("text", "order"),
    [
        pytest.param(ONE_EACH, (True, False, False), id="targets are parts of one environment"),
        pytest.param(BOTH, (True, True, False), id="or each is one, sent the same"),
        pytest.param(SESSION % "order: session" + BOTH, (True, False, False), id="said"),
        pytest.param(SESSION % "order: target" + ONE_EACH, (True, True, False), id="so"),
        pytest.param(SESSION % "order: off" + ONE_EACH, (False, False, False), id="off"),
        pytest.param(
            SESSION % "on_failure: skip_session" + ONE_EACH, (True, False, True),
            id="a failure ends a session",
        ),
    ],
)  # fmt: skip
def test_the_order_of_sessions(text, order):
    """Kept unless told otherwise; whether by target follows from the rules."""
    assert tuple(rules_from(TWO + text).order) == order


@pytest.mark.parametrize(
    ("cookie", "key"),
    [
        pytest.param("PHPSESSID", OTHER, id="a session cookie is a credential"),
        pytest.param("_ga", "client:203.0.113.7", id="a counter of visits is none"),
    ],
)
def test_which_cookies_name_a_user(cookie, key):
    """Without a header, a cookie that looks like a session's is the user."""
    rules = rules_from(HEAD + " []")
    assert rules.session_key(exchange(credentials=[Credential("cookie", cookie, OTHER)])) == key


def test_a_password_in_a_body_names_no_session():
    """A login is not a session of its own: its secret never comes again."""
    rules = rules_from(f"defaults: {{session: {{by: [fingerprint, client]}}}}\n{HEAD} []")
    login = exchange(credentials=[Credential("body", "password", OTHER)])
    assert rules.session_key(login) == "client:203.0.113.7"


def test_options_stand_in_for_the_files_one_target(tmp_path):
    """--target and --auth-env change the target that the rules name."""
    path = tmp_path / "rules.yaml"
    path.write_text(HEAD + "- {name: a, send: {target: staging}}\n")
    rules = load_rules(path, {}, target_url="http://127.0.0.1:81/x", bearer="tok")
    (shot,) = plan(with_bearer(), rules, "seed", "run").shots
    assert (shot.origin, shot.path) == (("http", "127.0.0.1", 81), "/x/orders")
    assert ("Authorization", "Bearer tok") in shot.headers


def test_an_option_is_the_target_of_a_file_without_one(tmp_path):
    """Rules may leave the target to the command line."""
    path = tmp_path / "rules.yaml"
    path.write_text("version: 1\nrules: [{name: a, send: {}}]\n")
    rules = load_rules(path, {}, target_url="http://127.0.0.1:81")
    assert list(rules.targets) == ["target"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        pytest.param(
            "version: 1\ntargets: {a: {url: 'http://a'}, b: {url: 'http://b'}}",
            {"target_url": "http://c"},
            "--target: the rule file names several targets",
            id="several targets",
        ),
        pytest.param(
            HEAD + " []",
            {"target_url": "nonsense"},
            "--target: a URL here begins with http:// or https://",
            id="a bad URL",
        ),
        pytest.param(
            "version: 1",
            {"bearer": "tok"},
            "--auth-env: there is no target to use it for",
            id="a token for nothing",
        ),
    ],
)
def test_an_option_that_does_not_fit_is_named(tmp_path, text, options, message):
    """The error names the option, not the file."""
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_rules(path, {}, **options)
    assert str(raised.value) == message


def test_without_rules_everything_is_sent():
    """One target, one token for every request that had a credential."""
    rules = simple_rules("http://127.0.0.1:81", bearer="tok")
    (shot,) = plan(with_bearer(), rules, "seed", "run").shots
    assert (shot.rule, shot.target) == (None, "target")
    assert ("Authorization", "Bearer tok") in shot.headers


@pytest.mark.parametrize(
    ("url", "bearer", "message"),
    [
        pytest.param("x", None, "--target: a URL here begins with", id="a bad URL"),
        pytest.param("http://x", "s3cret\n", "--auth-env: holds a character", id="a bad token"),
        pytest.param("http://x", "", "--auth-env: is empty", id="an empty token"),
    ],
)
def test_options_without_rules_are_checked_too(url, bearer, message):
    """The error names the option and never the token."""
    with pytest.raises(ConfigError) as raised:
        simple_rules(url, bearer=bearer)
    assert str(raised.value).startswith(message)
    assert "s3cret" not in str(raised.value)


def test_a_secret_is_read_from_a_file_beside_the_rules(tmp_path):
    """One newline at its end is dropped."""
    (tmp_path / "token").write_text("tok\n")
    path = tmp_path / "rules.yaml"
    path.write_text(
        "version: 1\n"
        "targets: {s: {url: 'http://s', auth: [{use: {bearer: '${file:token}'}}]}}\n"
        "rules: [{name: a, send: {}}]\n"
    )
    (shot,) = plan(with_bearer(), load_rules(path, {}), "seed", "run").shots
    assert ("Authorization", "Bearer tok") in shot.headers
