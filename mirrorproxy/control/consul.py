"""Consul: the few calls that mirrorproxy needs of it, on py-consul's asyncio client.

Owns connections, the token and the translation of everything that can go wrong
into `CatalogUnavailable`. Knows no apps and no mirrors. The only module that
imports py-consul, which is an extra: import it where it is wanted.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from mirrorproxy.control.catalog import Answer, Entry, Registration
from mirrorproxy.control.token import TokenFile
from mirrorproxy.errors import CatalogUnavailable, ConfigError

try:
    import consul.aio
    from consul import Check
except ImportError as missing:
    raise ConfigError(
        "Consul needs the extra: pip install 'mirrorproxy[consul]'", file="--consul"
    ) from missing

MAX_WAIT_S = 240
"""How long a blocking query may wait: Consul adds up to a sixteenth, and 5 minutes end it."""

CALL_TIMEOUT_S = 10.0
"""For a call that does not wait for a change."""

_BLOCKED_TIMEOUT_S = 20.0
"""What a blocking query may take beyond its wait and the sixteenth."""

_CONNECT_TIMEOUT_S = 5.0

MAX_BLOCKED = 100
"""Blocking queries at one moment. An agent takes 200 connections of one address
(limits.http_max_conns_per_client), and others of this machine speak to it too."""

_OTHERS = 20
"""Connections for calls that do not wait."""

CROWDED_WAIT_S = 5
"""How long each waits where there are more watches than `MAX_BLOCKED`: they take turns."""


class _Transport(consul.aio.HTTPClient):  # type: ignore[misc]  # py-consul has no types
    """py-consul's transport over a session of ours.

    Its own has aiohttp warn about options that are going, allows 100
    connections, and waits to connect for as long as for an answer.
    """

    def __init__(self, host: str, port: int, scheme: str) -> None:
        consul.base.HTTPClient.__init__(self, host, port, scheme)
        context = ssl.create_default_context() if scheme == "https" else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_BLOCKED + _OTHERS, ssl=context),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S),
        )


class _Api(consul.aio.Consul):  # type: ignore[misc]
    def http_connect(
        self, host: str, port: int, scheme: str, verify: object = True, cert: object = None
    ) -> _Transport:
        return _Transport(host, port, scheme)


class ConsulClient:
    """One agent's HTTP interface. Made and used within one running event loop.

    url: ``http://127.0.0.1:8500``, or https (SSL_CERT_FILE names a CA of one's own).
    datacenter: whose catalog and keys are read; the agent's own if None.
    Raises ConfigError for a URL that is none. Every call raises
    `CatalogUnavailable` with one line that holds no secret.
    """

    def __init__(
        self, url: str, *, token: TokenFile | None = None, datacenter: str | None = None
    ) -> None:
        scheme, host, port = parse_url(url)
        self.url = f"{scheme}://{host}:{port}"
        self._token = token or TokenFile(None)
        self._api = _Api(host, port, scheme=scheme, dc=datacenter)
        self._blocked = asyncio.Semaphore(MAX_BLOCKED)
        self._watches = 0

    async def close(self) -> None:
        """Close its connections; what is being asked fails."""
        await self._api.close()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Count one more watch, so that blocking queries know how many share the connections."""
        self._watches += 1
        try:
            yield
        finally:
            self._watches -= 1

    async def services(self, index: int = 0) -> Answer[dict[str, tuple[str, ...]]]:
        """Return all services with the tags that any instance of them has.

        index: 0 answers at once, another waits for the next change after it
        or for `MAX_WAIT_S` seconds. So do all reads that take one.
        """
        return await self._read(self._api.catalog.services, index, _Services)

    async def instances(self, service: str, index: int = 0) -> Answer[tuple[Entry, ...]]:
        """Return all instances of a service, healthy or not, by their IDs."""
        found = await self._read(self._api.health.service, index, list[_Health], service)
        entries = sorted((one.entry() for one in found.value), key=lambda one: one.id)
        return Answer(found.index, tuple(entries))

    async def values(self, prefix: str, index: int = 0) -> Answer[dict[str, str]]:
        """Return all keys with a prefix and their values; bytes that are no UTF-8 are replaced."""
        found = await self._read(
            self._api.kv.get, index, list[_Pair] | None, prefix.lstrip("/"), recurse=True
        )
        values = {
            one.key: (one.value or b"").decode("utf-8", "replace") for one in found.value or ()
        }
        return Answer(found.index, values)

    async def registered(self) -> dict[str, Entry]:
        """Return the agent's own services by ID. Says nothing about health."""
        found = await self._ask(
            self._api.agent.services(token=self._token.value()), CALL_TIMEOUT_S, "agent services"
        )
        services = _convert(found, dict[str, _AgentService], "agent services")
        return {id_: one.entry(id_) for id_, one in services.items()}

    async def register(self, wanted: Registration) -> None:
        """Register a service, or change one of the same ID."""
        check = Check.http(
            wanted.check_url,
            f"{wanted.interval_s}s",
            timeout=f"{wanted.timeout_s}s",
            deregister=f"{wanted.remove_after_s}s",
        )
        call = self._api.agent.service.register(
            wanted.name,
            service_id=wanted.id,
            address=wanted.address,
            port=wanted.port,
            tags=list(wanted.tags),
            meta=dict(wanted.meta),
            check=check,
            replace_existing_checks=True,
            token=self._token.value(),
        )
        await self._ask(call, CALL_TIMEOUT_S, f"register {wanted.name}")

    async def deregister(self, service_id: str) -> None:
        """Take a service from the agent; one that it does not have is fine."""
        call = self._api.agent.service.deregister(service_id, token=self._token.value())
        await self._ask(call, CALL_TIMEOUT_S, f"deregister {service_id}")

    async def _read(
        self, method: Any, index: int, shape: Any, *args: object, **options: object
    ) -> Answer[Any]:
        what = " ".join((method.__name__, *map(str, args)))
        if not index:
            call = method(*args, token=self._token.value(), **options)
            return self._answer(await self._ask(call, CALL_TIMEOUT_S, what), shape, what)
        async with self._blocked:
            wait_s = MAX_WAIT_S if self._watches <= MAX_BLOCKED else CROWDED_WAIT_S
            call = method(
                *args, index=index, wait=f"{wait_s}s", token=self._token.value(), **options
            )
            timeout_s = wait_s * 17 / 16 + _BLOCKED_TIMEOUT_S
            return self._answer(await self._ask(call, timeout_s, what), shape, what)

    def _answer(self, found: Any, shape: Any, what: str) -> Answer[Any]:
        index, value = found
        if not (str(index).isascii() and str(index).isdigit()):
            raise CatalogUnavailable(f"Consul: {what}: its index is no number")
        # "It is a bug in Consul if it is not [above 0] ... the client should set index 1."
        # https://developer.hashicorp.com/consul/api-docs/features/blocking
        return Answer(max(1, int(index)), _convert(value, shape, what))

    async def _ask(self, call: Awaitable[Any], timeout_s: float, what: str) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                return await call
        except TimeoutError:
            raise CatalogUnavailable(f"Consul: {what}: no answer from {self.url}") from None
        except consul.ACLPermissionDenied as error:
            raise CatalogUnavailable(f"Consul: {what}: denied: {_line(error)}") from None
        except consul.ConsulException as error:
            raise CatalogUnavailable(f"Consul: {what}: {_line(error)}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CatalogUnavailable(f"Consul: {what}: {_line(error)}") from None
        except RuntimeError as error:
            # aiohttp's, for a session that was closed meanwhile.
            raise CatalogUnavailable(f"Consul: {what}: {_line(error)}") from None


class _Node(msgspec.Struct, rename="pascal"):
    address: str = ""


class _AgentService(msgspec.Struct, rename="pascal"):
    tags: list[str] | None = None
    meta: dict[str, str] | None = None
    address: str = ""
    port: int = 0

    def entry(self, service_id: str) -> Entry:
        return Entry(
            id=service_id,
            address=self.address,
            port=self.port,
            tags=tuple(self.tags or ()),
            meta=self.meta or {},
        )


class _Service(_AgentService, rename="pascal"):
    id: str = msgspec.field(name="ID", default="")
    modify_index: int = 0


class _CheckState(msgspec.Struct, rename="pascal"):
    status: str = "critical"


class _Health(msgspec.Struct, rename="pascal"):
    node: _Node
    service: _Service
    checks: list[_CheckState]

    def entry(self) -> Entry:
        return Entry(
            id=self.service.id,
            address=self.service.address or self.node.address,
            port=self.service.port,
            tags=tuple(self.service.tags or ()),
            meta=self.service.meta or {},
            changed=self.service.modify_index,
            # As Traefik does: a warning keeps its traffic.
            healthy=all(check.status in {"passing", "warning"} for check in self.checks),
        )


class _Pair(msgspec.Struct, rename="pascal"):
    key: str
    value: bytes | None = None


_Services = dict[str, tuple[str, ...]]


def parse_url(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of an agent's URL; the port is 8500, https 8501, unless said.

    Raises ConfigError.
    """
    try:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        port = parts.port
    except ValueError:
        port, parts = None, urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError("expected a URL such as http://127.0.0.1:8500", file="--consul")
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError("expected only scheme, host and port in the URL", file="--consul")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return parts.scheme, host, port or (8501 if parts.scheme == "https" else 8500)


def _convert(value: Any, shape: Any, what: str) -> Any:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise CatalogUnavailable(f"Consul: {what}: an unknown answer: {_line(error)}") from None


def _line(error: BaseException) -> str:
    """Return an error's text as one line of bounded length."""
    return " ".join((str(error) or type(error).__name__).split())[:200]
