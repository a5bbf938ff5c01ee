"""The tap: copies of requests are read, recorded and answered 204."""

import asyncio

from data_plane import Backend, DataPlane, exchange, serving
from recorder_fakes import Bench

from mirrorproxy.topology import App

ORDERS = App(name="orders", mode="tap")
TO_ORDERS = ["Host: a.test", "X-Mirrorproxy-App: orders"]


async def test_a_copy_is_answered_204_and_goes_nowhere() -> None:
    """Found by the header; told to the recorder whole, without an upstream."""
    orders = Backend("orders")
    async with serving(DataPlane(), orders) as plane:
        plane.serve(App(name="orders", mode="tap", instances=(orders.instance,)))
        assert await exchange(plane.tap_address, "/1?x", TO_ORDERS, b"body") == (204, "")
        (tap,) = plane.recorder.taps
        assert (tap.service, tap.upstream) == ("orders", None)
        assert (tap.head.target, bytes(tap.body), tap.complete) == (b"/1?x", b"body", True)
        assert (tap.response, tap.ends) == (None, ["finished"])
        assert orders.heads == []
        assert plane.counts["copies"] == 1
        assert plane.proxy.active == 0


async def test_strict_is_about_clients() -> None:
    """The tap faces Traefik: there the header is believed."""
    async with serving(DataPlane(strict=True)) as plane:
        plane.serve(ORDERS)
        assert (await exchange(plane.tap_address, "/", TO_ORDERS))[0] == 204
        assert (await plane.ask("X-Mirrorproxy-App: orders"))[0] == 404


async def test_a_copy_for_nobody_is_refused() -> None:
    """A name that is not known, and a request that names none and fits none."""
    async with serving(DataPlane()) as plane:
        assert (await exchange(plane.tap_address, "/", TO_ORDERS))[0] == 421
        assert (await exchange(plane.tap_address, "/", ["Host: a.test"]))[0] == 404
        assert plane.recorder.taps == []


async def test_copies_follow_each_other_on_one_connection() -> None:
    """Bodies in pieces, chunked ones, trailers; whoever waits for a 100 gets it."""
    async with serving(DataPlane()) as plane:
        plane.serve(ORDERS)
        reader, writer = await asyncio.open_connection(*plane.tap_address)
        head = "\r\n".join(["POST /{} HTTP/1.1", *TO_ORDERS, "{}", "", ""])
        writer.write(head.format("a", "Transfer-Encoding: chunked\r\nTrailer: T").encode())
        writer.write(b"2\r\nab\r\n0\r\nT: 1\r\n\r\n")
        writer.write(head.format("b", "Content-Length: 4\r\nExpect: 100-continue").encode())
        taken = b"HTTP/1.1 204 No Content\r\n\r\n"
        go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert await asyncio.wait_for(reader.readexactly(len(taken + go_on)), 10) == taken + go_on
        writer.write(b"cd")
        await writer.drain()
        writer.write(b"ef")
        assert await asyncio.wait_for(reader.readexactly(len(taken)), 10) == taken
        writer.close()
        first, second = plane.recorder.taps
        assert (bytes(first.body), first.trailers) == (b"ab", [("T", "1")])
        assert bytes(second.body) == b"cdef"


async def test_a_copy_that_breaks_off_is_not_recorded() -> None:
    """It is dropped, and counted as the sender's."""
    async with serving(DataPlane()) as plane:
        plane.serve(ORDERS)
        _, writer = await asyncio.open_connection(*plane.tap_address)
        head = ["POST / HTTP/1.1", *TO_ORDERS, "Content-Length: 9", "", ""]
        writer.write("\r\n".join(head).encode())
        writer.write(b"half")
        await writer.drain()
        writer.close()
        async with asyncio.timeout(10):
            while not (plane.recorder.taps and plane.recorder.taps[0].ends):
                await asyncio.sleep(0.005)
        assert plane.recorder.taps[0].ends == ["abandoned: client_aborted"]
        assert plane.proxy.active == 0


def test_its_record_says_that_nobody_saw_the_answer() -> None:
    """via tap, observed false, no upstream; sealed and counted like any other."""
    bench = Bench()
    tap = bench.begin(upstream=None)
    tap.request_data(b"s3cret")
    tap.request_end()
    tap.finish(5)
    (record,) = bench.exchanges
    assert (record.via, record.observed, record.upstream, record.response) == (
        "tap",
        False,
        "",
        None,
    )
    assert "s3cret" not in (record.request.body or "")
    assert bench.counts == {"seen": 1, "captured": 1}


def test_a_full_disk_refuses_nobody() -> None:
    """The copy is dropped and counted; its sender is none the wiser."""
    bench = Bench()
    bench.writer.error = OSError(28, "No space left on device")
    tap = bench.begin(upstream=None)
    tap.request_end()
    tap.finish(5)
    assert bench.counts == {"seen": 1, "dropped_disk": 1}
