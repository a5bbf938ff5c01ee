"""A capture with Consul: its apps, its registrations, its keys, and Traefik's document for taps.

Owns the joining of what `control` knows of Consul and of Traefik with the addresses
of this mirror. Loaded only when Consul is asked for: py-consul is an extra.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from mirrorproxy import __version__
from mirrorproxy.capture.listeners import Address
from mirrorproxy.commands.capture_control import Ground
from mirrorproxy.config import CaptureSettings
from mirrorproxy.config_consul import ConsulSettings
from mirrorproxy.control import tags
from mirrorproxy.control.consul import ConsulClient
from mirrorproxy.control.consul_control import ConsulControl
from mirrorproxy.control.kv_words import capture_prefix
from mirrorproxy.control.neighbours import Neighbours
from mirrorproxy.control.registrar import RegistrarSettings
from mirrorproxy.control.token import TokenFile
from mirrorproxy.control.traefik import provider_document, recorded_percent
from mirrorproxy.control.watch import watch_values
from mirrorproxy.errors import ConfigError

log = logging.getLogger(__name__)


class CaptureConsul:
    """What watches Consul for one mirror; see `capture_control.Control`.

    Made within the mirror's event loop. Raises ConfigError.
    """

    def __init__(self, settings: CaptureSettings, consul: ConsulSettings, ground: Ground) -> None:
        if ground.admin is None or ground.listen is None:
            raise ConfigError("Consul checks the mirror's health there", file="--admin")
        self._client = ConsulClient(
            consul.url,
            token=TokenFile(Path(consul.token_file) if consul.token_file else None),
            datacenter=consul.datacenter,
        )
        self._prefix = capture_prefix(settings.name)
        self._heard = ground.follower(self._prefix)
        self._tap = _tap_url(ground.tap, consul)
        self._reader = TagReader(consul.default_rule)
        self._control = ConsulControl(
            self._client,
            registrar_settings(settings.name, consul, ground.listen, ground.admin),
            ground.publish,
            read_tags=self._reader.read,
            mirror_tags=functools.partial(tags.mirror_tags, default_rule=consul.default_rule),
            see_catalog=self._reader.see_catalog,
        )

    async def run(self) -> None:
        """Follow the catalog and the keys until it is cancelled."""
        keys = asyncio.create_task(
            watch_values(self._client, self._prefix, self._heard, on_problem=_ignored)
        )
        try:
            await self._control.run()
        finally:
            keys.cancel()
            await asyncio.gather(keys, return_exceptions=True)

    async def close(self) -> None:
        """Deregister; what was published stays to be served."""
        await self._control.close()
        await self._client.close()

    def status(self) -> object:
        """Return what is known of Consul, for `/status`."""
        return self._control.status()

    def document(self) -> object:
        """Return what Traefik's HTTP provider is to know: the routers of taps."""
        found = self._control.found().values()
        apps = [self._reader.read(one.service, one.tags) for one in found if one.app is not None]
        return provider_document(apps, [self._tap] if self._tap else [])


class TagReader:
    """Reads apps' tags as the catalog stands around them. default_rule: as for `tags.parse_app`."""

    def __init__(self, default_rule: str | None) -> None:
        self._default_rule = default_rule
        self._neighbours = Neighbours({})

    def see_catalog(self, services: Mapping[str, Sequence[str]]) -> None:
        """Take note of all services with their tags, before their apps are read."""
        self._neighbours = Neighbours(services, default_rule=self._default_rule)

    def read(self, service: str, given: Sequence[str]) -> tags.AppTags:
        """Return what an app's tags say here, its percent being of what reaches the mirror."""
        app = tags.parse_app(service, given, default_rule=self._default_rule)
        crowd = self._neighbours.crowd(app)
        return msgspec.structs.replace(
            app,
            percent=recorded_percent(app),
            problems=(*app.problems, crowd) if crowd else app.problems,
        )


def registrar_settings(
    name: str, consul: ConsulSettings, listen: Address, admin: Address
) -> RegistrarSettings:
    """Return how a mirror registers that listens there.

    The agent asks for its health where the admin server is; one on every interface
    is asked where the mirror itself is reached. Raises ConfigError.
    """
    address = consul.advertise_host
    if address is None:
        address = "" if _is_everywhere(listen) else listen.host
    health = admin
    if _is_everywhere(admin):
        health = Address(consul.advertise_host or "127.0.0.1", admin.port)
    return RegistrarSettings(
        name=name,
        version=__version__,
        address=address,
        port=consul.advertise_port or listen.port,
        health_url=f"http://{health}",
    )


def _tap_url(tap: Address | None, consul: ConsulSettings) -> str | None:
    if tap is None:
        return None
    host = consul.advertise_host
    if host is None and _is_everywhere(tap):
        raise ConfigError("say where Traefik reaches the tap: --advertise HOST", file="--tap")
    return f"http://{Address(host or tap.host, tap.port)}"


def _is_everywhere(address: Address) -> bool:
    try:
        return ipaddress.ip_address(address.host).is_unspecified
    except ValueError:
        return False


def _ignored(problem: str | None) -> None:
    """Say nothing: the catalog is read from the same agent, and tells."""
