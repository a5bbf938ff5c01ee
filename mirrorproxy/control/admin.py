"""The admin server: health, metrics and status of one mirror over HTTP.

Owns routes, the check of Host and the form of answers. What is healthy and what
is counted is told by whoever starts it; no request but those of `endpoint`
changes anything, and nothing secret is ever shown.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from aiohttp import web

from mirrorproxy.control.endpoint import MAX_BODY_BYTES, ControlEndpoint

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus exposition formats, text format."""


class Reports(Protocol):
    """What the server shows. All of it is cheap and made at the moment of asking."""

    def unready(self) -> list[str]:
        """Return why traffic should not be sent here, one reason each; nothing when it may."""

    def app_unready(self, name: str) -> list[str] | None:
        """Return why one app's traffic should not be sent here, None for an unknown app."""

    def metrics(self) -> str:
        """Return all counters in Prometheus's text format."""

    def status(self) -> object:
        """Return a value that msgspec can write as JSON."""


class AdminServer:
    """Serves a mirror's reports on one listening socket.

    loopback: whether only this machine can reach the socket; then the Host
    header must name this machine too. A web page elsewhere could otherwise read
    the answers through a browser here, by a name that it points at 127.0.0.1.
    control: what may be changed; None for nothing. traefik: makes the document
    that Traefik's HTTP provider asks for, a value that msgspec can write as JSON;
    None where there is none.
    """

    def __init__(
        self,
        reports: Reports,
        *,
        loopback: bool,
        control: ControlEndpoint | None = None,
        traefik: Callable[[], object] | None = None,
    ) -> None:
        self._reports = reports
        self._control = control
        self._document = traefik
        self._runner = web.AppRunner(self._application(loopback), access_log=None)

    async def start(self, listening: socket.socket) -> None:
        """Serve on a socket that is listening already."""
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()

    async def close(self) -> None:
        """Stop, and close the socket."""
        await self._runner.cleanup()

    def _application(self, loopback: bool) -> web.Application:
        application = web.Application(
            middlewares=[_local_host_only] if loopback else [], client_max_size=MAX_BODY_BYTES
        )
        application.on_response_prepare.append(_plain_headers)
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/healthz/{app}", self._app_healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/status", self._status)
        if self._control is not None:
            self._control.add_to(application.router)
        if self._document is not None:
            application.router.add_get("/traefik", self._traefik)
        return application

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _app_healthz(self, request: web.Request) -> web.Response:
        reasons = self._reports.app_unready(request.match_info["app"])
        if reasons is None:
            return web.Response(status=404, text="no app has this name\n")
        return _not_because(reasons) if reasons else web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        reasons = self._reports.unready()
        return _not_because(reasons) if reasons else web.Response(text="ready\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._reports.metrics().encode(), headers={"Content-Type": _METRICS_TYPE}
        )

    async def _status(self, _: web.Request) -> web.Response:
        return _json(self._reports.status())

    async def _traefik(self, _: web.Request) -> web.Response:
        return _json(self._document() if self._document is not None else {})


def _json(value: object) -> web.Response:
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    return web.Response(body=text + b"\n", content_type="application/json")


def _not_because(reasons: list[str]) -> web.Response:
    return web.Response(status=503, text="".join(f"{reason}\n" for reason in reasons))


@web.middleware
async def _local_host_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    if not is_local_host(request.headers.get("Host", "")):
        # RFC 9110, 15.5.20: this server does not speak for that name.
        return web.Response(status=421, text="this server answers to localhost only\n")
    return await handler(request)


async def _plain_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "mirrorproxy"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"


def is_local_host(host: str) -> bool:
    """Whether a Host header names this machine: localhost or a loopback address, any port."""
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, ""
    if port and not (port.isascii() and port.isdigit()):
        return False
    name = name.lower().removesuffix(".")
    if name == "localhost":
        return True
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    elif ":" in name:
        return False
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
