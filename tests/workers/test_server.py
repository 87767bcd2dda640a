import subprocess
import sys

from hpo_utils.workers.server import PRELOADED

# each takes 0.3 to 0.9 s to import, before the first trial of every study, and trains nothing
OF_REPORTS = {"scipy.stats", "pandas", "sklearn", "nbformat", "matplotlib.pyplot"}


def test_workers_wait_for_no_module_that_only_reports_need():
    program = f"import sys, {', '.join(PRELOADED)}; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert OF_REPORTS.isdisjoint(done.stdout.split())
