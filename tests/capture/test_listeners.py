"""Addresses and sockets: what is accepted, and what is refused in one line."""

import socket

import pytest

from mirrorproxy.capture.listeners import (
    Address,
    address_of,
    bind_alone,
    bind_shared,
    parse_address,
)
from mirrorproxy.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        pytest.param("127.0.0.1:8080", ("127.0.0.1", 8080), id="IPv4"),
        pytest.param("[::1]:8080", ("::1", 8080), id="IPv6 in brackets"),
        pytest.param("localhost:0", ("localhost", 0), id="a name, any port"),
        pytest.param(":8080", ("0.0.0.0", 8080), id="every interface"),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    """Read as people write them."""
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "8080",
        "host",
        "host:",
        "host:http",
        "host:65536",
        "::1:8080",
        "[x]:1",
        "a b:1",
        "http://a:1",
    ],
)
def test_addresses_refused(text: str) -> None:
    """One line says what was expected."""
    with pytest.raises(ValueError, match=r"^expected HOST:PORT, such as 127\.0\.0\.1:8080, not '"):
        parse_address(text)


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.com", False),
    ],
)
def test_loopback(host: str, is_loopback: bool) -> None:
    """Only what this machine alone can reach."""
    assert Address(host, 1).is_loopback is is_loopback


def test_shared_sockets_have_one_port() -> None:
    """Port 0 is chosen once for all workers."""
    sockets = bind_shared(Address("127.0.0.1", 0), 3)
    try:
        assert len({address_of(bound).port for bound in sockets}) == 1
    finally:
        for bound in sockets:
            bound.close()


def test_port_in_use_is_refused_even_if_it_could_be_shared() -> None:
    """Two mirrors never share a port by accident."""
    first = bind_shared(Address("127.0.0.1", 0), 1)
    try:
        address = address_of(first[0])
        with pytest.raises(ConfigError, match=r"^cannot listen on .*: the port is in use$"):
            bind_shared(address, 1)
    finally:
        first[0].close()


def test_shared_beside_the_workers_of_a_killed_supervisor() -> None:
    """Beside orphans the port may be shared: a restart needs no gap."""
    first = bind_shared(Address("127.0.0.1", 0), 1)
    second = bind_shared(address_of(first[0]), 1, beside_others=True)
    for bound in (*first, *second):
        bound.close()


def test_address_of_another_machine() -> None:
    """Said in one line."""
    with pytest.raises(ConfigError, match="does not have that address"):
        bind_alone(Address("192.0.2.1", 0))


def test_unknown_name() -> None:
    """A name that does not resolve is a mistake, not a traceback."""
    with pytest.raises(ConfigError, match="the host name is not known"):
        bind_alone(Address("a..b", 80))


def test_occupied_by_a_plain_server() -> None:
    """Whatever sits on the port, the reason is the same line."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(ConfigError, match="the port is in use"):
            bind_shared(Address("127.0.0.1", server.getsockname()[1]), 2, beside_others=True)
