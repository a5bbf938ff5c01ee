"""Routes: host and path decide the service."""

import re

import pytest

from mirrorproxy.capture.routes import Route, Routes
from mirrorproxy.http1.origin import Origin

ORIGIN = Origin("http", "127.0.0.1", 8080)


def route(service, hosts=(), paths=()):
    return Route(service, ORIGIN, hosts=tuple(hosts), paths=tuple(paths))


def service_of(routes, host, target=b"/"):
    found = routes.find(host, target)
    return found.service if found else None


def test_one_service_without_conditions_takes_everything():
    """The simplest set-up needs neither host nor path."""
    routes = Routes([route("app")])
    assert service_of(routes, b"") == "app"
    assert service_of(routes, b"anything:99", b"*") == "app"


@pytest.mark.parametrize(
    ("host", "service"),
    [
        pytest.param(b"api.example.com", "exact", id="exact"),
        pytest.param(b"api.example.com:8443", "exact", id="any port"),
        pytest.param(b"api.example.com.", "exact", id="complete name"),
        pytest.param(b"a.b.example.org", "below", id="names below"),
        pytest.param(b"example.org", None, id="not the name itself"),
        pytest.param(b"badexample.org", None, id="not a name that only ends alike"),
        pytest.param(b".example.org", None, id="an empty label is no name below"),
        pytest.param(b"admin.test:9000", "port", id="the port asked for"),
        pytest.param(b"admin.test", None, id="without the port asked for"),
        pytest.param(b"[::1]:8080", "v6", id="IPv6 with a port"),
        pytest.param(b"[::1]", "v6", id="IPv6"),
        pytest.param(b"\xff\xfe", None, id="bytes that are no text"),
    ],
)
def test_hosts(host, service):
    """Exact names, names below a name, ports, addresses."""
    routes = Routes(
        [
            route("exact", ["API.example.com"]),
            route("below", ["*.example.org"]),
            route("port", ["admin.test:9000"]),
            route("v6", ["[::1]"]),
        ]
    )
    assert service_of(routes, host, b"/") == service


def test_the_first_route_that_fits_decides():
    """Order is the reader's: as in the rules."""
    routes = Routes(
        [
            route("orders", ["api.test"], ["/orders/**"]),
            route("users", paths=["/users/**"]),
            route("api", ["api.test"]),
            route("rest"),
        ]
    )
    assert service_of(routes, b"api.test", b"/orders/1?x=/users/") == "orders"
    assert service_of(routes, b"api.test", b"/users/1") == "users"
    assert service_of(routes, b"api.test", b"/else") == "api"
    assert service_of(routes, b"other.test", b"/orders/1") == "rest"


def test_paths_of_absolute_targets_are_found():
    """A target in absolute form is routed by its path."""
    routes = Routes([route("orders", paths=["/orders"])])
    assert service_of(routes, b"x", b"http://x/orders?y") == "orders"


def test_paths_may_hold_any_bytes():
    """Raw bytes in a target do not stop the routing."""
    routes = Routes([route("orders", paths=["/orders/*"])])
    assert service_of(routes, b"x", b"/orders/bl\xe5b") == "orders"


def test_no_route():
    """What no service takes is nobody's."""
    assert Routes([]).find(b"x", b"/") is None
    assert Routes([route("a", ["a.test"])]).find(b"x", b"/") is None


def test_only_so_many_hosts_are_remembered():
    """A client that invents hosts does not fill the memory."""
    routes = Routes([route("a", ["*.a.test"])])
    for number in range(3000):
        routes.find(b"h%d.a.test" % number, b"/")
    assert routes._of_host.cache_info().currsize <= 1024


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        pytest.param(route("a", ["http://x"]), "service a: a host is a name", id="a URL"),
        pytest.param(route("a", ["a.*.test"]), "'a.*.test'", id="a star in the middle"),
        pytest.param(route("a", [""]), "service a: a host", id="empty"),
        pytest.param(route("a", paths=["x"]), "service a: a path glob begins", id="a bad path"),
    ],
)
def test_bad_routes_are_named(bad, complaint):
    """One line that names the service and the pattern."""
    with pytest.raises(ValueError, match=re.escape(complaint)):
        Routes([bad])
