"""docs/configuration.md, held to the code."""

import datetime
import re
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import inspect

from mirrorproxy import config
from mirrorproxy.commands.capture_options import OPTIONS, SERVICE_OPTIONS
from mirrorproxy.units import Bytes, Seconds, parse_duration, parse_size

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
ROWS = dict(re.findall(r"^\| `([a-z_.\[\]]+)` \|(.*?)\| .*\|$", PAGE, re.MULTILINE))


def keys(type_: inspect.Type, prefix: str) -> dict[str, object]:
    """Return every key below a struct with its default."""
    found: dict[str, object] = {}
    assert isinstance(type_, inspect.StructType)
    for field in type_.fields:
        name = f"{prefix}{field.encode_name}"
        found[name] = field.default
        deeper, below = field.type, f"{name}."
        if isinstance(deeper, inspect.VarTupleType):
            deeper, below = deeper.item_type, f"{name}[]."
        if isinstance(deeper, inspect.StructType):
            found |= keys(deeper, below)
    return found


KEYS = keys(inspect.type_info(config.CaptureConfig), "")


def test_every_key_is_documented_and_every_documented_key_exists() -> None:
    """The tables and the file's shape can't drift apart."""
    assert set(ROWS) == set(KEYS)


@pytest.mark.parametrize(
    "key", sorted(key for key, default in KEYS.items() if isinstance(default, (int, float, str)))
)
def test_documented_default(key: str) -> None:
    """A default that is a plain value stands in the table as it is."""
    default, shown = KEYS[key], ROWS[key].strip().strip("`")
    if isinstance(default, bool):
        assert shown == str(default).lower()
    elif isinstance(default, Bytes):
        assert parse_size(shown) == default
    elif isinstance(default, Seconds):
        assert parse_duration(shown) == default
    else:
        assert shown == str(default)


def certificate() -> str:
    """Return a self-signed certificate as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "orders")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_example_is_a_valid_file(tmp_path: Path) -> None:
    """The example at the top loads and resolves as it stands."""
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    path, authorities = tmp_path / "capture.yaml", tmp_path / "ca.pem"
    path.write_text(example)
    authorities.write_text(certificate())
    found, document = config.load(path, {"ORDERS_CA": str(authorities)})
    settings = config.resolve(found, document.error)
    assert [service.name for service in settings.services] == ["orders", "shop"]
    assert settings.client.response_timeout_s == 30.0


def test_every_option_for_a_key_is_named() -> None:
    """Whoever reads of a key finds the option that stands for it."""
    options = {*OPTIONS, *SERVICE_OPTIONS}
    assert {option for option in options if f"`{option}`" not in PAGE} == set()
