"""How the checkout is laid out: what is packaged, what is not, and how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib

import pytest

from mirrorproxy import __version__

MAX_LINES = 400


def sources(repository):
    return sorted((repository / "mirrorproxy").rglob("*.py"))


def test_the_folder_consul_does_not_shadow_the_module_consul(repository, tmp_path):
    """The folder holds definitions, and must not be what ``import consul`` finds."""
    (tmp_path / "consul").mkdir()
    (tmp_path / "consul" / "__init__.py").write_text("name = 'installed'\n")
    script = f"import sys; sys.path.insert(1, {str(tmp_path)!r}); import consul; print(consul.name)"
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=repository, check=True, capture_output=True, text=True
    )
    assert found.stdout == "installed\n"


@pytest.mark.parametrize("folder", ["traefik", "consul", "aws", "examples", "benchmarks"])
def test_folders_beside_the_package_are_no_packages(repository, folder):
    """They exist, and hold no __init__.py."""
    assert (repository / folder).is_dir()
    assert not (repository / folder / "__init__.py").exists()


def test_only_the_package_is_packaged(repository):
    """A wheel holds mirrorproxy and nothing beside it."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["packages"]["find"] == {"include": ["mirrorproxy*"]}
    assert project["project"]["version"] == __version__


def test_no_source_file_is_too_long(repository):
    """Readable in one sitting."""
    lengths = {str(path): len(path.read_text().splitlines()) for path in sources(repository)}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_every_module_says_what_it_owns(repository):
    """Each opens with a docstring."""
    silent = [
        str(path)
        for path in sources(repository)
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_base_names_of_tests_are_unique(repository):
    """Tests and benchmarks are modules without packages: two of one name hide each other."""
    # `run.py` of either is a program and never imported by the other's tests.
    names = [
        path.name
        for folder in ("tests", "benchmarks")
        for path in (repository / folder).rglob("*.py")
        if path.name not in ("conftest.py", "run.py")
    ]
    assert sorted({name for name in names if names.count(name) > 1}) == []
