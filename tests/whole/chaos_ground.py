"""The ground that faults happen on: Consul, Traefik, a slow application, a mirror, a load.

Everything is real and on loopback; Traefik is set up by the files in `traefik/`. Times
are seconds by the monotonic clock.
"""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from support.consul import ConsulAgent
from support.joined_mirror import Mirror, app
from support.steady import Load, Sent, SlowApplication, percentile_ms, wait_until
from support.traefik import Traefik, shipped_providers

ON = "mirrorproxy.enable=true"
DELAY_S = 0.1
PER_S = 200.0
SHARE = 50


@dataclass
class Figures:
    """What one fault did. problems: what is not as it is promised, nothing where all is well.

    beyond: failed requests that were sent after the fault. back_s: how long after the
    fault the last of them was sent. before, during, after: p50 and p99 in ms.
    """

    fault: str
    mode: str
    load: int = 0
    failed: int = 0
    beyond: int = 0
    back_s: float = 0.0
    before: tuple[float, float] = (0.0, 0.0)
    during: tuple[float, float] = (0.0, 0.0)
    after: tuple[float, float] = (0.0, 0.0)
    captured: int = 0
    note: str = ""
    problems: list[str] = field(default_factory=list)

    def expect(self, holds: bool, problem: str) -> None:
        """Note a problem unless something holds."""
        if not holds:
            self.problems.append(problem)


def tags_of(mode: str, name: str, port: int) -> list[str]:
    """Return an app's tags in a mode; as `docs/traefik.md` says."""
    tags = [f"traefik.http.routers.{name}.rule=Host(`{name}.test`)", ON]
    if mode == "tap":
        tags.append("mirrorproxy.mode=tap")
    if mode == "pooled":
        service = f"traefik.http.services.{name}.loadbalancer"
        tags += [
            "mirrorproxy.mode=pooled",
            f"mirrorproxy.percent={SHARE}",
            f"{service}.server.weight=100",
            f"{service}.passivehealthcheck.failurewindow=10s",
            f"{service}.passivehealthcheck.maxfailedattempts=1",
            f"traefik.http.routers.{name}.middlewares=again-{name}",
            f"traefik.http.middlewares.again-{name}.retry.attempts=3",
        ]
    return tags


class Ground:
    """Apps behind Traefik, one origin for all of them, mirrored once the block begins.

    apps: their names, which are their hosts too, with `.test`. mirrors: how many run.
    host: where the application listens. make_mirror: makes a mirror other than `Mirror`.
    """

    def __init__(
        self,
        folder: Path,
        consul_program: str,
        mode: str,
        *,
        apps: Sequence[str] = ("orders",),
        mirrors: int = 1,
        host: str = "127.0.0.1",
        consul_url: Callable[[ConsulAgent], str] = lambda agent: agent.url,
        agent_settings: dict[str, Any] | None = None,
        mirror_class: type[Mirror] = Mirror,
        mirror_host: str = "127.0.0.1",
        tagged: bool = True,
        throttle: str | None = None,
        options: tuple[str, ...] = (),
        workers: int = 2,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.mode = mode
        self.apps = apps
        self.folder = folder
        self._tagged = tagged
        self._throttle = throttle
        self.origin = SlowApplication(DELAY_S, host=host)
        self.consul = ConsulAgent(consul_program, folder / "consul", settings=agent_settings)
        if mirror_host != "127.0.0.1":
            (folder / "token").write_text("needed-off-loopback-and-of-no-use-here\n")
            options = (*options, "--admin-token-file", str(folder / "token"))
        self.mirrors = [
            mirror_class(
                folder / f"mirror-{number}",
                consul_url(self.consul),
                *options,
                name=f"mirror-{number}",
                host=mirror_host,
                tap=mode == "tap",
                workers=workers,
            )
            for number in range(1, mirrors + 1)
        ]
        self._stack = contextlib.ExitStack()
        self.traefik: Traefik

    @property
    def mirror(self) -> Mirror:
        """The first mirror."""
        return self.mirrors[0]

    def __enter__(self) -> Ground:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.origin)
            if self._tagged:
                self.consul.define(self._definitions())
            stack.enter_context(self.consul)
            if not self._tagged:
                self.untag()
            for mirror in self.mirrors:
                stack.enter_context(mirror)
            tap = f"{self.mirror.admin_url}/traefik" if self.mode == "tap" else None
            providers = shipped_providers(self.consul.address, tap=tap)
            if self._throttle is not None:
                providers["providersThrottleDuration"] = self._throttle
            self.traefik = stack.enter_context(
                Traefik(self.folder / "traefik", {"providers": providers})
            )
            for name in self.apps:
                wait_until(lambda name=name: self._ask(name) == 200, f"{name} to be served")
            if self._tagged:
                self.wait_mirrored()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def tag(self) -> None:
        """Register the apps with the tag."""
        for one in self._definitions():
            self.consul.register(one)

    def untag(self) -> None:
        """Register the apps without any tag of ours."""
        for one in self._definitions():
            tags = [tag for tag in one["Tags"] if not tag.startswith("mirrorproxy.")]
            self.consul.register({**one, "Tags": tags})

    def wait_mirrored(self) -> None:
        """Return when every mirror records of every app."""
        for name in self.apps:
            self.traefik.wait_for_router(self._router(name))

        def all_record() -> bool:
            for name in self.apps:
                self._ask(name)
            return all(mirror.captured() > 0 for mirror in self.mirrors)

        wait_until(all_record, "all mirrors to record")

    def load(self, name: str = "", *, per_s: float = PER_S, timeout_s: float = 15.0) -> Load:
        """Return a load on an app, the first unless another is named."""
        name = name or self.apps[0]
        return Load(
            self.traefik.address(), f"{name}.test", name=name, per_s=per_s, timeout_s=timeout_s
        )

    def wait_unrouted(self) -> float:
        """Return when Traefik has no way to a mirror of the first app any more."""
        router = self._router(self.apps[0])
        return wait_until(lambda: self.traefik.router(router) is None, f"no router {router}")

    def wait_among(self, mirror: Mirror) -> None:
        """Return when Traefik sends requests for the first app to this mirror; not for taps."""
        name = self.apps[0] if self.mode == "pooled" else f"mirror-{self.apps[0]}"
        url = f"http://127.0.0.1:{mirror.port}"
        wait_until(
            lambda: url in self.traefik.service_urls(f"{name}@consulcatalog"), f"{url} in {name}"
        )

    def _router(self, name: str) -> str:
        if self.mode == "tap":
            return f"mirrorproxy-{name}-{name}@http"
        return f"mirror-{name}-{name}@consulcatalog"

    def _ask(self, name: str) -> int:
        connection = http.client.HTTPConnection(*self.traefik.address(), timeout=20)
        try:
            connection.request("GET", "/warm", headers={"Host": f"{name}.test"})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def _definitions(self) -> list[dict[str, Any]]:
        return [
            app(name, self.origin.port, *tags_of(self.mode, name, self.origin.port),
                address=self.origin.host)
            for name in self.apps
        ]  # fmt: skip


def speed(part: Sequence[Sent]) -> tuple[float, float]:
    """Return p50 and p99 of what was answered, in ms."""
    return percentile_ms(part, 50), percentile_ms(part, 99)


def figures(
    fault: str,
    ground: Ground,
    sent: Sequence[Sent],
    moment: float,
    *,
    lasts_s: float = 3.0,
    began: float | None = None,
) -> Figures:
    """Return what a load saw of a fault at a moment.

    lasts_s: what counts as during it. began: when it began to happen, if that takes a moment.
    """

    failed = [one for one in sent if one.kind != "answered"]
    beyond = [one for one in failed if one.due_s >= moment]
    first = min(one.due_s for one in sent)
    made = Figures(fault, ground.mode, load=len(sent), failed=len(failed), beyond=len(beyond))
    made.back_s = max((one.due_s - moment for one in beyond), default=0.0)
    made.before = speed([one for one in sent if first + 1 <= one.due_s < moment - 0.5])
    made.during = speed([one for one in sent if moment <= one.due_s < moment + lasts_s])
    made.after = speed([one for one in sent if one.due_s >= moment + lasts_s])
    kinds = sorted({one.kind for one in failed})
    counts = ", ".join(f"{sum(one.kind == kind for one in failed)} {kind}" for kind in kinds)
    slowest_s = max((one.took_s for one in sent if one.kind == "answered"), default=0.0)
    slow = f"slowest answer {slowest_s:.1f} s" if slowest_s > 1 else ""
    made.note = "; ".join(text for text in (counts, slow) if text)
    early = [one for one in failed if one.ended_s < (began or moment)]
    made.expect(not early, f"{len(early)} requests failed before the fault")
    return made
