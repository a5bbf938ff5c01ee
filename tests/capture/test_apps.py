"""Requests find their app and one of its instances: the data plane in process, on real sockets."""

import asyncio

import pytest
from data_plane import Backend, DataPlane, exchange, full_backlog, nobody, serving

from mirrorproxy.capture.apps import problem
from mirrorproxy.capture.recorder import ServicePolicy
from mirrorproxy.capture.routes import Route
from mirrorproxy.http1.origin import Origin
from mirrorproxy.topology import App, Instance


def app(name: str, *backends: Backend | Instance, **more: object) -> App:
    instances = tuple(one.instance if isinstance(one, Backend) else one for one in backends)
    return App(name=name, instances=instances, **more)  # type: ignore[arg-type]


def static(backend: Backend, name: str = "Shop", **more: object) -> Route:
    return Route(name, Origin("http", "127.0.0.1", backend.instance.port), **more)  # type: ignore[arg-type]


async def test_the_header_names_the_app() -> None:
    """Case aside; it reaches neither the app nor, by way of Connection, a client's wish."""
    orders, shop = Backend("orders"), Backend("shop")
    async with serving(DataPlane(), orders, shop) as plane:
        plane.serve(app("orders", orders), app("shop", shop))
        assert await plane.ask("X-Mirrorproxy-App: orders") == (200, "orders")
        assert await plane.ask("x-mirrorproxy-app: SHOP") == (200, "shop")
        assert b"mirrorproxy" not in b"".join(orders.heads + shop.heads).lower()
        assert [tap.service for tap in plane.recorder.taps] == ["orders", "shop"]


async def test_a_name_that_nobody_has_is_refused() -> None:
    """Also where a service would take everything: it was not asked for."""
    shop = Backend("shop")
    await shop.start()
    async with serving(DataPlane(static(shop)), shop) as plane:
        status, text = await plane.ask("X-Mirrorproxy-App: gone")
        assert (status, text) == (421, "mirrorproxy: no app has the name in X-Mirrorproxy-App\n")
        assert plane.counts["failed_unknown_app"] == 1
        assert shop.heads == []
        assert plane.recorder.taps == []


async def test_a_configured_service_is_found_by_its_name() -> None:
    """So labels alone route to it, without Consul."""
    shop, orders = Backend("shop"), Backend("orders")
    await shop.start()
    await orders.start()
    plane = DataPlane(static(orders, "orders", hosts=("o.test",)), static(shop))
    async with serving(plane, shop, orders):
        assert await plane.ask("X-Mirrorproxy-App: orders") == (200, "orders")
        assert await plane.ask("X-Mirrorproxy-App: shop", host="o.test") == (200, "shop")


async def test_strict_does_not_believe_the_header() -> None:
    """A client that connects directly could choose any app; host and path decide."""
    shop, orders = Backend("shop"), Backend("orders")
    await shop.start()
    async with serving(DataPlane(static(shop), strict=True), shop, orders) as plane:
        plane.serve(app("orders", orders))
        assert await plane.ask("X-Mirrorproxy-App: orders") == (200, "shop")
        assert await plane.ask("X-Mirrorproxy-App: gone") == (200, "shop")
        assert b"mirrorproxy" not in b"".join(shop.heads).lower()


async def test_pooled_apps_are_found_by_host_and_path_before_services() -> None:
    """Traefik sends a share of an app's requests without naming it."""
    shop, orders = Backend("shop"), Backend("orders")
    await shop.start()
    async with serving(DataPlane(static(shop)), shop, orders) as plane:
        plane.serve(app("orders", orders, mode="pooled", hosts=("o.test",), paths=("/api/**",)))
        assert await plane.ask(host="o.test", target="/api/1") == (200, "orders")
        assert await plane.ask(host="o.test", target="/") == (200, "shop")
        assert await plane.ask(host="a.test", target="/api/1") == (200, "shop")


async def test_an_app_whose_globs_cannot_be_read_is_found_by_its_name() -> None:
    """A bad tag must not turn its requests away."""
    orders = Backend("orders")
    async with serving(DataPlane(), orders) as plane:
        plane.serve(app("orders", orders, hosts=("*",), record_paths=("no slash",)))
        assert await plane.ask("X-Mirrorproxy-App: orders") == (200, "orders")
        assert (await plane.ask())[0] == 404
        assert plane.recorder.policies["orders"].percent == 0


async def test_an_app_without_instances_is_answered_503() -> None:
    """And counted."""
    async with serving(DataPlane()) as plane:
        plane.serve(app("orders"))
        assert await plane.ask("X-Mirrorproxy-App: orders") == (
            503,
            "mirrorproxy: no instance of this app is healthy\n",
        )
        assert plane.counts["failed_no_instance"] == 1


async def test_instances_take_turns() -> None:
    """Each gets its share, and what is recorded names the one that answered."""
    a, b = Backend("a"), Backend("b")
    async with serving(DataPlane(), a, b) as plane:
        plane.serve(app("orders", a, b))
        for _ in range(4):
            await plane.ask("X-Mirrorproxy-App: orders")
        assert (len(a.heads), len(b.heads)) == (2, 2)
        assert {tap.upstream.port for tap in plane.recorder.taps} == {
            a.instance.port,
            b.instance.port,
        }


async def test_a_slow_instance_gets_fewer_requests() -> None:
    """While one holds a request, the others go elsewhere."""
    a, b = Backend("a"), Backend("b")
    async with serving(DataPlane(), a, b) as plane:
        plane.serve(app("orders", a, b))
        a.may_answer.clear()
        held = asyncio.create_task(plane.ask("X-Mirrorproxy-App: orders"))
        await asyncio.wait_for(a.came.wait(), 10)
        answers = [await plane.ask("X-Mirrorproxy-App: orders") for _ in range(4)]
        assert answers == [(200, "b")] * 4
        a.may_answer.set()
        assert await held == (200, "a")
        await plane.ask("X-Mirrorproxy-App: orders")
        await plane.ask("X-Mirrorproxy-App: orders")
        assert len(a.heads) == 2, "what was held is no longer counted as under way"


async def test_a_request_goes_on_where_an_instance_refuses() -> None:
    """Nobody notices; the instance is set aside, and the record names the one that answered."""
    a = Backend("a")
    async with serving(DataPlane(), a) as plane:
        plane.serve(app("orders", nobody(), nobody(), a))
        answers = [
            await exchange(plane.address, "/", ["Host: h", "X-Mirrorproxy-App: orders"], b"body")
            for _ in range(6)
        ]
        assert answers == [(200, "a")] * 6
        assert plane.counts["set_aside"] == 2
        assert plane.counts["upstream_elsewhere"] == 2
        assert "failed_connect_refused" not in plane.counts
        assert {tap.upstream.port for tap in plane.recorder.taps} == {a.instance.port}
        assert [tap.ends for tap in plane.recorder.taps] == [["finished"]] * 6


async def test_an_instance_that_says_nothing_is_not_waited_for_long() -> None:
    """A firewall that drops packets costs its client a second, not the whole time-out of 5 s."""
    a = Backend("a")
    with full_backlog() as silent:
        async with serving(DataPlane(), a) as plane:
            plane.serve(app("orders", silent, a))
            async with asyncio.timeout(4):
                assert await plane.ask("X-Mirrorproxy-App: orders") == (200, "a")
            assert plane.counts["upstream_elsewhere"] == 1


async def test_when_all_refuse_the_request_fails_once() -> None:
    """Each is tried, nothing is tried for ever, and the tap hears one end."""
    async with serving(DataPlane()) as plane:
        plane.serve(app("orders", nobody(), nobody(), nobody()))
        for _ in range(2):
            assert (await plane.ask("X-Mirrorproxy-App: orders"))[0] == 502
        assert plane.counts["upstream_elsewhere"] == 4
        assert plane.counts["failed_connect_refused"] == 2
        assert [tap.ends for tap in plane.recorder.taps] == [["failed: connect_refused"]] * 2
        balance = plane.follower.table.balances["orders"]
        assert [member.outstanding for member in balance.members] == [0, 0, 0]


@pytest.mark.parametrize("who", ["client", "instance"])
async def test_a_tunnel_counts_as_long_as_it_lasts(who: str) -> None:
    """Whichever side ends it."""
    a = Backend("a")
    async with serving(DataPlane(), a) as plane:
        plane.serve(app("orders", a))
        (member,) = plane.follower.table.balances["orders"].members
        reader, writer = await asyncio.open_connection(*plane.address)
        head = ["GET / HTTP/1.1", "Host: h", "X-Mirrorproxy-App: orders"]
        head += ["Connection: Upgrade", "Upgrade: echo", "", ""]
        writer.write("\r\n".join(head).encode())
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        writer.write(b"ping")
        assert await asyncio.wait_for(reader.readexactly(4), 10) == b"ping"
        assert member.outstanding == 1
        if who == "client":
            writer.close()
        else:
            writer.write(b"end")
            assert await asyncio.wait_for(reader.read(), 10) == b"end"
        async with asyncio.timeout(10):
            while plane.proxy.active:
                await asyncio.sleep(0.005)
        assert member.outstanding == 0
        writer.close()


async def test_what_is_under_way_ends_where_it_began() -> None:
    """An instance and an app that go keep the requests they have; new ones go by the new table."""
    a, b = Backend("a"), Backend("b")
    async with serving(DataPlane(), a, b) as plane:
        plane.serve(app("orders", a))
        a.may_answer.clear()
        held = asyncio.create_task(plane.ask("X-Mirrorproxy-App: orders"))
        await asyncio.wait_for(a.came.wait(), 10)
        plane.serve(app("orders", b))
        assert await plane.ask("X-Mirrorproxy-App: orders") == (200, "b")
        plane.serve()
        assert (await plane.ask("X-Mirrorproxy-App: orders"))[0] == 421
        a.may_answer.set()
        assert await held == (200, "a")


async def test_idle_connections_to_instances_that_go_are_closed() -> None:
    """Those of the others are kept."""
    a, b = Backend("a"), Backend("b")
    async with serving(DataPlane(), a, b) as plane:
        plane.serve(app("orders", a, b))
        for _ in range(2):
            await plane.ask("X-Mirrorproxy-App: orders")
        assert (a.open_connections, b.open_connections) == (1, 1)
        plane.serve(app("orders", b))
        async with asyncio.timeout(2):  # less than the idle time-out of 4 s
            while a.open_connections:
                await asyncio.sleep(0.005)
        assert b.open_connections == 1


async def test_what_is_recorded_follows_too() -> None:
    """Shares and secret names of apps; a share that was set live wins until it is taken back."""
    policies = {"Shop": ServicePolicy(percent=50)}
    async with serving(DataPlane(policies=policies)) as plane:
        found = plane.recorder.policies
        orders = app("orders", percent=20, response_body=True, seal=("X-Pin", "x-pin", ""))
        plane.serve(orders, app("cart"))
        assert (found["Shop"].percent, found["orders"].percent, found["cart"].percent) == (
            50,
            20,
            100,
        )
        assert found["orders"].response_body
        assert found["cart"].sealing is None
        assert plane.sealings == [("x-pin",)]
        sealing = found["orders"].sealing
        plane.serve(orders, app("cart"), percent=1.0, percents={"orders": 5.0})
        assert (found["Shop"].percent, found["orders"].percent, found["cart"].percent) == (1, 5, 1)
        assert found["orders"].sealing is sealing, "what it remembers is kept"
        plane.serve(orders)
        assert (found["Shop"].percent, found["orders"].percent) == (50, 20)
        assert found["cart"].percent == 1, "an app that is gone keeps its policy for what it has"


async def test_what_cannot_be_read_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A worker goes on with what it knew."""
    orders = Backend("orders")
    async with serving(DataPlane(), orders) as plane:
        plane.serve(app("orders", orders))
        plane.follower.hear(b'{"topology": 1}')
        assert await plane.ask("X-Mirrorproxy-App: orders") == (200, "orders")
    assert "a change of the topology is not followed" in caplog.text


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        pytest.param(App(name="orders"), None, id="nothing wrong"),
        pytest.param(
            App(name="shop"), "a service of the configuration has this name", id="a taken name"
        ),
        pytest.param(App(name="a", percent=101), "a share is from 0 to 100, not 101", id="share"),
        pytest.param(
            App(name="a", record_paths=("x",)), "a path glob begins with a slash: 'x'", id="path"
        ),
        pytest.param(
            App(name="a", hosts=("*",)), "a host is a name, or *. and a name: '*'", id="host"
        ),
    ],
)
def test_what_is_wrong_with_an_app_is_said(described: App, expected: str | None) -> None:
    """In one line, for whoever wrote the tag."""
    assert problem(described, ["Shop"]) == expected
