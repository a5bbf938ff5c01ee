"""``mirrorproxy capture`` with a stand-in for Consul: it publishes what its standard input says.

Each line of standard input is a topology as JSON; without WATCHED_LATE the first is
empty and comes at once. What is asked of the watcher is
appended to the file named by WATCHED_NOTES, one word a line.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

import msgspec

from mirrorproxy.commands import capture
from mirrorproxy.commands.capture_control import Ground
from mirrorproxy.config import CaptureSettings
from mirrorproxy.topology import Topology

NOTES = Path(os.environ["WATCHED_NOTES"])


class Watcher:
    """Publishes topologies; `fail` instead of one makes it raise."""

    def __init__(self, settings: CaptureSettings, ground: Ground) -> None:
        self._ground = ground
        self._shares = ground.follower("mirrorproxy/test/capture/")
        self._topology = Topology()
        self._published = 0
        self._reader: asyncio.StreamReader | None = None
        note(f"made for {settings.consul.url if settings.consul else None}")

    async def run(self) -> None:
        note("run")
        if self._reader is None:
            self._reader = asyncio.StreamReader()
            await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(self._reader), sys.stdin
            )
            if "WATCHED_LATE" not in os.environ:
                self._ground.publish(Topology())
        while line := await self._reader.readline():
            if line == b"fail\n":
                raise RuntimeError("told to")
            if line.startswith(b"percent "):
                self._shares({"percent": line.split()[1].decode()})
            else:
                self._topology = msgspec.json.decode(line, type=Topology)
                self._ground.publish(self._topology)
            self._published += 1
        await asyncio.Event().wait()

    async def close(self) -> None:
        note("deregistered")

    def status(self) -> object:
        return {"published": self._published}

    def document(self) -> object:
        return {"apps": [app.name for app in self._topology.apps]}


def note(word: str) -> None:
    with NOTES.open("a") as file:
        file.write(f"{word}\n")


def main() -> int:
    parser = argparse.ArgumentParser()
    capture.add_parser(parser.add_subparsers())
    return capture.run(parser.parse_args(), control=Watcher)


if __name__ == "__main__":
    sys.exit(main())
