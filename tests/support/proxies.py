"""Other proxies in front of an origin: nginx, HAProxy, Traefik.

Owns their processes and configuration directories. Each is set up as a plain
reverse proxy with kept-alive connections to the origin and with limits as wide
as ours, so that a difference is one of behaviour, not of a default size.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from support.peer import Closed, Peer

_NGINX = """
daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/error.log warn;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off; server_tokens off;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  large_client_header_buffers 8 256k; client_max_body_size 0;
  upstream origin {{ server {origin}; keepalive 8; }}
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
      proxy_request_buffering off; proxy_buffering off;
      proxy_buffer_size 256k; proxy_buffers 8 256k; proxy_busy_buffers_size 512k;
    }}
  }}
}}
"""

_HAPROXY = """
global
  tune.bufsize 524288
  tune.http.maxhdr 1000
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend in
  bind 127.0.0.1:{port}
  default_backend out
backend out
  http-reuse always
  server origin {origin}
"""

_TRAEFIK_STATIC = """
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
log: {{level: ERROR}}
entryPoints:
  web: {{address: "127.0.0.1:{port}"}}
providers:
  file: {{filename: "{dir}/dynamic.yaml", watch: false}}
"""

_TRAEFIK_DYNAMIC = """
http:
  routers: {{all: {{rule: "PathPrefix(`/`)", service: origin, entryPoints: [web]}}}}
  services:
    origin: {{loadBalancer: {{passHostHeader: true, servers: [{{url: "http://{origin}"}}]}}}}
"""


def find_program(name: str) -> str | None:
    """Return the path of a program, looking beside this Python's scripts too."""
    places = os.pathsep.join(
        [sysconfig.get_path("scripts"), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
    )
    return shutil.which(name, path=places)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _serves(port: int) -> bool:
    """Say whether a request gets through: Traefik listens before it knows its routes."""
    try:
        with Peer.connect(("127.0.0.1", port)) as client:
            client.send(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
            return client.read_final()[0].status == 200
    except (OSError, Closed):
        return False


@contextlib.contextmanager
def _running(argv: list[str], port: int, log: Path) -> Iterator[tuple[str, int]]:
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, cwd=log.parent)
    try:
        deadline = time.monotonic() + 15
        while not _serves(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{argv[0]} did not start: {log.read_text()[-500:]}")
            time.sleep(0.02)
        yield "127.0.0.1", port
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def nginx(origin: str) -> Iterator[tuple[str, int]]:
    """Run nginx before an origin ("host:port"); gives its address."""
    with tempfile.TemporaryDirectory() as place:
        port = _free_port()
        config = Path(place, "nginx.conf")
        config.write_text(_NGINX.format(dir=place, port=port, origin=origin))
        argv = [find_program("nginx") or "nginx", "-p", place, "-c", str(config)]
        with _running(argv, port, Path(place, "out.log")) as address:
            yield address


@contextlib.contextmanager
def haproxy(origin: str) -> Iterator[tuple[str, int]]:
    """Run HAProxy before an origin ("host:port"); gives its address."""
    with tempfile.TemporaryDirectory() as place:
        port = _free_port()
        config = Path(place, "haproxy.cfg")
        config.write_text(_HAPROXY.format(port=port, origin=origin))
        argv = [find_program("haproxy") or "haproxy", "-db", "-f", str(config)]
        with _running(argv, port, Path(place, "out.log")) as address:
            yield address


@contextlib.contextmanager
def traefik(origin: str) -> Iterator[tuple[str, int]]:
    """Run Traefik before an origin ("host:port"); gives its address."""
    with tempfile.TemporaryDirectory() as place:
        port = _free_port()
        static = Path(place, "traefik.yaml")
        static.write_text(_TRAEFIK_STATIC.format(dir=place, port=port))
        Path(place, "dynamic.yaml").write_text(_TRAEFIK_DYNAMIC.format(origin=origin))
        argv = [find_program("traefik") or "traefik", f"--configFile={static}"]
        with _running(argv, port, Path(place, "out.log")) as address:
            yield address


STARTERS: dict[str, Callable[[str], contextlib.AbstractContextManager[tuple[str, int]]]] = {
    "nginx": nginx,
    "haproxy": haproxy,
    "traefik": traefik,
}
