"""The notebooks under nbmake, by the README's command, at the sizes that they carry for tests."""

import os
import subprocess
import sys

from hpo_utils.base.paths import project_root


def test_nbmake_passes_all_notebooks():
    command = [sys.executable, "-m", "pytest", "--nbmake", "notebooks/"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=project_root(), env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "5 passed" in done.stdout
