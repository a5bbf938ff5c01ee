"""The installed ``mirrorproxy capture --consul``, as it runs beside Traefik and Consul.

Owns its processes: none of them outlives the block, each ended by its own pid.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from support.commands import free_port
from support.steady import wait_until

from mirrorproxy.record import Exchange
from mirrorproxy.sources.events import Captured
from mirrorproxy.sources.reading import read_capture

END_TIMEOUT_S = 60.0
# As on an operator's machine, not as under pytest.
_WITHOUT = ("CONSUL", "PYTHONWARNINGS")

Process = tuple[int, str]
"""A pid and when it was started: a pid alone may have become somebody else's."""


class Mirror:
    """A capture with Consul; a context manager that returns when every worker serves.

    folder: of its own; what it captures is in `folder`/to. host: the address that it
    binds to. wrapper: a command that runs it. tap: whether it takes copies.
    """

    def __init__(
        self,
        folder: Path,
        consul_url: str,
        *options: str,
        host: str = "127.0.0.1",
        name: str = "mirror",
        workers: int = 2,
        tap: bool = False,
        wrapper: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.to = folder / "to"
        self.port, self.admin = free_port(), free_port()
        self.admin_url = f"http://{host}:{self.admin}"
        self.process: subprocess.Popen[bytes] | None = None
        self._log, self._out = folder / "mirror.log", folder / "mirror.out"
        self._seen: set[Process] = set()
        self._argv = [
            *(*wrapper, sys.executable, "-m", "mirrorproxy", "capture"),
            *("--consul", consul_url, "--listen", f"{host}:{self.port}", "--to", str(self.to)),
            *("--admin", f"{host}:{self.admin}", "--name", name, "--workers", str(workers)),
            *("--roll-age", "1s", "--json", *options),
            *(("--tap", f"{host}:{free_port()}") if tap else ()),
        ]

    def __enter__(self) -> Mirror:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.finish()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish()

    def start(self) -> None:
        """Start it; on the same ports and spool also after its end."""
        with self._log.open("ab") as errors, self._out.open("ab") as ledger:
            self.process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=ledger,
                stderr=errors,
                env={
                    key: value for key, value in os.environ.items() if not key.startswith(_WITHOUT)
                },
            )

    def wait_ready(self) -> None:
        """Return when every worker serves."""
        wait_until(lambda: not (self.status() or {"unready": ["?"]})["unready"], self.said())

    def status(self) -> dict[str, Any] | None:
        """Return what /status says, None when nobody answers."""
        assert self.process is not None
        assert self.process.poll() is None, self.said()
        self._note()
        try:
            with urllib.request.urlopen(f"{self.admin_url}/status", timeout=5) as answer:
                found: dict[str, Any] = json.load(answer)
        except OSError:
            return None
        return found

    def apps(self) -> dict[str, dict[str, Any]]:
        """Return what it says of each app that has the tag, by its name."""
        control = (self.status() or {}).get("control") or {"apps": []}
        return {one["service"]: one for one in control["apps"]}

    def captured(self) -> int:
        """Return how many exchanges are captured so far."""
        ledger = (self.status() or {}).get("ledger") or {"captured": 0}
        count: int = ledger["captured"]
        return count

    def workers(self) -> list[int]:
        """Return the pids of the workers that run."""
        return [one["pid"] for one in (self.status() or {"workers": []})["workers"] if one["pid"]]

    def end(self) -> dict[str, Any]:
        """Drain it; return the ledger, with the exit status as ``exit``."""
        assert self.process is not None
        self._note()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(END_TIMEOUT_S)
        text = self._out.read_text()
        assert text, self.said()
        return {**json.loads(text.splitlines()[-1]), "exit": code}

    def kill_all(self) -> tuple[float, float]:
        """Kill every process at once, the supervisor first; return when, and when all were gone."""
        assert self.process is not None
        pids, moment = self.pids(), time.monotonic()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        return moment, wait_until(lambda: not self.pids(), "every process to be gone")

    def pids(self) -> list[int]:
        """Return the pids of all its processes, the supervisor's first."""
        self._note()
        running = self.process is not None and self.process.poll() is None
        own = [self.process.pid] if self.process is not None and running else []
        return own + [pid for pid, started in self._seen if _started(pid) == started]

    @contextlib.contextmanager
    def stopped(self, pids: Sequence[int]) -> Iterator[float]:
        """Let processes hang while the block lasts; gives when that began."""
        moment = time.monotonic()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            yield moment
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def said(self) -> str:
        """Return its standard error so far."""
        return self._log.read_text(errors="replace")[-3000:]

    def finish(self) -> None:
        """Make sure that nothing is left."""
        for pid in self.pids():
            for number in (signal.SIGKILL, signal.SIGCONT):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        if self.process is not None:
            self.process.wait()

    def _note(self) -> None:
        if self.process is None:
            return
        pid = self.process.pid
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            for child in map(int, text.split()):
                if started := _started(child):
                    self._seen.add((child, started))


def _started(pid: int) -> str:
    """Return when a process was started, "" if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def exchanges(*folders: Path) -> list[Exchange]:
    """Return every exchange of captures, in the order in which they began."""
    found = read_capture([str(folder) for folder in folders])
    return [event.exchange for event in found if isinstance(event, Captured)]


def targets(*folders: Path) -> Counter[str]:
    """Return how often each target is in captures, each looked at by itself."""
    return Counter(one.request.target for folder in folders for one in exchanges(folder))


def app(
    name: str, port: int, *tags: str, number: int = 1, address: str = "127.0.0.1", **more: Any
) -> dict[str, Any]:
    """Return the definition of an app's instance that Traefik is to show, healthy from the start.

    With a real check every second where there is one to be made: of its port.
    """
    return {
        "Name": name,
        "ID": f"{name}-{number}",
        "Address": address,
        "Port": port,
        "Tags": ["traefik.enable=true", *tags],
        "Check": {
            "TCP": f"{address}:{port}",
            "Interval": "1s",
            "Timeout": "1s",
            "Status": "passing",
        },
        **more,
    }
