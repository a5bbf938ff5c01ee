"""The part `consul` of a configuration: where apps are found, and what goes with that."""

from __future__ import annotations

import msgspec

from mirrorproxy.config_limits import Fail, Part, address_of
from mirrorproxy.http1.origin import parse_origin

DRAIN_WAIT_S = 3.0
"""How long to serve on after deregistering: Traefik follows within a second where it watches."""


class ConsulConfig(Part, frozen=True):
    """`consul`: where apps are found by their tags, and the mirror registers for them.

    advertise: HOST[:PORT] that Traefik reaches the mirror at. default_rule: a template
    for apps without a rule of their own.
    """

    url: str | None = None
    token_file: str | None = None
    datacenter: str | None = None
    advertise: str | None = None
    default_rule: str | None = None


class ConsulSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How apps are found in Consul. advertise_port: None for the one that is listened on."""

    url: str
    token_file: str | None
    datacenter: str | None
    advertise_host: str | None
    advertise_port: int | None
    default_rule: str | None


def resolve_consul(consul: ConsulConfig, fail: Fail) -> ConsulSettings | None:
    """Return how apps are found, None without Consul. Raises what fail makes."""
    if consul.url is None:
        for key in ("token_file", "datacenter", "advertise", "default_rule"):
            if getattr(consul, key) is not None:
                raise fail("only with Consul: say its URL", ("consul", key))
        return None
    try:
        parse_origin(consul.url)
    except ValueError as error:
        raise fail(str(error), ("consul", "url")) from None
    host, port = _advertised(consul.advertise, fail)
    return ConsulSettings(
        url=consul.url,
        token_file=consul.token_file,
        datacenter=consul.datacenter,
        advertise_host=host,
        advertise_port=port,
        default_rule=consul.default_rule,
    )


def _advertised(text: str | None, fail: Fail) -> tuple[str | None, int | None]:
    if text is None:
        return None, None
    at = ("consul", "advertise")
    has_port = ":" in text and not text.endswith("]")
    address = address_of(text if has_port else f"{text}:1", at, fail)
    if text.startswith(":") or not text or address.port == 0:
        raise fail("expected HOST or HOST:PORT that Traefik can reach", at)
    return address.host, address.port if has_port else None
