import json
import time

import optuna
import pytest
import torch
import yaml

from hpo_utils.base.config import updated
from hpo_utils.base.errors import StopRequest
from hpo_utils.data.preparation import prepare_data
from hpo_utils.training.checkpoints import Checkpoint, TrainingState
from hpo_utils.training.directory import (
    CHECKPOINT_FILE,
    TRAIN_LOG,
    WEIGHTS_FILE,
    create_trial_output_dir,
)
from hpo_utils.training.stopping import Stop
from hpo_utils.training.train import train_trial
from hpo_utils.workers import worker


class Died(BaseException):
    """What no handler of the package knows: the process ends here."""


def train(cfg, output_dir=None, die_after=None, stop=None):
    output_dir = output_dir or create_trial_output_dir(cfg.paths.outputs_root)

    def on_epoch(epoch, _):
        if epoch == die_after:
            raise Died

    train_trial(cfg, output_dir, prepare_data(cfg), on_epoch, stop=stop)
    return output_dir


def outcome(output_dir):
    metrics = json.loads((output_dir / "metrics.json").read_text())
    return metrics, torch.load(output_dir / WEIGHTS_FILE, weights_only=True)


SETTINGS = ["training.epochs=7", "study.checkpoint_every_s=0", "model.dropout_rate=0.3"]


@pytest.mark.parametrize(
    "more", [[], ["training.averaging_epochs=0"], ["training.patience=1"],
             ["training.schedule=constant"], ["training.use_weighted_loss=true"]],
)  # fmt: skip
@pytest.mark.parametrize("deaths", [(1,), (2, 3, 6)])
def test_a_training_that_died_ends_bit_for_bit_as_one_that_did_not(make_config, more, deaths):
    cfg = make_config(*SETTINGS, *more)
    metrics, weights = outcome(train(cfg))
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    for epoch in deaths:
        if epoch < len(metrics["scores"]):
            with pytest.raises(Died):
                train(cfg, output_dir, die_after=epoch)
            assert (output_dir / CHECKPOINT_FILE).is_file() == (epoch > 1)
            torch.rand(3)  # whatever else the process has done
    again, other = outcome(train(cfg, output_dir))
    assert again == metrics
    assert all(torch.equal(weights[name], other[name]) for name in weights)
    assert not (output_dir / CHECKPOINT_FILE).exists()


def test_the_record_says_where_it_went_on(make_config):
    cfg = make_config(*SETTINGS)
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    for epoch in (2, 5):
        with pytest.raises(Died):
            train(cfg, output_dir, die_after=epoch)
        info = yaml.safe_load((output_dir / "trial_info.yaml").read_text())
        assert (info["state"], info["reason"]) == ("WAITING", "Died")
    train(cfg, output_dir)
    info = yaml.safe_load((output_dir / "trial_info.yaml").read_text())
    assert (info["state"], info["restarts"], info["epochs_done"]) == ("COMPLETE", [1, 4], 7)
    assert "going on after epoch 4" in (output_dir / "logs" / "train.log").read_text()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half of it"])
def test_a_damaged_checkpoint_is_as_good_as_none(make_config, content):
    cfg = make_config(*SETTINGS)
    metrics, _ = outcome(train(cfg))
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    (output_dir / CHECKPOINT_FILE).write_bytes(content)
    assert outcome(train(cfg, output_dir))[0] == metrics


def test_a_checkpoint_cannot_run_code(make_config, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "was here"), "w"))

    cfg = make_config(*SETTINGS)
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    torch.save({"model": Evil()}, output_dir / CHECKPOINT_FILE)
    train(cfg, output_dir)
    assert not (tmp_path / "was here").exists()


def test_it_is_not_written_too_often(make_config):
    cfg = make_config("training.epochs=4", "study.checkpoint_every_s=1000")
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    with pytest.raises(Died):
        train(cfg, output_dir, die_after=4)
    assert not (output_dir / CHECKPOINT_FILE).exists()


def test_a_stop_leaves_a_checkpoint_of_its_epoch(make_config, tmp_path):
    cfg = make_config("training.epochs=4", "study.checkpoint_every_s=1000")
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    file = tmp_path / "STOP"
    file.touch()
    with pytest.raises(StopRequest):
        train(cfg, output_dir, stop=Stop(file, 0.0, None))
    info = yaml.safe_load((output_dir / "trial_info.yaml").read_text())
    assert (info["state"], info["epochs_done"]) == ("WAITING", 1)
    assert outcome(train(cfg, output_dir))[0] == outcome(train(cfg))[0]


def test_the_deadline_does_not_wait_for_the_epoch(make_config, tmp_path):
    cfg = updated(make_config("training.epochs=1"), {"synthetic.n_samples": 400})
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    stop = Stop(tmp_path / "STOP", time.time() - 10, 10.0)
    with pytest.raises(StopRequest, match="time is over"):
        train(cfg, output_dir, stop=stop)
    assert not (output_dir / TRAIN_LOG).exists()  # not one epoch


@pytest.mark.parametrize("error", [optuna.TrialPruned("enough"), RuntimeError("broken")])
def test_a_training_that_ended_leaves_no_checkpoint(make_config, error):
    cfg = make_config(*SETTINGS)
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)

    def on_epoch(epoch, _):
        if epoch == 3:
            assert (output_dir / CHECKPOINT_FILE).is_file()
            raise error

    with pytest.raises(type(error)):
        train_trial(cfg, output_dir, prepare_data(cfg), on_epoch)
    assert not (output_dir / CHECKPOINT_FILE).exists()


def test_nothing_to_restore_is_said(tmp_path):
    state = TrainingState.__new__(TrainingState)
    assert not Checkpoint(tmp_path, 60.0).restore(state)


def test_an_interrupt_that_a_library_hides_is_still_one(make_config, monkeypatch):
    """torch.save turns an interrupt into an error of its own."""
    cfg = make_config(*SETTINGS)
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)

    def save(*_):
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("unexpected pos 242240 vs 242132")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(RuntimeError):
        train(cfg, output_dir)
    info = yaml.safe_load((output_dir / "trial_info.yaml").read_text())
    assert (info["state"], info["reason"]) == ("WAITING", "interrupted")
    monkeypatch.setattr(worker, "objective", lambda *_: train(cfg, output_dir))
    with pytest.raises(KeyboardInterrupt):
        worker.run_trial(None, worker.Search(cfg, None, None, None))
