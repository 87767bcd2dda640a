"""The recipes for clusters, as far as they can be tried without one."""

import os
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import optuna
import pytest
import yaml

from hpo_utils.base.paths import project_root

RECIPES = project_root() / "recipes"
SLURM = RECIPES / "slurm.sh"


def test_the_job_follows_the_schema_of_kubernetes():
    job = yaml.safe_load((RECIPES / "kubernetes.yaml").read_text())
    kubernetes_validate.validate(job, "1.30", strict=True)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert "password" not in " ".join(container["command"])
    job["spec"]["template"]["spec"]["restartPolicy"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.30", strict=True)


def test_the_job_can_write_its_notebook_to_a_volume_that_is_empty(tmp_path):
    """Its command as it stands, but for the volume's place and a papermill that only writes."""
    job = yaml.safe_load((RECIPES / "kubernetes.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    papermill = tmp_path / "papermill"
    papermill.write_text('#!/bin/sh\necho "$@" > "$2"\n')
    papermill.chmod(0o755)
    command = [
        part.replace("/runs", f"{tmp_path}/runs").replace("$(JOB_COMPLETION_INDEX)", "3")
        for part in container["command"]
    ]
    subprocess.run(command, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True)
    written = (tmp_path / "runs" / "notebooks" / "03_optimize-3.ipynb").read_text()
    assert written.startswith("notebooks/03_optimize.ipynb ")
    assert f"paths.outputs_root={tmp_path}/runs" in written


@pytest.fixture
def home(tmp_path):
    """A folder as the script finds the project's after the installation."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    activate = tmp_path / ".venv" / "bin" / "activate"
    activate.write_text(f"PATH={Path(sys.executable).parent}:$PATH\n")
    (tmp_path / "notebooks").symlink_to(project_root() / "notebooks")
    return tmp_path


def sbatch(home, **environment):
    known = {"PATH": os.environ["PATH"], "SLURM_SUBMIT_DIR": str(home)}
    return subprocess.run(
        ["bash", str(SLURM)], env={**known, **environment}, capture_output=True, text=True
    )


def test_two_slurm_tasks_finish_a_study(home):
    """The script as Slurm would start it, the work done for real; the database is a file here."""
    given = {"PGPASSWORD": "s3cret", "HPO_RUNS": f"{home}/runs", "HPO_N_TRIALS": "2",
             "HPO_STORAGE": f"sqlite:///{home}/study.db", "HPO_PARAMS": "params/smoke.yaml",
             "HOME": str(home)}  # fmt: skip
    for task in (3, 4):
        done = sbatch(home, SLURM_ARRAY_TASK_ID=str(task), **given)
        assert done.returncode == 0, done.stderr
        executed = home / "runs" / "notebooks" / f"03_optimize-{task}.ipynb"
        assert "s3cret" not in executed.read_text()
    assert "nothing to do" in executed.read_text()
    study = optuna.load_study(study_name="smoke", storage=f"sqlite:///{home}/study.db")
    assert len(study.trials) == 2


@pytest.mark.parametrize("missing", ["HPO_STORAGE", "HPO_RUNS"])
def test_a_slurm_task_says_what_it_lacks(home, missing):
    given = {"HPO_STORAGE": "grpc://a:1", "HPO_RUNS": f"{home}/runs"}
    done = sbatch(home, **{name: value for name, value in given.items() if name != missing})
    assert done.returncode != 0
    assert f"{missing}: must be" in done.stderr
