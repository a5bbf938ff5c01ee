"""The control endpoint: `GET /control` shows the live values, `POST /control` changes them.

Owns who may change something over HTTP. It answers in JSON on success and in one
line of text otherwise, and never shows the token.
"""

from __future__ import annotations

import hmac
from pathlib import Path

import msgspec
from aiohttp import web

from mirrorproxy.control.live import Controls, Ended
from mirrorproxy.control.words import read_json
from mirrorproxy.errors import ConfigError

MAX_BODY_BYTES = 4096
MIN_TOKEN = 16
"""Characters: a shorter one could be guessed."""


def read_token(path: str) -> str:
    """Return the token in a file, without the line end. Raises ConfigError."""
    option = "--admin-token-file"
    try:
        token = Path(path).read_text("ascii").strip()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", file=option) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: a token is plain ASCII", file=option) from error
    if len(token) < MIN_TOKEN or any(c.isspace() or not c.isprintable() for c in token):
        raise ConfigError(
            f"{path}: expected a token of {MIN_TOKEN} characters or more, without spaces",
            file=option,
        )
    return token


class ControlEndpoint:
    """Serves the controls of one process.

    loopback: whether only this machine can reach the socket. token: what a
    change must bring along; None: on loopback anyone may make one, elsewhere
    nobody.
    """

    def __init__(self, controls: Controls, *, loopback: bool, token: str | None) -> None:
        self._controls = controls
        self._loopback = loopback
        self._token = token

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/control", self._get)
        router.add_post("/control", self._post)

    async def _get(self, _: web.Request) -> web.Response:
        return self._values()

    async def _post(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _text(413, f"at most {MAX_BODY_BYTES} bytes are read")
        try:
            values = read_json(body, self._controls.words)
            self._controls.change(values, f"admin API from {request.remote or 'somewhere'}")
        except ValueError as error:
            return _text(400, str(error))
        except Ended as error:
            return _text(409, str(error))
        return self._values()

    def _values(self) -> web.Response:
        text = msgspec.json.format(msgspec.json.encode(self._controls.current()), indent=2)
        return web.Response(body=text + b"\n", content_type="application/json")

    def _refusal(self, request: web.Request) -> web.Response | None:
        """Return why a change is refused, None if it may be made."""
        # What a page elsewhere can make a browser here send: it cannot choose this
        # type without asking first (Fetch, CORS-safelisted request headers), and
        # nobody here says yes.
        if request.content_type != "application/json":
            return _text(415, "say Content-Type: application/json")
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("Host"):
            return _text(403, "pages of other sites may change nothing here")
        if self._token is None:
            if self._loopback:
                return None
            return _text(403, "nothing can be changed over the network without --admin-token-file")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("utf-8", "surrogateescape"), self._token.encode()
        ):
            return None
        refusal = _text(401, "a change needs the token of --admin-token-file")
        refusal.headers["WWW-Authenticate"] = "Bearer"
        return refusal


def _text(status: int, line: str) -> web.Response:
    return web.Response(status=status, text=f"{line}\n")
