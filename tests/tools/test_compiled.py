"""What `make test-compiled` runs is compiled, also in the processes that tests start."""

import os
import subprocess
import sys

import pytest

WHERE = "import mirrorproxy.http1.heads as heads; print(heads.__file__)"


@pytest.mark.skipif("EXPECT_COMPILED" not in os.environ, reason="the sources are tested")
def test_started_processes_run_the_compiled_modules(repository):
    """Wherever they are started: Python would take the sources of its working directory."""
    found = subprocess.run(
        [sys.executable, "-c", WHERE], cwd=repository, capture_output=True, text=True, check=True
    )
    assert not found.stdout.strip().endswith(".py")
