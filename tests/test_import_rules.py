"""The rule of the house: who may import whom. The contracts stand in pyproject.toml."""

import subprocess
import sys

from tests.conftest import REPO


def test_rooms_import_only_what_they_may() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=REPO,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
