"""A mirror that is cut off from an app, and from nothing else.

Runs in a network namespace of its own (`unshare -rn`, which needs no root where the kernel
allows user namespaces) with the mirror in another one behind a pair of virtual
interfaces. Traefik, Consul and the app are on the near side, the app at an address of
its own. Nothing of the machine's network is touched, and all of it ends with the process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path[:0] = [str(HERE.parent), str(HERE)]

from chaos_ground import Figures, Ground, figures  # noqa: E402
from support.joined_mirror import Mirror  # noqa: E402

NEAR, FAR, APP, CONSUL = "10.77.0.1", "10.77.0.2", "10.77.1.1", "10.77.2.1"

CUTS = {
    "cut-inline": ("inline", "silent"),
    "cut-inline-refused": ("inline", "refused"),
    "cut-pooled": ("pooled", "silent"),
}
"""Scenarios: mode, and whether packets to the app vanish or are refused."""

TIMEOUT_S = 180


def run_cut(name: str, folder: Path, program: str, calm_s: float) -> Figures:
    """Run one of `CUTS` in a network of its own."""
    arguments = [sys.executable, __file__, name, str(folder), program, str(calm_s)]
    ended = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if ended.returncode:
        raise RuntimeError(f"no network of its own, or worse: {ended.stderr[-1500:]}")
    found = json.loads(ended.stdout.splitlines()[-1])
    return Figures(**found)


class FarMirror(Mirror):
    """A mirror in a network namespace of its own, which it waits for at its start."""

    def __init__(self, folder: Path, consul_url: str, *options: str, **more: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._gate = folder / "gate"
        os.mkfifo(self._gate)
        wait = ("sh", "-c", f'read _ < {self._gate} && exec "$@"', "sh")
        super().__init__(
            folder, consul_url, *options, wrapper=("unshare", "--net", *wait), **more  # type: ignore[arg-type]
        )  # fmt: skip

    def start(self) -> None:
        """Start it, and connect it."""
        super().start()
        # Until the shell stands at its gate it may still be in our own network.
        with self._gate.open("w") as gate:
            ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", self._pid())
            ip("addr", "add", f"{NEAR}/24", "dev", "near")
            ip("link", "set", "near", "up")
            self.ip("link", "set", "lo", "up")
            self.ip("addr", "add", f"{FAR}/24", "dev", "far")
            self.ip("link", "set", "far", "up")
            self.ip("route", "add", "default", "via", NEAR)
            gate.write("go\n")

    def ip(self, *arguments: str) -> None:
        """Change its network."""
        run("nsenter", "-t", self._pid(), "-n", "ip", *arguments)

    def _pid(self) -> str:
        assert self.process is not None
        return str(self.process.pid)


def ip(*arguments: str) -> None:
    """Change the network on the near side."""
    run("ip", *arguments)


def run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")


def cut_off(name: str, folder: Path, program: str, calm_s: float) -> Figures:
    """Cut the mirror off from the app under load; it goes on reaching everything else."""
    mode, how = CUTS[name]
    ip("link", "set", "lo", "up")
    for address in (APP, CONSUL):
        ip("addr", "add", f"{address}/32", "dev", "lo")
    with Ground(
        folder,
        program,
        mode,
        host=APP,
        consul_url=lambda agent: f"http://{CONSUL}:{agent.port}",
        agent_settings={"client_addr": f"127.0.0.1 {CONSUL}"},
        mirror_class=FarMirror,
        mirror_host=FAR,
    ) as ground:
        mirror = ground.mirror
        assert isinstance(mirror, FarMirror)
        with ground.load(timeout_s=12) as load:
            load.run_for(calm_s)
            moment = time.monotonic()
            if how == "refused":
                mirror.ip("route", "add", "unreachable", f"{APP}/32")
            else:
                ip("rule", "add", "pref", "100", "from", APP, "to", FAR, "blackhole")
            load.run_for(calm_s + 4)
            load.finish()
    made = figures(f"mirror cut off from the app ({how})", ground, load.sent, moment, lasts_s=4)
    made.expect(made.back_s < 4, f"traffic returned after {made.back_s:.2f} s")
    return made


if __name__ == "__main__":
    print(
        json.dumps(asdict(cut_off(sys.argv[1], Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))))
    )
