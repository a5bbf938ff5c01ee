"""Tokens that expire while 2,000 shots a second need them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from captured import bearer
from server import write_capture

RATE = 2000
SECONDS = 5
# A machine that stands still for a second makes shots arrive late, not leave late.
LIFETIME_S = 4.0
REFRESH_BEFORE_S = 2.0

PROGRAM = Path(__file__).with_name("token_target.py")


def test_one_request_for_each_expiry_and_no_shot_with_an_expired_token(tmp_path, record_property):
    """The target judges each token by its own clock."""
    captured = [
        bearer(n, f"user{n % 50}", started_us=1_700_000_000_000_000 + n * 1_000_000 // RATE)
        for n in range(RATE * SECONDS)
    ]
    write_capture(tmp_path / "capture", captured)
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), str(LIFETIME_S)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            port, token_port = program.stdout.readline().split()
            (tmp_path / "rules.yaml").write_text(
                f"version: 1\ntargets: {{t: {{url: 'http://127.0.0.1:{port}', auth: [{{use:"
                f" {{client_credentials: {{token_url: 'http://127.0.0.1:{token_port}/',"
                f" client_id: a, refresh_before: {REFRESH_BEFORE_S}s}}}}}}],"
                " limits: {max_lag: 30s}}}\nrules: [{name: all, send: {}}]\n"
            )
            replay = subprocess.run(
                [sys.executable, "-m", "mirrorproxy", "replay", "capture", "--rules",
                 "rules.yaml", "--json", "--fail-on", "never"],
                cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False,
                env={**os.environ},
            )  # fmt: skip
            saw = json.loads(program.communicate("", timeout=30)[0])
        finally:
            if program.poll() is None:
                program.kill()
    assert replay.returncode == 0, replay.stderr
    ledger = json.loads(replay.stdout)
    record_property("saw", saw)
    print(saw, ledger["lag_ms"], ledger["latency_ms"])
    assert saw["shots"] == {"good": RATE * SECONDS}
    assert (ledger["answered"], ledger["balanced"]) == (RATE * SECONDS, True)
    # One request for each token, and none before the one it follows is about to end.
    # (The last may still be on its way when the replay is over.)
    assert 0 <= saw["token_requests"] - ledger["token_requests"]["granted"] <= 1
    assert saw["token_requests"] >= 2
    assert saw["most_at_once"] == 1
    assert min(saw["gaps_s"]) >= LIFETIME_S - REFRESH_BEFORE_S - 0.1
