"""Capture's configuration: file and options, and each mistake at its place."""

import argparse
from pathlib import Path

import pytest

from mirrorproxy.capture.listeners import Address
from mirrorproxy.commands.capture_options import add_options, settings_of
from mirrorproxy.config import CaptureSettings
from mirrorproxy.config_consul import ConsulSettings
from mirrorproxy.errors import ConfigError

BASE = ["--listen", "127.0.0.1:0", "--upstream", "http://app:8080", "--to", "/capture"]


def settings(*options: str, environ: dict[str, str] | None = None) -> CaptureSettings:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return settings_of(parser.parse_args(options), environ or {})


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "capture.yaml"
    path.write_text(text)
    return str(path)


FILE = """\
version: 1
listen: 0.0.0.0:8000
to: /var/lib/capture
name: mirror-1
workers: 3
strict: true
services:
  - name: orders
    upstream: https://10.0.3.7:8443/base
    match: {host: api.example.com, path: ["/orders/**", /carts]}
    tls: {verify: false}
    record: {method: [POST, PUT], exclude_path: /health, status: [2xx, 404]}
    percent: 10
    percent_by: session
    response_body: true
  - name: rest
    upstream: http://10.0.3.8:8080
spool: {directory: /var/spool/mirrorproxy, limit: 1GiB}
roll: {size: 8MiB, age: 1m}
seal:
  headers: {X-Trace: keep}
limits: {response_timeout: 30s, request_head: 64KiB}
drain_timeout: 20s
admin: "off"
"""


def test_options_alone() -> None:
    """Three options are enough; the rest has defaults."""
    found = settings(*BASE, "--workers", "2", "--name", "m")
    assert found.listen == Address("127.0.0.1", 0)
    assert found.admin == Address("127.0.0.1", 9808)
    assert (found.name, found.workers, found.strict) == ("m", 2, False)
    assert [(one.name, one.upstream, one.percent) for one in found.services] == [
        ("default", "http://app:8080", 100.0)
    ]
    assert found.spool.directory == "/capture/.spool"
    assert found.seal_key_file is None


def test_whole_file(tmp_path: Path) -> None:
    """Every part of the file reaches the settings."""
    found = settings("--config", written(tmp_path, FILE))
    orders, rest = found.services
    assert orders.hosts == ("api.example.com",)
    assert orders.paths == ("/orders/**", "/carts")
    assert orders.filters.methods == ("POST", "PUT")
    assert orders.filters.exclude == ("/health",)
    assert orders.filters.status == ("2xx", "404")
    assert (orders.percent, orders.percent_by, orders.response_body) == (10.0, "session", True)
    assert not orders.tls.verify
    assert rest.percent == 100.0
    assert (found.workers, found.strict, found.admin) == (3, True, None)
    assert found.spool.limit_bytes == 1 << 30
    assert (found.roll_bytes, found.roll_age_s) == (8 << 20, 60.0)
    assert found.seal.headers == {"x-trace": "keep"}
    assert found.client.response_timeout_s == 30.0
    assert found.server.max_head_bytes == 64 << 10
    assert found.drain_timeout_s == 20.0


def test_options_win_over_the_file(tmp_path: Path) -> None:
    """What is said on the command line holds; what is not stays as in the file."""
    found = settings(
        "--config", written(tmp_path, FILE), "--listen", ":81", "--percent", "50",
        "--spool-limit", "2GiB", "--drain-timeout", "1m",
    )  # fmt: skip
    assert found.listen == Address("0.0.0.0", 81)
    assert [one.percent for one in found.services] == [50.0, 50.0]
    assert found.spool.limit_bytes == 2 << 30
    assert found.spool.directory == "/var/spool/mirrorproxy"
    assert found.drain_timeout_s == 60.0
    assert found.strict


def test_upstream_of_the_only_service_can_be_replaced(tmp_path: Path) -> None:
    """With one service in the file it is clear which one is meant."""
    path = written(tmp_path, "services: [{name: orders, upstream: http://a, percent: 5}]\n")
    found = settings("--config", path, *BASE)
    assert [(one.name, one.upstream, one.percent) for one in found.services] == [
        ("orders", "http://app:8080", 5.0)
    ]


def test_environment_in_the_file(tmp_path: Path) -> None:
    """Values may come from the environment."""
    path = written(tmp_path, "name: ${POD}\n")
    assert settings("--config", path, *BASE, environ={"POD": "pod-7"}).name == "pod-7"


CONSUL = ["--listen", ":1", "--to", "x", "--consul", "http://127.0.0.1:8500"]


def test_with_consul_nothing_else_need_be_said() -> None:
    """Apps say by their tags what is forwarded; the mirror serves on for 3 s when it leaves."""
    found = settings(*CONSUL)
    assert found.services == ()
    assert found.consul == ConsulSettings(
        url="http://127.0.0.1:8500",
        token_file=None,
        datacenter=None,
        advertise_host=None,
        advertise_port=None,
        default_rule=None,
    )
    assert found.drain_wait_s == 3.0
    assert found.upstream_tls.verify


def test_without_consul_nobody_waits_at_the_end() -> None:
    """There is nothing to deregister from; a wait can be asked for all the same."""
    assert settings(*BASE).consul is None
    assert settings(*BASE).drain_wait_s == 0.0
    assert settings(*BASE, "--drain-wait", "7s").drain_wait_s == 7.0
    assert settings(*CONSUL, "--drain-wait", "0").drain_wait_s == 0.0


def test_options_about_traefik_and_consul() -> None:
    """Each stands for its key."""
    found = settings(
        *CONSUL, "--consul-token-file", "/token", "--datacenter", "dc2", "--default-rule",
        "Host(`{{ .Name }}.test`)", "--tap", ":81", "--upstream-skip-verify",
    )  # fmt: skip
    assert found.consul is not None
    assert (found.consul.token_file, found.consul.datacenter) == ("/token", "dc2")
    assert found.consul.default_rule == "Host(`{{ .Name }}.test`)"
    assert found.tap == Address("0.0.0.0", 81)
    assert not found.upstream_tls.verify


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("mirror-1.internal", "mirror-1.internal", None),
        ("10.0.0.7:8000", "10.0.0.7", 8000),
        ("[fd00::7]", "fd00::7", None),
        ("[fd00::7]:8000", "fd00::7", 8000),
    ],
)
def test_where_traefik_reaches_the_mirror(text: str, host: str, port: int | None) -> None:
    """A host, with a port where it is not the one that is listened on."""
    found = settings(*CONSUL, "--advertise", text).consul
    assert found is not None
    assert (found.advertise_host, found.advertise_port) == (host, port)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            [*BASE, "--datacenter", "dc2"],
            "--datacenter: only with Consul: say its URL",
            id="Consul's without Consul",
        ),
        pytest.param(
            [*CONSUL, "--consul", "127.0.0.1:8500"],
            "--consul: a URL here begins with http:// or https://",
            id="Consul without a scheme",
        ),
        pytest.param(
            [*CONSUL, "--strict"],
            "--strict: not with Consul: Traefik faces the clients then",
            id="strict behind Traefik",
        ),
        pytest.param(
            [*CONSUL, "--advertise", ":8000"],
            "--advertise: expected HOST or HOST:PORT that Traefik can reach",
            id="every interface is nowhere",
        ),
        pytest.param(
            [*CONSUL, "--advertise", "a:0"],
            "--advertise: expected HOST or HOST:PORT that Traefik can reach",
            id="any port is none",
        ),
        pytest.param(
            [*CONSUL, "--percent", "10"],
            "--percent: about --upstream only; apps in Consul say it by tags",
            id="a share of no service",
        ),
        pytest.param(
            [*BASE, "--upstream-ca", "/no/such"],
            "--upstream-ca: /no/such cannot be read: No such file or directory",
            id="no authorities",
        ),
        pytest.param([], "--listen: say where to listen: HOST:PORT", id="nothing"),
        pytest.param(
            ["--listen", ":1", "--to", "x"],
            "--upstream: say what to forward to: a URL",
            id="no app",
        ),
        pytest.param(
            ["--listen", ":1", "--upstream", "http://a"],
            "--to: say where the capture goes: a directory, s3:// or firehose://",
            id="no target",
        ),
        pytest.param(
            [*BASE, "--listen", "8000"],
            "--listen: expected HOST:PORT, such as 127.0.0.1:8080, not '8000'",
            id="no host",
        ),
        pytest.param(
            [*BASE, "--upstream", "app:8080"],
            "--upstream: a URL here begins with http:// or https://",
            id="no scheme",
        ),
        pytest.param(
            [*BASE, "--upstream", "http://u:hunter2@app"],
            "--upstream: the URL must not hold a user or a password",
            id="a password is not repeated",
        ),
        pytest.param(
            ["--listen", "127.0.0.1:80", "--to", "x", "--upstream", "http://127.0.0.1"],
            "--upstream: the mirror itself: requests would go in circles",
            id="itself",
        ),
        pytest.param(
            [*BASE, "--percent", "101"], "--percent: a share is from 0 to 100", id="share"
        ),
        pytest.param(
            [*BASE, "--workers", "0"], "--workers: a mirror has 1 to 64 workers", id="none"
        ),
        pytest.param(
            [*BASE, "--drain-timeout", "soon"],
            "--drain-timeout: expected a duration such as 800ms, 10s, 5m or 1h30m",
            id="duration",
        ),
        pytest.param([*BASE, "--roll-size", "0"], "--roll-size: more than 0 is needed", id="zero"),
        pytest.param(
            [*BASE, "--to", "gs://bucket/x"],
            "--to: gs:// is not a kind of sink; known: a directory, s3://, firehose://",
            id="no such sink",
        ),
        pytest.param(
            [*BASE, "--to", "s3://bucket/x"],
            "spool.directory: say where the spool is: --spool DIRECTORY",
            id="no spool",
        ),
        pytest.param(
            [*BASE, "--to", ""],
            "--to: say where the capture goes: a directory, s3:// or firehose://",
            id="nowhere",
        ),
        pytest.param(
            [*BASE, "--name", "a/b"],
            "--name: a name has letters, digits, '.', '_' and '-', 63 at most",
            id="name",
        ),
    ],
)
def test_mistakes_in_options(options: list[str], message: str) -> None:
    """One line that names the option."""
    with pytest.raises(ConfigError) as error:
        settings(*options)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "where"),
    [
        pytest.param("lissen: x\n", "1: lissen: unknown key; did you mean listen?", id="unknown"),
        pytest.param(
            "listen: :1\nto: x\n", "1: services: say what to forward to: a URL", id="none"
        ),
        pytest.param(
            "listen: :1\nto: x\nservices:\n  - {name: a, upstream: ftp://b}\n",
            "4: services[0].upstream: a URL here begins with http:// or https://",
            id="upstream",
        ),
        pytest.param(
            "listen: :1\nto: x\nservices:\n  - {name: a, upstream: http://b}\n"
            "  - {name: b, upstream: http://b}\n",
            "5: services[1]: never reached: a before it takes every request",
            id="shadowed",
        ),
        pytest.param(
            "listen: :1\nto: x\nservices:\n  - {name: a, upstream: http://b, match: {path: /a}}\n"
            "  - {name: a, upstream: http://b}\n",
            "5: services[1].name: two services have this name",
            id="twice",
        ),
        pytest.param(
            "listen: :1\nto: x\nservices:\n"
            "  - {name: a, upstream: http://b, tls: {verify: false}}\n",
            "4: services[0].tls: the upstream is not https",
            id="tls without https",
        ),
        pytest.param(
            "listen: :1\nto: x\nservices:\n"
            "  - {name: a, upstream: https://b, tls: {ca_file: /nowhere.pem}}\n",
            "4: services[0].tls.ca_file: /nowhere.pem cannot be read: No such file or directory",
            id="authorities",
        ),
        pytest.param(
            "listen: :1\nto: x\nservices:\n"
            "  - {name: a, upstream: http://b, record: {status: 999x}}\n",
            "4: services[0].record: a status is a code, a class or a range"
            " (404, 5xx, 400-499): '999x'",
            id="status",
        ),
        pytest.param(
            "listen: :1\nto: x\nspool:\n  limit: 1MiB\nservices: [{name: a, upstream: http://b}]\n",
            "4: spool.limit: smaller than one segment (spool.segment, 64MiB)",
            id="spool",
        ),
        pytest.param(
            "listen: :1\nto: x\nservices:\n"
            "  - {name: a, upstream: http://b, record: {method: [GET, post]}}\n",
            "4: services[0].record.method: methods are in upper case, such as POST",
            id="method that would fit nothing",
        ),
        pytest.param(
            "seal: {headers: {a: hide}}\n",
            "1: seal.headers.a: expected drop, keep or seal",
            id="mode",
        ),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, text: str, where: str) -> None:
    """One line that names file, line and key."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        settings("--config", path)
    assert str(error.value).removeprefix(path).removeprefix(":") == where


def test_upstream_for_several_services_is_refused(tmp_path: Path) -> None:
    """Nobody could say which one was meant."""
    with pytest.raises(ConfigError, match="--upstream: the file has several services"):
        settings("--config", written(tmp_path, FILE), "--upstream", "http://x")
