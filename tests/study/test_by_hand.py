import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from hpo_utils.base.config import as_dict, load_config, with_target_weights
from hpo_utils.base.errors import ConfigError, HpoError, ParameterError, StudyError
from hpo_utils.data.preparation import prepare_data
from hpo_utils.study.by_hand import find_interrupted, load_training_config, train_by_hand
from hpo_utils.training.directory import CHECKPOINT_FILE, create_trial_output_dir
from hpo_utils.training.train import train_trial

PROGRAM = """
import sys
from hpo_utils.study.by_hand import train_by_hand
from hpo_utils.base.config import load_config
train_by_hand(load_config("params/smoke.yaml", sys.argv[1:]))
"""


def test_training_by_hand_makes_a_directory_only_when_it_can_train(make_config, tmp_path):
    for overrides, message in (
        (["synthetic.n_samples=8", "data_split.train_ratio=1", "data_split.val_ratio=0",
          "data_split.test_ratio=0"], "at least one sample"),
        (["training.device=gpu7"], "training.device must be"),
    ):  # fmt: skip
        with pytest.raises(HpoError, match=message):
            train_by_hand(make_config(*overrides))
        assert not list((tmp_path / "runs").glob("20*"))
    output_dir, metrics = train_by_hand(make_config())
    assert json.loads((output_dir / "metrics.json").read_text()) == metrics


def test_a_training_by_hand_that_was_interrupted_goes_on(make_config, capsys):
    def interrupt(epoch, score):
        if epoch == 2:
            raise KeyboardInterrupt

    cfg = make_config("training.epochs=4", "study.checkpoint_every_s=0")
    directory, uninterrupted = train_by_hand(cfg)
    waiting = create_trial_output_dir(cfg.paths.outputs_root)
    with pytest.raises(KeyboardInterrupt):
        train_trial(cfg, waiting, prepare_data(cfg), interrupt)
    other, _ = train_by_hand(make_config("training.epochs=4", "training.seed=7"))
    assert other not in (directory, waiting)
    went_on, metrics = train_by_hand(cfg)
    assert went_on == waiting
    assert "going on with the training in" in capsys.readouterr().out
    assert metrics["scores"] == uninterrupted["scores"]
    assert yaml.safe_load((waiting / "trial_info.yaml").read_text())["restarts"] == [1]
    assert train_by_hand(cfg)[0] not in (directory, waiting, other)


def test_one_that_was_killed_goes_on_and_one_that_is_alive_is_left_alone(make_config, tmp_path):
    settings = ("training.epochs=40", "study.checkpoint_every_s=0", "training.n_threads=1")
    uninterrupted = train_by_hand(make_config(*settings))[1]
    root = f"paths.outputs_root={tmp_path / 'killed'}"
    program = subprocess.Popen([sys.executable, "-c", PROGRAM, *settings, root])
    try:
        until = time.monotonic() + 300
        while not (checkpoints := list((tmp_path / "killed").glob("20*/*/checkpoint.pt"))):
            assert time.monotonic() < until
            assert program.poll() is None
            time.sleep(0.02)
        os.kill(program.pid, signal.SIGSTOP)
        cfg = load_config("params/smoke.yaml", [*settings, root])
        other = train_by_hand(cfg)[0]  # while the first is alive
        assert other != checkpoints[0].parent
    finally:
        program.kill()
        program.wait()
    went_on, metrics = train_by_hand(cfg)
    assert went_on == checkpoints[0].parent
    assert metrics["scores"] == uninterrupted["scores"]


def test_what_02_trains(tmp_path):
    root = f"paths.outputs_root={tmp_path / 'runs'}"
    assert load_training_config("params/smoke.yaml", root).training.epochs == 2
    saved = load_config("params/smoke.yaml", ["training.epochs=7"])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(as_dict(saved)))
    chosen = load_training_config(
        "params/smoke.yaml", "model.hidden=4", config_path=str(tmp_path / "config.yaml")
    )
    assert (chosen.training.epochs, chosen.model.hidden) == (7, 4)
    with pytest.raises(ParameterError, match="only one of trial_number and config_path"):
        load_training_config(None, "", trial_number=1, config_path="a")
    with pytest.raises(ParameterError, match="trial_number must be a whole number, got 'x'"):
        load_training_config(None, "", trial_number="x")
    with pytest.raises(StudyError, match="must be a study called"):
        load_training_config("params/smoke.yaml", root, trial_number=0)


def test_what_an_earlier_version_left_half_done_stops_nobody(make_config):
    cfg = with_target_weights(make_config(), 6)
    directory = create_trial_output_dir(cfg.paths.outputs_root)
    (directory / CHECKPOINT_FILE).touch()
    info = {"state": "WAITING", "dataset_id": "demo"}
    (directory / "trial_info.yaml").write_text(yaml.safe_dump(info))
    saved = as_dict(cfg)
    saved["training"]["no_more"] = 1
    (directory / "config.yaml").write_text(yaml.safe_dump(saved))
    assert find_interrupted(cfg, "demo") is None


def test_a_saved_training_on_another_fold_gives_the_same_again(make_config):
    cfg = make_config("data_split.val_fold=1", "evaluation.score_folds=3")
    directory, metrics = train_by_hand(cfg)
    again = train_by_hand(load_config(directory / "config.yaml"))[1]
    assert again["scores"] == metrics["scores"]
    cfg.data_split.val_fold = 0
    assert train_by_hand(cfg)[1]["scores"] != metrics["scores"]
    cfg.data_split.val_fold = 3
    with pytest.raises(ConfigError, match="must be one of the 3 parts that validate.*got 3"):
        train_by_hand(cfg)
