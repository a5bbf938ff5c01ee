"""Following a log: every line once, whatever becomes of its file."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from mirrorproxy.members import MAX_LINE_BYTES
from mirrorproxy.sources.follow import LogFollower, Position, nothing_read


class Log:
    """A log as its writer and the rotation treat it; every change is a second later."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "access.log"
        self.writes_to = self.path
        self._now_s = 1_700_000_000
        self.followers: list[LogFollower] = []

    def follow(self, position: Position | None = None) -> LogFollower:
        self.followers.append(LogFollower(self.path, position))
        return self.followers[-1]

    def write(self, text: str) -> None:
        with self.writes_to.open("a") as file:
            file.write(text)
        self._touch(self.writes_to)

    def rename(self, name: str = "access.log.1") -> Path:
        """What logrotate does; the writer goes on in the renamed file until `reopen`."""
        rotated = self.path.with_name(name)
        self.path.rename(rotated)
        self.writes_to = rotated
        return rotated

    def reopen(self) -> None:
        self.writes_to = self.path

    def copy_and_cut(self, name: str = "access.log.1") -> Path:
        rotated = self.path.with_name(name)
        shutil.copyfile(self.path, rotated)
        self._touch(rotated)
        os.truncate(self.path, 0)
        return rotated

    def compress(self, rotated: Path, *, keeps_time: bool = True) -> None:
        packed = rotated.with_name(f"{rotated.name}.gz")
        packed.write_bytes(gzip.compress(rotated.read_bytes()))
        if keeps_time:
            shutil.copystat(rotated, packed)
        else:
            self._touch(packed)
        rotated.unlink()

    def _touch(self, path: Path) -> None:
        self._now_s += 1
        os.utime(path, (self._now_s, self._now_s))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path)
    yield log
    for follower in log.followers:
        follower.close()


def lines_of(follower: LogFollower) -> list[str]:
    """All that there is to read just now."""
    found: list[str] = []
    while lines := follower.read():
        found += [line.data.decode() for line in lines]
    return found


def again(follower: LogFollower, log: Log) -> LogFollower:
    """What another process does that goes on where this one was."""
    position = follower.position
    follower.close()
    return log.follow(position)


def test_lines_come_as_they_are_written_and_whole(log):
    """A file that is not there yet is waited for, a line until it ends."""
    follower = log.follow()
    assert lines_of(follower) == []
    log.write("one\ntw")
    assert lines_of(follower) == ["one"]
    log.write("o\n\nthree\n")
    assert lines_of(follower) == ["two", "three"]


def test_a_renamed_log_is_read_until_its_writer_goes_over(log):
    """Between the rename and the signal lines still go to the old file."""
    follower = log.follow()
    log.write("one\n")
    assert lines_of(follower) == ["one"]
    log.rename()
    log.write("two\n")
    log.path.touch()
    assert lines_of(follower) == ["two"]
    log.write("three\n")
    log.reopen()
    log.write("four\n")
    assert lines_of(follower) == ["three", "four"]


def test_a_log_that_was_renamed_twice_in_between(log):
    """The one that nobody saw is read too, in its turn."""
    follower = log.follow()
    log.write("one\n")
    assert lines_of(follower) == ["one"]
    first = log.rename("access.log.1")
    log.reopen()
    log.write("two\n")
    first.rename(first.with_name("access.log.2"))
    log.rename("access.log.1")
    log.reopen()
    log.write("three\n")
    assert lines_of(follower) == ["two", "three"]


def test_a_log_that_is_copied_and_cut(log):
    """What came between the last look and the cut is in the copy."""
    follower = log.follow()
    log.write("one is long\n")
    assert lines_of(follower) == ["one is long"]
    log.write("two\n")
    log.copy_and_cut()
    assert lines_of(follower) == ["two"]
    log.write("three\n")
    assert lines_of(follower) == ["three"]


def test_a_log_that_grew_beyond_its_old_length_after_the_cut(log):
    """Its size alone does not show that it was cut."""
    follower = log.follow()
    log.write("one\n")
    assert lines_of(follower) == ["one"]
    log.copy_and_cut()
    log.write("two is much longer\n")
    assert lines_of(follower) == ["two is much longer"]


def test_a_log_that_is_cut_without_a_copy_is_said_to_be(log, caplog):
    """Something may be lost then, and nobody else would notice."""
    follower = log.follow()
    log.write("one\n")
    assert lines_of(follower) == ["one"]
    os.truncate(log.path, 0)
    log.write("2\n")
    assert lines_of(follower) == ["2"]
    assert "there is no copy" in caplog.text


def test_another_process_goes_on_where_one_ended(log):
    """Neither lost nor twice; a line that had not ended is read whole."""
    follower = log.follow()
    log.write("one\ntw")
    assert lines_of(follower) == ["one"]
    follower = again(follower, log)
    log.write("o\n")
    assert lines_of(follower) == ["two"]


@pytest.mark.parametrize("rotation", ["rename", "copy_and_cut"])
@pytest.mark.parametrize("is_compressed", [False, True], ids=["plain", "compressed"])
def test_a_log_that_was_rotated_twice_while_nobody_followed(log, rotation, is_compressed):
    """The rest of what was being read, then what was rotated since, then the log."""
    log.write("zero\n")
    log.rename("access.log.9")
    log.reopen()
    follower = log.follow()
    log.write("one\n")
    assert lines_of(follower) == ["one"]
    follower.close()
    log.write("two\n")
    first = getattr(log, rotation)("access.log.2")
    log.reopen()
    log.write("three\n")
    getattr(log, rotation)("access.log.1")
    log.reopen()
    log.write("four\n")
    if is_compressed:
        log.compress(first)
    assert lines_of(again(follower, log)) == ["two", "three", "four"]


def test_an_old_log_that_is_compressed_meanwhile_is_none_of_ours(log):
    """It looks newer than it is where its time was not kept."""
    log.write("zero\n")
    old = log.rename("access.log.1")
    log.reopen()
    log.write("one\n")
    follower = log.follow()
    assert lines_of(follower) == ["one"]
    log.compress(old, keeps_time=False)
    log.write("two\n")
    assert lines_of(follower) == ["two"]
    os.utime(log.path, (1_600_000_000, 1_600_000_000))
    assert lines_of(follower) == []


def test_a_log_is_not_read_again_because_it_was_compressed(log):
    """The compressed copy begins as it does."""
    follower = log.follow()
    log.write("one\n")
    assert lines_of(follower) == ["one"]
    log.compress(log.rename(), keeps_time=False)
    log.reopen()
    log.write("two\n")
    assert lines_of(follower) == ["two"]


def test_a_copy_that_is_being_compressed_is_not_used(log):
    """Half of a gzip file stands beside the whole log for a while."""
    follower = log.follow()
    log.write("".join(f"{number}\n" for number in range(9)))
    follower.settle(follower.read()[0].end)
    position = follower.position
    rotated = log.rename()
    packed = gzip.compress(rotated.read_bytes())
    (rotated.parent / "access.log.1.gz").write_bytes(packed[:-8])
    log.reopen()
    log.write("9\n")
    assert lines_of(log.follow(position)) == [str(number) for number in range(1, 10)]


def test_a_line_that_comes_while_we_look_for_the_next_file(log):
    """It is read before the old file is left."""

    class Racing(LogFollower):
        def _successor(self, file: BinaryIO) -> Path | None:
            if not (late := log.path.with_name("late")).exists():
                late.touch()
                with log.path.with_name("access.log.1").open("a") as old:
                    old.write("two\n")
            return super()._successor(file)

    log.write("one\n")
    follower = Racing(log.path, None)
    log.followers.append(follower)
    assert [one.data for one in follower.read()] == [b"one"]
    log.rename()
    log.reopen()
    log.write("three\n")
    assert lines_of(follower) == []
    assert lines_of(follower) == ["two", "three"]


def test_what_was_read_last_is_gone(log, caplog):
    """Everything that changed since is read: rather twice than not at all."""
    follower = log.follow()
    log.write("one\n")
    assert lines_of(follower) == ["one"]
    follower.close()
    log.rename("access.log.2").unlink()
    log.reopen()
    log.write("two\n")
    log.rename("access.log.1")
    log.reopen()
    log.write("three\n")
    assert lines_of(again(follower, log)) == ["two", "three"]
    assert "what was read last is gone" in caplog.text


def test_a_log_that_was_rotated_before_anything_of_it_was_read(log):
    """What changed since the beginning is read, what was there before is not."""
    log.write("zero\n")
    log.rename("access.log.2")
    log.reopen()
    began = nothing_read(1_700_000_001_500_000_000)
    log.write("one\n")
    log.rename("access.log.1")
    log.reopen()
    log.write("two\n")
    assert lines_of(log.follow(began)) == ["one", "two"]


def test_only_what_was_dealt_with_counts_as_read(log):
    """Whoever ends in the middle of a batch gets the rest of it again."""
    log.write("one\ntwo\nthree\n")
    follower = log.follow()
    one, *_ = follower.read()
    follower.settle(one.end)
    assert lines_of(again(follower, log)) == ["two", "three"]


def test_a_line_without_an_end_takes_no_memory(log):
    """It is given out as one unreadable line, and what follows it is read."""
    follower = log.follow()
    log.write("x" * (MAX_LINE_BYTES + 1))
    assert lines_of(follower) == []
    log.write("x\ntwo\n")
    assert lines_of(follower) == ["\0", "two"]


def test_the_last_line_of_a_rotated_log_needs_no_end(log):
    """Nobody will write to it any more."""
    follower = log.follow()
    log.write("one\ntwo")
    assert lines_of(follower) == ["one"]
    log.rename()
    log.reopen()
    log.write("three\n")
    assert lines_of(follower) == ["two", "three"]
