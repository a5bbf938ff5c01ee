"""The script that fetches Consul: whose it takes, whose state it leaves alone, what it says."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "install-consul"

FAKE_APT = """#!/bin/sh
echo "$2" >> "$LOG"
[ "$2" = download ] && touch consul_1.deb
[ -z "$FAIL" ] || { echo "E: Failed to fetch http://me:pw@mirror.test/x  404"; exit 100; }
"""
FAKE_DPKG = """#!/bin/sh
mkdir -p "$3/usr/bin" && printf '#!/bin/sh\\n' > "$3/usr/bin/consul" && chmod +x "$3/usr/bin/consul"
"""


def module():
    """Return the script as a module."""
    loader = importlib.machinery.SourceFileLoader("install_consul", str(SCRIPT))
    spec = importlib.util.spec_from_loader("install_consul", loader)
    assert spec is not None
    made = importlib.util.module_from_spec(spec)
    written = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    loader.exec_module(made)
    sys.dont_write_bytecode = written
    return made


@pytest.fixture
def checkout(tmp_path):
    """The script in a checkout of its own, and an environment with an apt of our own."""
    script = tmp_path / "checkout/tests/tools/install-consul"
    script.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, script)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("apt-get", FAKE_APT), ("dpkg-deb", FAKE_DPKG)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    path = f"{programs}:/usr/bin:/bin"
    return script, {"PATH": path, "LOG": str(tmp_path / "log")}


def start(script, environ):
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, script], env=environ, stdout=pipe, stderr=pipe, text=True
    )


def test_a_consul_on_the_path_wins(checkout, tmp_path):
    script, environ = checkout
    own = tmp_path / "bin/consul"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    with start(script, environ) as process:
        assert process.communicate() == (f"{own}\n", "")
    assert not (tmp_path / "log").exists()


needs_debian = pytest.mark.skipif(
    not Path("/etc/apt/sources.list.d").is_dir(), reason="this machine has no apt sources"
)


@needs_debian
def test_two_at_once_fetch_it_once(checkout, tmp_path):
    script, environ = checkout
    expected = f"{tmp_path}/checkout/.cache/consul/consul\n"
    with start(script, environ) as one, start(script, environ) as two:
        assert [one.communicate(), two.communicate()] == [(expected, ""), (expected, "")]
    assert (tmp_path / "log").read_text() == "update\ndownload\n"
    left = sorted(path.name for path in (tmp_path / "checkout/.cache/consul").iterdir())
    assert left == ["consul", "lock"]


@needs_debian
def test_a_failure_is_one_line_without_logins_and_leaves_nothing(checkout, tmp_path):
    script, environ = checkout
    with start(script, {**environ, "FAIL": "yes"}) as process:
        said = process.communicate()
    assert process.returncode == 1
    assert said == (
        "",
        "install-consul: apt-get -q update: E: Failed to fetch http://mirror.test/x  404\n",
    )
    assert [path.name for path in (tmp_path / "checkout/.cache/consul").iterdir()] == ["lock"]


@needs_debian
@pytest.mark.skipif(shutil.which("apt-config") is None, reason="this machine has no apt")
def test_the_machines_apt_state_is_left_alone(tmp_path):
    """Lists, archives and sources lie in the folder, and no hook of the machine is run."""
    environ = module().private_apt(tmp_path)
    dump = subprocess.run(
        ["apt-config", "dump"], env=environ, check=True, capture_output=True, text=True
    ).stdout
    settings = dict(line.rstrip(";").split(" ", 1) for line in dump.splitlines() if " " in line)
    for key in ("State", "State::lists", "State::status", "Cache", "Cache::archives",
                "Etc::sourcelist", "Etc::sourceparts"):  # fmt: skip
        assert settings[f"Dir::{key}"].strip('"').startswith(str(tmp_path)), key
    assert "Post-Invoke" not in dump
    assert "Pre-Install" not in dump
    assert settings["APT::Get::AllowUnauthenticated"] == '"false"'
    assert settings["Acquire::AllowInsecureRepositories"] == '"false"'


def test_lines_of_the_release_alone_are_taken():
    text = """\
# deb http://a/debian bookworm main
deb http://a/debian bookworm main contrib
deb [arch=amd64 signed-by=/k.gpg] http://a/debian bookworm main
deb http://a/debian bookworm-updates main
deb-src http://a/debian bookworm main
deb http://other/ stable main
"""
    assert module().swap_lines(text, "bookworm") == (
        "deb http://a/debian bullseye main contrib\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://a/debian bullseye main\n"
    )


def test_stanzas_of_the_release_alone_are_taken():
    text = """\
Types: deb
URIs: http://a/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /k.gpg

Types: deb
URIs: http://a/security
Suites: bookworm-security
Components: main
"""
    assert module().swap_stanzas(text, "bookworm") == (
        "Types: deb\nURIs: http://a/debian\nSuites: bullseye\nComponents: main\nSigned-By: /k.gpg\n"
    )


def test_what_is_fetched_is_consul(consul_program):
    said = subprocess.run([consul_program, "version"], check=True, capture_output=True, text=True)
    assert said.stdout.startswith("Consul v1.")
