"""``mirrorproxy capture`` as a whole: real processes, real sockets, real kills."""

import asyncio
import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from running_capture import capture, free_port, origin, post, records

from mirrorproxy.capture.listeners import Address, address_of, bind_alone


async def test_requests_are_forwarded_recorded_and_accounted_for(tmp_path: Path) -> None:
    """From the first request to the ledger: nothing missing, exit status 0."""
    async with origin() as app, capture(app.url, tmp_path, "--service", "orders") as mirror:
        assert await post(mirror.url, 20) == [200] * 20
        status, ledger, _ = await mirror.end()
        assert status == 0
        assert (ledger["seen"], ledger["captured"], ledger["shipped"]) == (20, 20, 20)
        assert ledger["balanced"]
        found = records(tmp_path)
        assert sorted(one["request"]["target"] for one in found) == sorted(
            f"/orders/{number}" for number in range(20)
        )
        assert {one["service"] for one in found} == {"orders"}
        assert app.answered == 20


async def test_drain_finishes_what_is_in_flight(tmp_path: Path) -> None:
    """A request under way when SIGTERM comes is answered and recorded; the port is closed."""
    async with origin() as app, capture(app.url, tmp_path) as mirror:
        async with aiohttp.ClientSession() as session:
            slow = asyncio.create_task(session.get(f"{mirror.url}/slow"))
            await app.waiting.wait()
            mirror.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                while await mirror.is_ready():
                    await asyncio.sleep(0.01)
                while 0 not in await post(mirror.url, 1):
                    await asyncio.sleep(0.01)
            app.release.set()
            response = await slow
            assert response.status == 200
            response.release()
        status, ledger, _ = await mirror.ended()
        assert status == 0
        assert ledger["balanced"]
        assert "/slow" in [one["request"]["target"] for one in records(tmp_path)]


async def test_a_closed_terminal_drains_too(tmp_path: Path) -> None:
    """SIGHUP ends it as SIGTERM does: what was recorded is shipped."""
    async with origin() as app, capture(app.url, tmp_path) as mirror:
        assert await post(mirror.url, 1) == [200]
        status, ledger, _ = await mirror.end(signal.SIGHUP)
        assert status == 0
        assert ledger["shipped"] == 1


async def test_nobody_reads_what_it_says(tmp_path: Path) -> None:
    """With standard error gone it serves, ships and ends as ever."""
    with open("/dev/full", "w") as full:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mirrorproxy", "capture", *options_for(tmp_path), stderr=full
        )
    try:
        async with asyncio.timeout(30):
            while not (tmp_path / ".spool" / "shipper-status.json").exists():
                await asyncio.sleep(0.02)
            process.terminate()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()


async def test_second_signal_ends_at_once(tmp_path: Path) -> None:
    """What hangs does not keep an impatient operator waiting; it is counted as lost."""
    async with origin() as app, capture(app.url, tmp_path) as mirror:
        async with aiohttp.ClientSession() as session:
            slow = asyncio.create_task(session.get(f"{mirror.url}/slow"))
            await app.waiting.wait()
            mirror.process.send_signal(signal.SIGINT)
            async with asyncio.timeout(10):
                while await mirror.is_ready():
                    await asyncio.sleep(0.01)
            _, ledger, _ = await mirror.end(signal.SIGINT)
            assert (ledger["seen"], ledger["lost"], ledger["in_flight"]) == (1, 1, 0)
            with pytest.raises(aiohttp.ClientError):
                await slow


async def test_killed_workers_lose_only_what_was_in_flight(tmp_path: Path) -> None:
    """Every answered request is in the capture, whatever was killed meanwhile."""
    async with origin() as app, capture(app.url, tmp_path, workers=2) as mirror:
        load = asyncio.create_task(post(mirror.url, 400))
        for _ in range(3):
            await asyncio.sleep(0.1)
            os.kill(next(pid for pid in await mirror.worker_pids() if pid), signal.SIGKILL)
        statuses = await load
        await mirror.wait_ready()
        status, ledger, _ = await mirror.end()
        assert status == 0
        assert ledger["balanced"]
        answered = {f"/orders/{number}" for number, got in enumerate(statuses) if got == 200}
        assert len(answered) >= 397
        assert answered <= {one["request"]["target"] for one in records(tmp_path)}


async def test_killed_shipper_ships_everything_once_restarted(tmp_path: Path) -> None:
    """Requests go on, and all records arrive."""
    async with origin() as app, capture(app.url, tmp_path) as mirror:
        assert await post(mirror.url, 10) == [200] * 10
        os.kill((await mirror.status())["shipper"]["pid"], signal.SIGKILL)
        assert await post(mirror.url, 10) == [200] * 10
        status, ledger, _ = await mirror.end()
        assert status == 0
        assert (ledger["captured"], ledger["shipped"], ledger["balanced"]) == (20, 20, True)
        assert len({one["id"] for one in records(tmp_path)}) == 20


async def test_killed_altogether_it_balances_after_the_restart(tmp_path: Path) -> None:
    """kill -9 of every process: the next start finds every completed exchange in the spool."""
    async with origin() as app:
        async with capture(app.url, tmp_path, "--roll-age", "1h", workers=2) as mirror:
            pids = await mirror.children()
            slow = asyncio.create_task(post(f"{mirror.url}/slow", 1))
            await app.waiting.wait()
            assert await post(mirror.url, 30) == [200] * 30
            mirror.process.kill()
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            await slow
        async with capture(app.url, tmp_path) as mirror:
            assert await post(mirror.url, 5) == [200] * 5
            status, ledger, _ = await mirror.end()
        assert status == 0
        assert (ledger["seen"], ledger["captured"], ledger["lost"]) == (36, 35, 1)
        assert ledger["balanced"]
        assert len({one["id"] for one in records(tmp_path)}) == 35


async def test_workers_outlive_a_killed_supervisor_until_the_next_one(tmp_path: Path) -> None:
    """Not one request fails while a dead supervisor is replaced on the same port."""
    async with origin() as app:
        port = free_port()
        async with capture(app.url, tmp_path, port=port, workers=2) as first:
            orphans = await first.worker_pids()
            first.process.kill()
            await first.process.wait()
            assert await post(first.url, 10) == [200] * 10
            async with capture(app.url, tmp_path, port=port) as second:
                assert await post(second.url, 40) == [200] * 40
                assert not set(orphans) & set(await second.worker_pids())
                async with asyncio.timeout(20):
                    while any(map(is_alive, orphans)):
                        assert await post(second.url, 5) == [200] * 5
                        await asyncio.sleep(0.2)
                async with asyncio.timeout(5):
                    while (await second.status())["ledger"]["in_flight"]:
                        await asyncio.sleep(0.1)
                status, ledger, _ = await second.end()
        assert status == 0
        assert ledger["balanced"]
        assert ledger["captured"] == app.answered == len({one["id"] for one in records(tmp_path)})


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie has ended; nobody here is its parent.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def test_unshippable_rest_is_said(tmp_path: Path) -> None:
    """A target that vanished: requests go on, the rest is counted as waiting, exit status 1."""
    target = tmp_path / "to"
    options = ("--spool", str(tmp_path / "spool"), "--ship-timeout", "1s")
    async with origin() as app, capture(app.url, target, *options) as mirror:
        target.rmdir() if not any(target.iterdir()) else target.rename(tmp_path / "gone")
        target.write_text("in the way")
        assert await post(mirror.url, 3) == [200] * 3
        status, ledger, _ = await mirror.end()
        assert status == 1
        assert (ledger["captured"], ledger["waiting"], ledger["balanced"]) == (3, 3, True)


async def test_secrets_stay_out_of_sight(tmp_path: Path) -> None:
    """Neither the sealing key nor a client's secrets stand in arguments, environment or output."""
    key = "correct horse battery staple"
    environ = {"MIRRORPROXY_SEAL_KEY": key}
    async with origin() as app, capture(app.url, tmp_path, environ=environ) as mirror:
        await post(mirror.url, 1, Authorization="Bearer hunter2hunter2", Cookie="sid=hunter2x")
        shown = str(await mirror.status())
        for pid in await mirror.children():
            shown += Path(f"/proc/{pid}/cmdline").read_text()
        _, ledger, errors = await mirror.end()
        shown += errors + str(ledger)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            shown += gzip_text(content) if path.suffix == ".gz" else content.decode("latin-1")
    assert "Authorization" in shown
    assert "hunter2" not in shown
    assert key not in shown
    assert not (tmp_path / ".spool" / "seal.key").exists()


async def test_the_sealing_key_is_never_in_the_capture(tmp_path: Path, own_state: Path) -> None:
    """Whoever is handed a capture cannot guess at what its fingerprints stand for."""
    async with origin() as app, capture(app.url, tmp_path) as mirror:
        await post(mirror.url, 1)
        await mirror.end()
    assert not list(tmp_path.rglob("seal.key"))
    assert (own_state / "mirrorproxy" / "seal.key").stat().st_mode & 0o077 == 0


def gzip_text(content: bytes) -> str:
    return gzip.decompress(content).decode("latin-1")


def refused(*options: str) -> str:
    """Run a capture that must not start; return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "mirrorproxy", "capture", *options],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr.strip()


def options_for(to: Path) -> list[str]:
    return ["--listen", "127.0.0.1:0", "--upstream", "http://a", "--to", str(to), "--admin", "off"]


def test_unknown_kind_of_target(tmp_path: Path) -> None:
    """A scheme that no sink has is refused."""
    said = refused(*options_for(tmp_path), "--to", "ftp://x/y", "--spool", str(tmp_path))
    assert (
        said
        == "mirrorproxy: --to: ftp:// is not a kind of sink; known: a directory, s3://, firehose://"
    )


def test_target_that_cannot_be_made(tmp_path: Path) -> None:
    """A file in the way of the capture is named."""
    (tmp_path / "file").write_text("")
    said = refused(*options_for(tmp_path / "file" / "capture"))
    assert said == f"mirrorproxy: {tmp_path}/file/capture: cannot be made: Not a directory"


def test_file_in_place_of_the_target(tmp_path: Path) -> None:
    """A file where the directory should be is told as such."""
    (tmp_path / "file").write_text("")
    said = refused(*options_for(tmp_path / "file"))
    assert said == f"mirrorproxy: {tmp_path}/file: not a directory"


def test_admin_port_in_use(tmp_path: Path) -> None:
    """The default that nobody typed is named with its option."""
    with bind_alone(Address("127.0.0.1", 0)) as bound:
        address = str(address_of(bound))
        said = refused(*options_for(tmp_path), "--admin", address)
    assert said == (
        f"mirrorproxy: --admin: cannot listen on {address}: the port is in use; name another, "
        "or off"
    )


def test_port_in_use(tmp_path: Path) -> None:
    """Nothing is started beside another server."""
    with bind_alone(Address("127.0.0.1", 0)) as bound:
        address = str(address_of(bound))
        said = refused(*options_for(tmp_path), "--listen", address)
    assert said == f"mirrorproxy: cannot listen on {address}: the port is in use"


def test_no_place_for_the_sealing_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that cannot be written is told with the option that helps."""
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/none")
    assert refused(*options_for(tmp_path)) == (
        "mirrorproxy: /proc/none/mirrorproxy/seal.key: cannot make a sealing key: "
        "No such file or directory; name a file with --seal-key"
    )


def test_malformed_configuration(tmp_path: Path) -> None:
    """The file, the line and the key are named, and nothing is made."""
    path = tmp_path / "capture.yaml"
    path.write_text("workers: 2\nstrikt: true\n")
    said = refused("--config", str(path), *options_for(tmp_path / "to"))
    assert said == f"mirrorproxy: {path}:2: strikt: unknown key; did you mean strict?"
    assert not (tmp_path / "to").exists()


async def test_one_capture_per_spool(tmp_path: Path) -> None:
    """A second capture on the same spool is refused, and the first goes on."""
    async with origin() as app, capture(app.url, tmp_path) as mirror:
        said = await asyncio.to_thread(refused, *options_for(tmp_path))
        assert said == (
            f"mirrorproxy: {tmp_path}/.spool: another capture uses this spool: end it, or name "
            "another with --spool"
        )
        assert await post(mirror.url, 1) == [200]
        await mirror.end()
