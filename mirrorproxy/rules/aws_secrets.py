"""Secrets that AWS keeps: Secrets Manager, and parameters of Systems Manager.

Owns the asking for one. boto3 is an extra, loaded when a file names such a secret; it finds
region and permission as it always does. Values never appear in errors.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

_TIMEOUT_S = 10


def read_secret(store: str, name: str) -> str:
    """Return a secret.

    store: ``secretsmanager`` or ``ssm``. name: of the secret, for Secrets Manager with
    ``#KEY`` for one key of a secret that is a JSON object; or of the parameter.
    Raises ValueError, which says why there is none.
    """
    value: object = None
    problem = ""
    try:
        if store == "ssm":
            answer = _client("ssm").get_parameter(Name=name, WithDecryption=True)
            return _text(answer["Parameter"].get("Value"))
        secret, _, key = name.partition("#")
        answer = _client("secretsmanager").get_secret_value(SecretId=secret)
        value = answer.get("SecretString")
    except ImportError:
        problem = "it needs the extra: pip install 'mirrorproxy[aws]'"
    except ValueError as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 - botocore makes classes of errors as it goes
        problem = _reason(error)
    if problem:
        # Outside of the handlers: a context would keep whatever the library said.
        raise ValueError(problem)
    return _text(_of_json(value, key) if key else value)


def _client(service: str) -> Any:
    boto3 = importlib.import_module("boto3")
    config = importlib.import_module("botocore.config").Config(
        connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"mode": "standard"}
    )
    return boto3.client(service, config=config)


def _reason(error: Exception) -> str:
    """Return AWS's own code where it answered, else the kind of error."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return code if isinstance(code, str) and code.isidentifier() else type(error).__name__


def _of_json(value: object, key: str) -> object:
    data: object = None
    if isinstance(value, str):
        try:
            data = json.loads(value)
        except (ValueError, RecursionError):
            data = None
    if not isinstance(data, dict) or key not in data:
        raise ValueError(f"it is no JSON object with the key {key}")
    found: object = data[key]
    return found if isinstance(found, str) else json.dumps(found)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("it holds no text")
    return value
