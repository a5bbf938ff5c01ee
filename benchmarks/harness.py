"""What the benchmarks share: processes, their CPU time and memory, a load and an origin.

Everything listens on loopback, on ports that were free, and ends with its
`with` block. CPU time is read from /proc for a whole tree of processes, because
on a noisy machine it says more than throughput does.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")

JSON_BEGUN, JSON_ENDED = '{"sku":"A-1","note":"', '"}'
BODY_BYTES = 1000 + len(JSON_BEGUN) + len(JSON_ENDED)
POST_LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["User-Agent"] = "bench/1"
wrk.headers["Accept"] = "*/*"
wrk.headers["Accept-Encoding"] = "gzip, deflate"
wrk.headers["Authorization"] = "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSIsImlzcyI6ImkifQ.c2ln"
wrk.headers["X-Forwarded-For"] = "203.0.113.7"
wrk.headers["X-Forwarded-Proto"] = "https"
wrk.headers["X-Request-Id"] = "0f8fad5bd9cb469fa165708671735a2c"
"""
"""A POST with the headers that a load balancer hands on."""

STOP_LUA = """
local left = {requests}
response = function()
  left = left - 1
  if left == 0 then
    wrk.thread:stop()
    io.stderr:write("enough\\n")
  end
end
"""
"""wrk's threads can stop by themselves, but its main one sleeps on: it is told by a signal."""

REPOSITORY = Path(__file__).resolve().parent.parent
# mitmproxy pins what we use in other versions: `make bench` gives it an environment of its own.
PLACES = [
    sysconfig.get_path("scripts"),
    str(REPOSITORY / ".cache/mitmproxy/bin"),
    "/usr/sbin",
    "/usr/local/sbin",
]


class Absent(Exception):
    """Something that a measurement needs is not on this machine; says what."""


def find(program: str) -> str | None:
    """Return the path of a program, also where only administrators look; None if absent."""
    return shutil.which(program) or shutil.which(program, path=os.pathsep.join(PLACES))


def need(program: str, remedy: str) -> str:
    """Return the path of a program. Raises Absent, with the remedy, if it is not there."""
    path = find(program)
    if path is None:
        raise Absent(f"{program} is not installed ({remedy})")
    return path


def allow_open_files(number: int) -> None:
    """Let this process and all that it starts open so many files. Raises Absent if refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        raise Absent(f"{number} open files are needed and {hard} are allowed (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], timeout_s: float = 15.0) -> None:
    """Wait until something accepts connections; raise if the process ends first."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen on {port}")


def wait_for_answer(port: int, process: subprocess.Popen[bytes], timeout_s: float = 15.0) -> None:
    """Wait until a request is answered with 2xx: some listen before they know where to send."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/ready")
            status = connection.getresponse().status
            connection.close()
            if 200 <= status < 300:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not answer on {port}")


@contextlib.contextmanager
def running(argv: list[str], port: int, *, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server while the block runs; its output goes to a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_for_port(port, process)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def tree(pid: int) -> list[int]:
    """Return a process and all that it started and that still runs."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(stat[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and all that it started and that still runs."""
    total = 0
    for member in tree(pid):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            total += int(stat[11]) + int(stat[12])
    return total * _TICK_S


def process_rss_mib(pid: int) -> float:
    """Return the resident memory of one process in MiB; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    match = re.search(r"VmRSS:\s+(\d+)", status)
    return int(match[1]) / 1024 if match else 0.0


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process and all that it started, in MiB."""
    return sum(map(process_rss_mib, tree(pid)))


def roles(pid: int) -> dict[str, int]:
    """Return the processes of a running capture by what they are: supervisor, worker, shipper."""
    found = {"supervisor": pid}
    for member in tree(pid)[1:]:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{member}/cmdline").read_bytes().split(b"\0")
            if b"mirrorproxy.app" in words:
                found[words[words.index(b"mirrorproxy.app") + 1].decode()] = member
    return found


def wait_until_quiet(pid: int, timeout_s: float = 20.0) -> None:
    """Wait until a tree of processes uses less than a twentieth of a core, or the time is over."""
    deadline = time.monotonic() + timeout_s
    before = cpu_s(pid)
    while time.monotonic() < deadline:
        time.sleep(0.6)
        after = cpu_s(pid)
        if after - before < 0.03:
            return
        before = after


@dataclass(frozen=True)
class Load:
    """What a load generator saw: requests answered, times in milliseconds."""

    requests: int
    duration_s: float
    p50_ms: float
    p99_ms: float
    errors: int


_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}


def wrk(
    port: int,
    *,
    seconds: int,
    connections: int = 32,
    path: str = "/api/orders",
    body_bytes: int = BODY_BYTES,
    requests: int | None = None,
) -> Load:
    """Send `POST_LUA` requests over keep-alive connections, as fast as answers come.

    body_bytes: length of the JSON body; 0 for none. requests: stop after about
    so many, even if the seconds are not over. Raises Absent.
    """
    program = need("wrk", "Debian: apt install wrk")
    filling = body_bytes - len(JSON_BEGUN) - len(JSON_ENDED)
    body = f"'{JSON_BEGUN}' .. string.rep('x', {filling}) .. '{JSON_ENDED}'" if body_bytes else "''"
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"{POST_LUA}wrk.body = {body}\n")
        if requests is not None:
            script.write(STOP_LUA.format(requests=requests))
        script.flush()
        argv = [
            program, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency",
            "-s", script.name, f"http://127.0.0.1:{port}{path}",
        ]  # fmt: skip
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            if requests is not None and process.stderr.readline() == "enough\n":
                process.send_signal(signal.SIGINT)
            output, complaint = process.communicate()
        if process.returncode:
            raise RuntimeError(f"wrk ended with status {process.returncode}: {complaint}")

    def number(pattern: str) -> re.Match[str] | None:
        return re.search(pattern, output)

    total = number(r"(\d+) requests in ([\d.]+)(ms|s|m)")
    if total is None:
        raise RuntimeError(f"wrk said nothing usable:\n{output}")
    p50 = number(r"50%\s+([\d.]+)(us|ms|s)")
    p99 = number(r"99%\s+([\d.]+)(us|ms|s)")
    errors = number(r"Non-2xx or 3xx responses: (\d+)")
    socket_errors = number(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
    return Load(
        requests=int(total[1]),
        duration_s=float(total[2]) * _MS[total[3]] / 1000,
        p50_ms=float(p50[1]) * _MS[p50[2]] if p50 else 0.0,
        p99_ms=float(p99[1]) * _MS[p99[2]] if p99 else 0.0,
        errors=(int(errors[1]) if errors else 0)
        + (sum(map(int, socket_errors.groups())) if socket_errors else 0),
    )


def nginx_config(directory: Path, server: str, *, workers: int = 1) -> Path:
    """Write a configuration with one server block, logs off; return its path."""
    path = directory / "nginx.conf"
    path.write_text(
        f"worker_processes {workers}; daemon off; pid {directory}/nginx.pid;\n"
        f"error_log {directory}/error.log; events {{ worker_connections 8192; }}\n"
        "worker_rlimit_nofile 20000;\n"
        f"http {{ access_log off; keepalive_requests 1000000000; client_body_buffer_size 64k;\n"
        "client_max_body_size 0;\n"
        f"client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;\n"
        f"fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u;\n"
        f"scgi_temp_path {directory}/s;\n{server}\n}}\n"
    )
    return path


@contextlib.contextmanager
def nginx(server: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run nginx with one server block (or several) while the block runs."""
    program = need("nginx", "Debian: apt install nginx-light")
    with tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as name:
        directory = Path(name)
        config = nginx_config(directory, server)
        argv = [program, "-e", str(directory / "error.log"), "-c", str(config)]
        with running(argv, port, log=directory / "log") as process:
            yield process


@contextlib.contextmanager
def origin(files: Path | None = None) -> Iterator[int]:
    """Run an origin that answers every request with a small JSON constant; yields its port.

    files: a directory to serve below /files/.
    """
    port = free_port()
    static = f"location /files/ {{ alias {files}/; }} " if files else ""
    server = (
        f"server {{ listen 127.0.0.1:{port}; {static}location / {{ "
        """default_type application/json; return 201 '{"id":42,"ok":true}'; } }"""
    )
    with nginx(server, port):
        yield port


@contextlib.contextmanager
def body_origin() -> Iterator[int]:
    """Run an origin that reads a body to its end before it answers; yields its port."""
    port = free_port()
    argv = [sys.executable, str(REPOSITORY / "benchmarks/body_origin.py"), str(port)]
    with tempfile.TemporaryDirectory(prefix="mirrorproxy-bench-") as name:
        with running(argv, port, log=Path(name, "log")):
            yield port


@contextlib.contextmanager
def nginx_proxy(
    origin_port: int, *, streams: bool = False, mirror_port: int | None = None
) -> Iterator[tuple[int, int]]:
    """Run nginx as a proxy with upstream keep-alive; yields its port and process id.

    streams: pass request bodies on as they come instead of storing them first.
    mirror_port: where to send a copy of every request (`mirror`).
    """
    port = free_port()
    kept = "keepalive 64; keepalive_requests 1000000000;"
    to = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;'
    options = "proxy_request_buffering off; " if streams else ""
    server = f"upstream o {{ server 127.0.0.1:{origin_port}; {kept} }}\n"
    mirror = ""
    if mirror_port is not None:
        server += f"upstream m {{ server 127.0.0.1:{mirror_port}; {kept} }}\n"
        options += "mirror /mirror; "
        mirror = f"location = /mirror {{ internal; proxy_pass http://m$request_uri; {to} }}"
    server += (
        f"server {{ listen 127.0.0.1:{port}; {mirror} "
        f"location / {{ {options}proxy_pass http://o; {to} }} }}"
    )
    with nginx(server, port) as process:
        yield port, process.pid


@contextlib.contextmanager
def capture(origin_port: int, directory: Path, *options: str) -> Iterator[tuple[int, int]]:
    """Run `mirrorproxy capture` with one worker; yields its port and process id."""
    port = free_port()
    argv = [
        sys.executable, "-m", "mirrorproxy", "capture", "--listen", f"127.0.0.1:{port}",
        "--upstream", f"http://127.0.0.1:{origin_port}", "--to", str(directory / "capture"),
        "--admin", "off", "--workers", "1", *options,
    ]  # fmt: skip
    with running(argv, port, log=directory / "capture.log") as process:
        yield port, process.pid
