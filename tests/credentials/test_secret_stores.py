"""Secrets of a rule file that AWS keeps, read from an emulator as boto3 reads them."""

from __future__ import annotations

import pytest
from captured import bearer

from mirrorproxy.errors import ConfigError
from mirrorproxy.rules.load import rules_of
from mirrorproxy.yamlfile import load

RULES = """\
version: 1
targets: {{t: {{url: "http://h", auth: [{{use: {{bearer: "{value}"}}}}]}}}}
"""


@pytest.fixture
def stores(ministack, monkeypatch):
    for name, value in ministack.environ().items():
        monkeypatch.setenv(name, value)
    return ministack


def token_of(value: str, tmp_path) -> str:
    """What the expanded file holds."""
    rules = rules_of(load(RULES.format(value=value), name="rules.yaml"), tmp_path, {})
    return rules.targets["t"].auth.replacement(bearer(0)).headers["authorization"][1]


def test_secrets_manager(stores, tmp_path):
    """A secret that is text, and one key of one that is a JSON object."""
    client = stores.client("secretsmanager")
    client.create_secret(Name="staging/token", SecretString="tok-1")
    client.create_secret(Name="staging/app", SecretString='{"id": "a", "secret": "tok-2"}')
    assert token_of("${secretsmanager:staging/token}", tmp_path) == "Bearer tok-1"
    assert token_of("${secretsmanager:staging/app#secret}", tmp_path) == "Bearer tok-2"


def test_parameters_of_systems_manager(stores, tmp_path):
    """Decrypted."""
    stores.client("ssm").put_parameter(Name="/staging/token", Value="tok-3", Type="SecureString")
    assert token_of("x-${ssm:/staging/token}", tmp_path) == "Bearer x-tok-3"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param(
            "${secretsmanager:nowhere}",
            "secretsmanager:nowhere cannot be had: ResourceNotFoundException",
            id="no secret",
        ),
        pytest.param("${ssm:/nowhere}", "ssm:/nowhere cannot be had: ParameterNotFound", id="no"),
        pytest.param(
            "${secretsmanager:odd#key}",
            "secretsmanager:odd#key cannot be had: it is no JSON object with the key key",
            id="no key",
        ),
    ],
)
def test_what_cannot_be_had_is_named(stores, tmp_path, value, said):
    """With file, line and key, and without anything of the secret."""
    client = stores.client("secretsmanager")
    if "odd" in value:
        client.create_secret(Name="odd", SecretString="planted5f0c61d2")
    with pytest.raises(ConfigError) as caught:
        token_of(value, tmp_path)
    assert str(caught.value) == f"rules.yaml:2: targets.t.auth[0].use.bearer: {said}"
    error: BaseException | None = caught.value
    while error is not None:
        assert "planted5f0c61d2" not in repr(error)
        error = error.__context__
