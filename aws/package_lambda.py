"""The zip of the two Lambda functions: `make lambda`.

Owns what is in it: mirrorproxy, the packages of lambda-requirements.txt for Lambda's platform
(not for this machine's), and a rule file if one is given. The same sources make the same bytes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = Path(__file__).with_name("lambda-requirements.txt")

MAX_BYTES = 50 * 1024 * 1024
"""A larger zip cannot be uploaded as it is (Lambda quotas, deployment package)."""

MANYLINUX = ("2_28", "2_26", "2_24", "2_17", "2014")
"""Amazon Linux 2023, which the Python 3.12 and 3.13 runtimes are made of, has glibc 2.34."""

_NOT_RUN = {".c", ".h", ".pyi", ".pyx", ".pxd", ".pxi", ".a", ".typed"}
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_LEVEL = 9


def main() -> int:
    """Make the zip; return the exit status."""
    parser = argparse.ArgumentParser(description="make the zip of the two Lambda functions")
    parser.add_argument("--output", type=Path, default=ROOT / "dist/mirrorproxy-lambda.zip")
    parser.add_argument("--python", default="3.13", help="version of the runtime (3.13)")
    parser.add_argument("--machine", default="aarch64", help="aarch64 (arm64) or x86_64")
    parser.add_argument("--rules", type=Path, help="a rule file to put into it as rules.yaml")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "zip"
        _install(folder, args.python, args.machine)
        _copy(ROOT / "mirrorproxy", folder / "mirrorproxy")
        if args.rules is not None:
            shutil.copyfile(args.rules, folder / "rules.yaml")
        args.output.parent.mkdir(parents=True, exist_ok=True)
        is_compiled = pack(folder, args.python, args.output)
    size = args.output.stat().st_size
    _say(f"{args.output}: {size / 1e6:.1f} MB, Python {args.python}, {args.machine}")
    if not is_compiled:
        _say(
            f"no python{args.python} here to compile for it: a cold start compiles, and takes "
            "about twice as long"
        )
    if size > MAX_BYTES:
        _say(f"more than {MAX_BYTES >> 20} MiB: Lambda does not take it")
        return 1
    return 0


def pack(folder: Path, python: str, output: Path) -> bool:
    """Make a zip of a folder; return whether it was compiled for that version of Python."""
    _tidy(folder)
    is_compiled = _compile(folder, python)
    _write(folder, output)
    return is_compiled


def _install(folder: Path, python: str, machine: str) -> None:
    """Unpack the wheels of the requirements for the runtime; nothing is built or run."""
    platforms = [f"--platform=manylinux_{one}_{machine}" for one in MANYLINUX if "_" in one]
    command = [
        sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install",
        "--no-deps", "--only-binary=:all:", "--no-compile", "--implementation=cp",
        f"--python-version={python}", *platforms, f"--platform=manylinux2014_{machine}",
        "--target", str(folder), "--requirement", str(_for(python, folder.parent)),
    ]  # fmt: skip
    subprocess.run(command, check=True)


def _for(python: str, folder: Path) -> Path:
    """Return the requirements of a version: pip looks at markers for the one it runs on."""
    version = tuple(map(int, python.split(".")))
    lines: list[str] = []
    for line in REQUIREMENTS.read_text().splitlines():
        wanted, _, marker = line.partition(" ; ")
        if marker:
            before = tuple(map(int, marker.split('"')[1].split(".")))
            if version >= before:
                continue
        lines.append(wanted)
    path = folder / "requirements.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.so"))


def _tidy(folder: Path) -> None:
    """Take out what is never run, but for licences."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            if path.name in ("__pycache__", "bin", "tests") or not any(path.iterdir()):
                shutil.rmtree(path)
        elif path.suffix in _NOT_RUN or path.name in ("RECORD", "INSTALLER", "REQUESTED"):
            path.unlink()


def _compile(folder: Path, python: str) -> bool:
    """Compile for the runtime, if its Python is here: what lies in a function is read-only."""
    program = _interpreter(python)
    if program is None:
        return False
    # Unchecked: the files of a zip have no time that could be compared.
    mode = "import compileall, py_compile, sys; sys.exit(not compileall.compile_dir("
    mode += "'.', quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH))"
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    subprocess.run([program, "-I", "-S", "-c", mode], cwd=folder, env=environ, check=True)
    return True


def _interpreter(version: str) -> str | None:
    """Return the path of an interpreter of a version, None if there is none that runs."""
    say = "import sys; print('%d.%d' % sys.version_info[:2])"
    for program in (sys.executable, f"python{version}"):
        try:
            found = subprocess.run(
                [program, "-c", say], check=False, capture_output=True, text=True
            )
        except OSError:
            continue
        if found.stdout.strip() == version:
            return program
    return None


def _write(folder: Path, output: Path) -> None:
    temporary = output.with_name(f"{output.name}.tmp")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        files = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.is_file()
        }
        for name, path in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            mode = 0o755 if path.suffix == ".so" else 0o644
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, path.read_bytes())
    temporary.replace(output)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
