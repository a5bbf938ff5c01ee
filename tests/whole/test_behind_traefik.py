"""One tag, with real Traefik and Consul: what it turns on, and that nobody notices."""

from __future__ import annotations

import http.client
import ssl
import time
from pathlib import Path

from support.certificates import certificate
from support.consul import ConsulAgent
from support.joined_mirror import Mirror, app, exchanges
from support.steady import Load, SlowApplication, wait_until
from support.traefik import Traefik

ON = "mirrorproxy.enable=true"
# admin:secret
USERS = "admin:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
# Nobody sends anything any more when these mirrors end.
AT_ONCE = ("--drain-wait", "0s")
LOGIN = {"Authorization": "Basic YWRtaW46c2VjcmV0"}


def router(name: str, rule: str) -> str:
    return f"traefik.http.routers.{name}.rule={rule}"


def ask(traefik: Traefik, host: str, path: str, **headers: str) -> int:
    """Return the status that a GET gets through Traefik."""
    connection = http.client.HTTPConnection(*traefik.address(), timeout=20)
    try:
        connection.request("GET", path, headers={"Host": host, **headers})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def test_the_tag_starts_the_capture_and_its_removal_ends_it(
    tmp_path: Path, consul: ConsulAgent, traefik: Traefik
) -> None:
    """Within 3 s each, under load, and no request fails."""
    rule = router("orders", "Host(`orders.test`)")
    with SlowApplication(0.05) as origin, Mirror(tmp_path, consul.url, *AT_ONCE) as mirror:
        consul.register(app("orders", origin.port, rule))
        traefik.wait_for_router("orders@consulcatalog")
        with Load(traefik.address(), "orders.test", per_s=100) as load:
            load.run_for(1)
            on_us, on_s = time.time_ns() // 1000, time.monotonic()
            consul.register(app("orders", origin.port, rule, ON))
            wait_until(lambda: mirror.captured() > 50, "the capture to start")
            off_us, off_s = time.time_ns() // 1000, time.monotonic()
            consul.register(app("orders", origin.port, rule))
            traefik.wait_for_no_router("mirror-orders-orders@consulcatalog")
            gone_s = time.monotonic()
            # Longer than any request takes, so that the last of them are in.
            load.run_for(1)
            load.finish()
        ledger = mirror.end()
    seen = exchanges(mirror.to)
    assert load.failed == []
    assert {one.kind for one in load.between(on_s, gone_s)} == {"answered"}
    assert (seen[0].started_us - on_us) / 1e6 < 3
    assert (seen[-1].started_us - off_us) / 1e6 < 3
    assert gone_s - off_s < 6  # and out of the path, unrecorded meanwhile
    assert len(seen) == len({one.request.target for one in seen}) == ledger["captured"]
    assert origin.served.total() == len(load.sent)
    assert ledger["exit"] == 0
    print(
        f"on after {(seen[0].started_us - on_us) / 1e6:.2f} s,"
        f" off after {(seen[-1].started_us - off_us) / 1e6:.2f} s,"
        f" out of the path after {gone_s - off_s:.2f} s, {len(load.sent)} requests"
    )


def test_three_apps_with_several_routers_each(
    tmp_path: Path, consul: ConsulAgent, traefik: Traefik
) -> None:
    """Each request reaches its own app, is recorded under its name, and authentication holds."""
    pem = certificate(tmp_path)
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(pem)
    with (
        SlowApplication() as shop,
        SlowApplication() as pay,
        SlowApplication(tls=server_tls) as vault,
        Mirror(tmp_path / "mirror", consul.url, "--upstream-ca", str(pem), *AT_ONCE) as mirror,
    ):
        consul.register(
            app(
                "shop",
                shop.port,
                ON,
                router("shop", "Host(`shop.test`)"),
                router("shop-api", "Host(`shop.test`) && PathPrefix(`/api`)"),
                router("beta", "Host(`shop.test`) && HeaderRegexp(`X-Beta`, `^(yes|[0-9]{1,3})$`)"),
                "traefik.http.routers.beta.middlewares=marked",
                "traefik.http.middlewares.marked.addprefix.prefix=/beta",
            )
        )
        consul.register(
            app(
                "pay",
                pay.port,
                ON,
                router("pay", "Host(`pay.test`)"),
                router("pay-admin", "Host(`pay.test`) && PathPrefix(`/admin`)"),
                "traefik.http.routers.pay-admin.middlewares=login",
                f"traefik.http.middlewares.login.basicauth.users={USERS}",
            )
        )
        consul.register(
            app(
                "vault",
                vault.port,
                ON,
                router("vault", "Host(`vault.test`)"),
                router("vault-too", "Host(`shop.test`) && PathPrefix(`/vault`)"),
                "traefik.http.services.vault.loadbalancer.server.scheme=https",
            )
        )
        for name in ("shop-shop", "shop-beta", "pay-pay-admin", "vault-vault-too"):
            traefik.wait_for_router(f"mirror-{name}@consulcatalog")
        wait_until(
            lambda: all(one["registered"] for one in mirror.apps().values()), "registrations"
        )
        # Routers are told a moment before they are in use.
        wait_until(
            lambda: ask(traefik, "vault.test", "/warm") == 200 and mirror.captured(), "traffic"
        )
        # What a client says itself chooses no app.
        lie = {"X-Mirrorproxy-App": "pay"}
        assert ask(traefik, "shop.test", "/1", **lie) == 200
        assert ask(traefik, "shop.test", "/api/2", **lie) == 200
        assert ask(traefik, "shop.test", "/3", **{"X-Beta": "17"}, **lie) == 200
        assert ask(traefik, "pay.test", "/4") == 200
        assert ask(traefik, "pay.test", "/admin/5") == 401
        assert ask(traefik, "pay.test", "/admin/6", **{**LOGIN, "X-Mirrorproxy-App": "shop"}) == 200
        assert ask(traefik, "vault.test", "/7", **lie) == 200
        assert ask(traefik, "shop.test", "/vault/8") == 200
        ledger = mirror.end()
    found = {
        (one.service, one.request.target)
        for one in exchanges(mirror.to)
        if one.request.target != "/warm"
    }
    assert found == {
        ("shop", "/1"), ("shop", "/api/2"), ("shop", "/beta/3"), ("pay", "/4"),
        ("pay", "/admin/6"), ("vault", "/7"), ("vault", "/vault/8"),
    }  # fmt: skip
    assert set(shop.served) == {"/1", "/api/2", "/beta/3"}
    assert set(pay.served) == {"/4", "/admin/6"}
    assert {"/7", "/vault/8"} <= set(vault.served)
    # The header is the mirror's own business.
    assert shop.named == pay.named == vault.named == set()
    assert ledger["exit"] == 0
