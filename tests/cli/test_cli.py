"""The command line as a whole: which command runs, and how errors look."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from typing import Any

import pytest

from mirrorproxy import __version__, cli
from mirrorproxy.errors import ConfigError, MirrorproxyError, SinkUnavailable, SourceError


class FakeCommand:
    """A command that returns a status or raises what it was given."""

    def __init__(self, result: int | BaseException) -> None:
        self.result = result
        self.seen: argparse.Namespace | None = None

    def add_parser(self, subparsers: Any) -> None:
        parser = subparsers.add_parser("demo", help="fake")
        parser.add_argument("--speed", type=float, default=1.0)

    def run(self, args: argparse.Namespace) -> int:
        self.seen = args
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def install(monkeypatch):
    """Put a fake command in the place of ``demo``."""

    def put(result):
        command = FakeCommand(result)
        monkeypatch.setattr(cli, "_load", lambda _name: command)
        return command

    return put


def test_a_command_gets_its_options_and_gives_the_exit_status(install):
    """What the command returns is the exit status."""
    command = install(3)
    assert cli.main(["demo", "--speed", "2.5"]) == 3
    assert command.seen is not None
    assert command.seen.speed == 2.5


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        pytest.param(
            ConfigError("no such host", file="rules.yaml", line=7, key="targets.a.url"),
            2,
            "mirrorproxy: rules.yaml:7: targets.a.url: no such host\n",
            id="the user can mend the file",
        ),
        pytest.param(
            SourceError("capture: no such directory"),
            2,
            "mirrorproxy: capture: no such directory\n",
            id="nothing to read",
        ),
        pytest.param(
            SinkUnavailable("the directory\ncan't be written"),
            1,
            "mirrorproxy: the directory can't be written\n",
            id="one line even if the text has two",
        ),
        pytest.param(
            MirrorproxyError("odd"), 1, "mirrorproxy: odd\n", id="any other error of ours"
        ),
    ],
)
def test_an_error_is_one_line(install, capsys, error, status, line):
    """No traceback for what a user can mend."""
    install(error)
    assert cli.main(["demo"]) == status
    assert capsys.readouterr().err == line


def test_a_mistake_of_ours_keeps_its_traceback(install):
    """A bug is not dressed up as a user's mistake."""
    install(KeyError("bug"))
    with pytest.raises(KeyError):
        cli.main(["demo"])


def test_an_interrupt_is_130(install):
    """As a shell reports SIGINT."""
    install(KeyboardInterrupt())
    assert cli.main(["demo"]) == 130


def test_no_command_shows_help(capsys):
    """The bare program teaches, and says by its status that nothing was done."""
    assert cli.main([]) == 2
    assert "mirrorproxy replay ./capture" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["fly"], ["demo", "--fly"]])
def test_unknown_words_are_status_2(install, capsys, arguments):
    """A misspelt command or option is named."""
    install(0)
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "fly" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        pytest.param(
            ["dmo"],
            "mirrorproxy: 'dmo' is no command; did you mean demo?; see mirrorproxy --help\n",
            id="misspelt command",
        ),
        pytest.param(
            ["x"],
            "mirrorproxy: 'x' is no command; known: capture, replay, control, report, "
            "doctor, inspect, export, check, rules, demo; see mirrorproxy --help\n",
            id="nothing like a command",
        ),
        pytest.param(
            ["demo", "--speed", "fast"],
            "mirrorproxy: --speed: not a number: 'fast'; see mirrorproxy demo --help\n",
            id="no number",
        ),
        pytest.param(
            ["demo", "--fly"],
            "mirrorproxy: unrecognized arguments: --fly; see mirrorproxy demo --help\n",
            id="unknown option",
        ),
    ],
)
def test_a_mistake_in_options_is_one_line(install, capsys, arguments, line):
    """The line says what is wrong and where to read on, without the whole usage."""
    install(0)
    with pytest.raises(SystemExit):
        cli.main(arguments)
    assert capsys.readouterr().err == line


def test_version(capsys):
    """The version is that of the package."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"mirrorproxy {__version__}\n"


def test_help_imports_no_command():
    """Help answers at once because nothing heavy is loaded for it."""
    script = (
        "import sys; from mirrorproxy import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'aiohttp', 'msgspec', 'rich', 'uvloop'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_full_disk_under_the_output_is_one_line(lines):
    """``mirrorproxy ... > file`` on a full disk says so, early or at the last flush."""
    script = (
        "import sys, types; from mirrorproxy import cli\n"
        "def run(args):\n"
        f"    for _ in range({lines}): print('line')\n"
        "    return 0\n"
        "add = lambda parsers: parsers.add_parser('demo')\n"
        "cli._load = lambda name: types.SimpleNamespace(add_parser=add, run=run)\n"
        "sys.exit(cli.main(['demo']))\n"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    said = b"mirrorproxy: the output cannot be written: No space left on device\n"
    assert done.stderr == said


def test_output_that_is_closed_is_no_error(install, monkeypatch):
    """``mirrorproxy ... >&-`` still does its work."""
    install(0)
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.main(["demo"]) == 0
    sys.stdout.close()


def test_a_failing_file_of_ours_keeps_its_traceback(install):
    """Only trouble with the output itself is told as such."""
    install(OSError(28, "No space left on device", "/spool"))
    with pytest.raises(OSError, match="/spool"):
        cli.main(["demo"])


def test_a_reader_that_leaves_is_no_error():
    """``mirrorproxy ... | head`` ends quietly."""
    script = (
        "import sys, types; from mirrorproxy import cli\n"
        "def run(args):\n"
        "    for _ in range(100_000): print('line')\n"
        "    return 0\n"
        "add = lambda parsers: parsers.add_parser('demo')\n"
        "cli._load = lambda name: types.SimpleNamespace(add_parser=add, run=run)\n"
        "sys.exit(cli.main(['demo']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=60) == 141
        assert process.stderr.read() == b""


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_is_there_with_the_line_that_help_shows(name):
    """The table of commands and the commands themselves can't drift apart."""
    command = importlib.import_module(f"mirrorproxy.commands.{name}")
    subparsers = argparse.ArgumentParser().add_subparsers()
    command.add_parser(subparsers)
    assert [(choice.dest, choice.help) for choice in subparsers._choices_actions] == [
        (name, cli.COMMANDS[name])
    ]
    assert set(subparsers.choices) == {name}
    assert callable(command.run)
