"""Stands in for a worker or a shipper: does on command what real ones do by misfortune.

A worker answers each connection by what the client asks for: ``pid``, ``die``,
``hang``, ``record`` (appends a line to its segment that it does not count),
``slow`` (answers once told to drain) or ``live`` (what it was last told is so).
"""

import argparse
import json
import os
import selectors
import socket
import time
from pathlib import Path

from mirrorproxy.capture.child import DRAIN, LIVE, Words, receive_settings
from mirrorproxy.capture.slots import SLOTS, SlotLocks
from mirrorproxy.metrics import INDEX, CounterFile


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("--control", type=int)
    parser.add_argument("--listen", type=int)
    args = parser.parse_args()
    control = socket.socket(fileno=args.control)
    settings = json.loads(receive_settings(control))
    if settings.get("die_at_start"):
        os._exit(3)
    if args.kind == "worker":
        work(control, socket.socket(fileno=args.listen), settings)
    else:
        ship(control, Path(settings["spool"]))


def ship(control: socket.socket, spool: Path) -> None:
    (spool / "shipper.pid").write_text(str(os.getpid()))
    word = control.recv(1)
    if word == DRAIN:
        (spool / "drained").write_text(str(os.getpid()))
    os._exit(0)


def work(control: socket.socket, listening: socket.socket, settings: dict) -> None:
    spool, slot = Path(settings["spool"]), settings["slot"]
    assert SlotLocks(spool / "slots").hold(slot)
    numbers = CounterFile(spool / "counters", SLOTS).slot(slot)
    segment_us = time.time_ns() // 1000
    segment = spool / "segments" / f"{segment_us:016d}-{slot}-0.ndjson"
    numbers[INDEX["pid"]] = os.getpid()
    numbers[INDEX["heartbeat_ns"]] = time.monotonic_ns()
    numbers[INDEX["ready"]] = 1
    slow = []
    words, live = Words(), settings["live"].encode()
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(listening, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select(0.1):
            if key.fileobj is control:
                said = words.feed(control.recv(65536))
                live = [live, *(payload for word, payload in said if word == LIVE)][-1]
                if said and said[-1][0] != DRAIN:
                    continue
                for client in slow:
                    client.sendall(b"slow")
                os._exit(0)
            client, _ = listening.accept()
            client.settimeout(5)
            word = client.recv(16)
            if word == b"die":
                os._exit(4)
            if word == b"hang":
                time.sleep(60)
            if word == b"slow":
                slow.append(client)
                continue
            if word == b"record":
                numbers[INDEX["seen"]] += 2
                with segment.open("ab") as file:
                    file.write(b"{}\n")
                os._exit(5)
            client.sendall(live if word == b"live" else str(os.getpid()).encode())
            client.close()
        numbers[INDEX["heartbeat_ns"]] = time.monotonic_ns()


main()
