"""Planted secrets of production and of the target: none is in a file, page, line or error."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback
import urllib.request

import pytest
from captured import bearer, cookie, fingerprint, subject
from server import exchange, write_capture
from support.access_lines import TRAEFIK_3
from support.commands import free_port

from mirrorproxy.demo.verdict import files_holding
from mirrorproxy.errors import ConfigError
from mirrorproxy.record import Credential
from mirrorproxy.rules.load import rules_of
from mirrorproxy.yamlfile import load

FUNCTIONS = """
def given(asked):
    return {given!r}

def broken(asked):
    raise ValueError({broken!r})
"""

RULES = """\
version: 1
defaults: {{unmatched: send}}
targets:
  t:
    url: '{target}'
    auth:
      - when: {{name: X-Api-Key}}
        use: {{headers: {{X-Api-Key: {api_key}}}}}
      - when: {{name: X-Given}}
        use: {{call: 'planted_functions:given'}}
      - when: {{name: X-Broken}}
        use: {{call: 'planted_functions:broken'}}
      - when: {{name: X-Minted}}
        use: {{jwt: {{key: {key}, algorithm: HS256}}}}
      - when: {{name: X-Refused}}
        use: {{client_credentials: {{token_url: '{endpoint}/refused', client_id: a,
               client_secret: {client_secret}}}}}
      - when: {{name: X-Odd}}
        use: {{client_credentials: {{token_url: '{endpoint}/odd', client_id: a}}}}
      - when: {{name: X-Text}}
        use: {{client_credentials: {{token_url: '{endpoint}/text', client_id: a}}}}
      - when: {{name: X-Down}}
        use: {{client_credentials: {{token_url: 'http://127.0.0.1:{closed}/?k={in_url}',
               client_id: a}}}}
      - use: {{login: {{url: '{endpoint}/login', form: {{p: {login_password}}}, cookie: sid}}}}
      - when: {{scheme: Bearer}}
        use: {{password: {{token_url: '{endpoint}/token',
               users: {{by: subject, file: users.csv}}}}}}
"""


class Planted:
    """Hands out secrets, each of its own, and remembers them."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def __call__(self, name: str) -> str:
        self.all.append(f"Planted{len(self.all):03d}{name}Secret5f0c61d2abcdef")
        return self.all[-1]


def answers(plant: Planted):
    cookie_value, echo, odd, text = map(plant, ("Cookie", "Echo", "Odd", "Text"))

    def answer(asked):
        name = asked.path.partition("?")[0]
        if name == "/login":
            return 302, "", {"Set-Cookie": f"sid={cookie_value}; Path=/"}
        if name == "/refused":
            return 400, {"error": f"bad {echo}", "sent": asked.basic}, {}
        if name == "/odd":
            return 200, {"access_token": f"{odd}\nX: {odd}"}, {}
        if name == "/text":
            return 200, f"<html>{text}", {}
        granted, renewal = plant("Granted"), plant("Renewal")
        return 200, {"access_token": granted, "refresh_token": renewal, "expires_in": 60}, {}

    return answer


def header(number: int, name: str):
    sealed = fingerprint(1000 + number)
    return exchange(
        number,
        headers=[("Host", "h"), (name, f"{{{sealed}}}")],
        credentials=[Credential("header", name, sealed)],
    )


def pages(process: subprocess.Popen[str], said: list[str]) -> list[str]:
    """What a running replay shows, once it has sent what it can."""
    while not (found := re.search(r"http://127\.0\.0\.1:\d+", said[-1] if said else "")):
        said.append(process.stderr.readline())
        assert said[-1], said  # it ended
    url = found[0]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{url}/status", timeout=10) as answer:
            status = answer.read().decode()
        if json.loads(status)["ledger"]["answered"] >= 6:
            break
        time.sleep(0.05)
    shown = [status]
    for path in ("/metrics", "/", "/healthz", "/readyz"):
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(url + path, timeout=10) as answer:
                shown.append(answer.read().decode())
    return shown


def test_no_secret_is_in_any_file_page_or_line(tmp_path, endpoint, target):
    """While credentials are had, refused, broken, unusable and out of reach."""
    plant = Planted()
    endpoint.answer = answers(plant)
    work, made = tmp_path / "work", tmp_path / "made"
    made.mkdir()
    captured = [
        bearer(0), bearer(1, "ben"), cookie(2), header(3, "X-Api-Key"), header(4, "X-Given"),
        header(5, "X-Minted"), header(6, "X-Broken"), header(7, "X-Refused"), header(8, "X-Odd"),
        header(9, "X-Text"), header(10, "X-Down"), header(11, "X-Unmapped"),
    ]  # fmt: skip
    write_capture(work / "capture", captured)
    logged = TRAEFIK_3 | {
        "StartUTC": "2023-11-14T22:13:20.100Z",
        "request_Authorization": f"Bearer {plant('Logged')}",
        "RequestPath": f"/x?access_token={plant('LoggedQuery')}",
    }  # fmt: skip
    (work / "access.log").write_text(json.dumps(logged) + "\n")
    (work / "users.csv").write_text(
        f"subject,user,password\n{subject('ann')},ann,{plant('PasswordAnn')}\n"
        f"{subject('ben')},ben,{plant('PasswordBen')}\n"
    )
    (work / "planted_functions.py").write_text(
        FUNCTIONS.format(given=plant("Given"), broken=plant("Broken"))
    )
    (work / "rules.yaml").write_text(
        RULES.format(
            target=target.url, endpoint=endpoint.url, closed=free_port(), api_key=plant("ApiKey"),
            key=plant("MintingKey"), client_secret=plant("ClientSecret"), in_url=plant("InUrl"),
            login_password=plant("LoginPassword"),
        )
    )  # fmt: skip
    said: list[str] = []
    paths = [str(work), *filter(None, [os.environ.get("PYTHONPATH")])]
    with subprocess.Popen(
        [sys.executable, "-m", "mirrorproxy", "replay", "capture", "access.log", "--rules",
         "rules.yaml", "--admin", "127.0.0.1:0", "--out", str(made / "out"), "--max-lag", "never"],
        cwd=work, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            said += pages(process, said)
            process.send_signal(signal.SIGINT)
            said += process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                process.kill()
    (made / "said").write_text("\n".join(said))
    text = "\n".join(said)
    for line in ("the function raised ValueError", "HTTP 400", "no credential that can be sent"):
        assert line in text
    assert "unmapped    1 of header X-Unmapped" in text
    sent = b"\n".join(b"\n".join(one.headers) for one in target.requests)
    assert sum(one.encode() in sent for one in plant.all) >= 5  # the target got its own
    assert b"Logged" not in sent
    assert len(plant.all) >= 18
    searched, leaks = files_holding(made, plant.all)
    assert searched >= 3
    assert leaks == []


SECRET = "planted5f0c61d2"


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(f"{{jwt: {{key: {SECRET}, algorithm: RS256}}}}", id="a key that is none"),
        pytest.param(f"{{jwt: {{key: {SECRET}, algorithm: HS256}}}}", id="a short key"),
        pytest.param(f"{{jwt: {{key: a, algorithm: {SECRET}}}}}", id="an algorithm"),
        pytest.param(f'{{bearer: "{SECRET}\\n"}}', id="a line break"),
        pytest.param(f"{{basic: {{user: 'a:{SECRET}', password: x}}}}", id="a colon"),
        pytest.param(f"{{headers: {{'X {SECRET[:0]}': {SECRET}}}}}", id="a header's name"),
        pytest.param(f'{{headers: {{X-A: "{SECRET}\\r"}}}}', id="a header's value"),
        pytest.param(
            f"{{client_credentials: {{token_url: 'https://u:{SECRET}@h/', client_id: a}}}}",
            id="a URL with a password",
        ),
        pytest.param(
            f"{{client_credentials: {{token_url: 'h://{SECRET}', client_id: a}}}}", id="no URL"
        ),
        pytest.param(
            f"{{password: {{token_url: 'https://h', user: a, password: [{SECRET}]}}}}", id="a list"
        ),
        pytest.param(
            "{password: {token_url: 'https://h', users: {by: user,"
            f" entries: {{a: {SECRET}}}}}}}}}",
            id="a text for a user",
        ),
        pytest.param("{table: {by: user, file: bad.csv}}", id="a table that is no CSV"),
        pytest.param("{table: {by: user, file: bytes.csv}}", id="a table that is no text"),
        pytest.param("{table: {by: user, file: bad.yaml}}", id="a table that is no YAML"),
        pytest.param("{call: 'planted_broken:function'}", id="a module that cannot be loaded"),
        pytest.param(f"{{bearer: '${{secretsmanager:{'x' * 3}}}'}}", id="a store out of reach"),
    ],
)
def test_no_secret_is_in_an_error_of_a_rule_file(use, tmp_path, monkeypatch):
    """Nor in the errors behind it: an error that nobody expected is printed with all of them."""
    (tmp_path / "bad.csv").write_text(f'user,token\nann,"{SECRET}\n')
    (tmp_path / "bytes.csv").write_bytes(f"user,token\nann,{SECRET}\xff\n".encode("latin-1"))
    (tmp_path / "bad.yaml").write_text(f"ann: [{SECRET}\n")
    (tmp_path / "planted_broken.py").write_text(f"raise ValueError('{SECRET}')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    text = f"version: 1\ntargets: {{t: {{url: 'http://h', auth: [{{use: {use}}}]}}}}\n"
    with pytest.raises(ConfigError) as caught:
        rules_of(load(text, name="rules.yaml"), tmp_path, {})
    seen = []
    error: BaseException | None = caught.value
    while error is not None:
        seen.append(repr(error) + repr(vars(error)))
        error = error.__cause__ or error.__context__
    # The lines of source that a traceback shows are this test's own, with the secret in them.
    shown = "".join(
        traceback.TracebackException.from_exception(caught.value).format_exception_only()
    )
    assert SECRET not in shown + "".join(seen)
