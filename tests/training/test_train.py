import json
import math

import numpy as np
import optuna
import pytest
import torch
import yaml
from torch import nn

from hpo_utils.base.config import updated, with_target_weights
from hpo_utils.base.errors import DivergenceError, InfeasibleError
from hpo_utils.baselines.components import load_sight
from hpo_utils.data.preparation import prepare_data
from hpo_utils.network.convolutions import Conv2d
from hpo_utils.network.losses import WeightedMSELoss
from hpo_utils.network.models import create_network
from hpo_utils.scores.metrics import standardized_errors
from hpo_utils.scores.yardstick import Yardstick
from hpo_utils.training import batches, train
from hpo_utils.training.batches import MicroBatches, PartTensors
from hpo_utils.training.directory import WEIGHTS_FILE, create_trial_output_dir
from hpo_utils.training.test_looks import looks_at_test
from hpo_utils.training.timing import PHASES
from hpo_utils.training.train import Step, evaluate, train_one_epoch, train_trial

MSE = Yardstick("mse", None, "MSE")


def run(cfg, **kwargs):
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    return output_dir, train_trial(cfg, output_dir, prepare_data(cfg), **kwargs)


def linear_problem(n=64):
    torch.manual_seed(0)
    x = torch.randn(n, 1, 8)
    return PartTensors(x, torch.stack([x.mean((1, 2)), x[:, 0, 0]], dim=1))


def test_an_epoch_lowers_the_loss_of_a_learnable_problem():
    part = linear_problem()
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    batches = list(torch.arange(64).split(8))
    losses = [
        train_one_epoch(Step(model, nn.MSELoss(), optimizer), part, batches) for _ in range(30)
    ]
    assert losses[-1] < 0.02 * losses[0]


def test_the_training_loss_is_the_mean_over_samples_also_of_unequal_batches():
    part = linear_problem(10)
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    loss = train_one_epoch(
        Step(model, nn.MSELoss(), optimizer), part, list(torch.arange(10).split(4))
    )
    assert loss == pytest.approx(evaluate(model, part, nn.MSELoss(), MSE, 8)[0], rel=1e-5)


def test_the_score_does_not_know_the_loss_weights():
    part = linear_problem()
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 2))
    loss, score = evaluate(model, part, WeightedMSELoss([0.01, 0.01]), MSE, 64)
    assert score == pytest.approx(evaluate(model, part, nn.MSELoss(), MSE, 8)[0])
    assert loss == pytest.approx(0.01 * score, rel=1e-5)


def test_loss_weights_of_a_hundredth_change_no_rank(make_config):
    """The score of the plain script would fall a hundredfold, and pick weights, not models."""
    data = prepare_data(make_config())
    weights = {"training.use_weighted_loss": True, "training.epochs": 3}
    trials = [
        {"training.learning_rate": 1e-6},
        {"training.learning_rate": 1e-3},
        {"training.learning_rate": 1e-2, "model.use_residual": False},
        {"training.learning_rate": 1e-2},
    ]
    scores = []
    for scale in (1.0, 0.01):
        scaled = {f"training.weight_target_{k}": scale * (1.0 + k) for k in range(6)}
        scores.append([])
        for trial in trials:
            cfg = updated(with_target_weights(make_config(), 6), {**weights, **scaled, **trial})
            output_dir = create_trial_output_dir(cfg.paths.outputs_root)
            scores[-1].append(train_trial(cfg, output_dir, data)["score"])
    assert np.argsort(scores[0]).tolist() == np.argsort(scores[1]).tolist()
    np.testing.assert_allclose(scores[0], scores[1], rtol=0.06)  # the yardstick did not shrink


@pytest.mark.parametrize(("score", "name"), [("mae", "MAE"), ("r2", "1 - mean R²")])
def test_the_score_is_that_of_the_configuration(make_config, score, name):
    cfg = make_config(**{"evaluation.score": score})
    metrics = run(cfg)[1]
    assert name in metrics["score_name"]
    if score == "r2":
        mean = np.mean([target["r2"] for target in metrics["val_targets"].values()])
        assert metrics["score"] == pytest.approx(1 - mean, abs=1e-5)


def test_a_strict_test_part_stays_shut(make_config, monkeypatch):
    cfg = make_config(**{"evaluation.strict_test": True})
    data = prepare_data(cfg)
    for name in ("x_test.npy", "t_test.npy"):
        (data.directory / name).unlink()  # whoever looks, fails
    output_dir, metrics = run(cfg)
    assert (metrics["part"], metrics["test_targets"], metrics["test_mse"]) == ("val", None, None)
    np.testing.assert_array_equal(np.load(output_dir / "y_true.npy"), data.targets("val"))
    assert not looks_at_test(data)


def test_a_look_at_the_test_part_is_written_down(make_config):
    output_dir, metrics = run(make_config())
    looks = looks_at_test(prepare_data(make_config()))
    assert metrics["part"] == "test"
    place = "/".join(output_dir.parts[-2:])
    assert [(look.by, look.kind) for look in looks] == [(place, "by hand")]
    run(make_config(), identity={"trial_number": 3})
    assert looks_at_test(prepare_data(make_config()))[-1].kind == "trial"


def test_a_trial_leaves_the_specified_files(make_config):
    output_dir, metrics = run(make_config(), identity={"trial_number": 3, "params": {"a": 1}})
    for name in (
        "logs/train.log", WEIGHTS_FILE, "config.yaml", "trial_info.yaml", "metrics.json",
        "y_pred.npy", "y_true.npy", "val_pred.npy",
    ):  # fmt: skip
        assert (output_dir / name).stat().st_size > 0, name
    info = yaml.safe_load((output_dir / "trial_info.yaml").read_text())
    assert (info["state"], info["trial_number"], info["params"]) == ("COMPLETE", 3, {"a": 1})
    assert info["score"] == metrics["score"]
    assert info["made_with"]["packages"]["torch"]
    assert json.loads((output_dir / "metrics.json").read_text()) == metrics


def test_the_files_belong_to_the_best_epoch(make_config):
    """The saved weights give the saved score and predictions: nothing is of another epoch."""
    cfg = make_config("training.epochs=6", "training.learning_rate=0.01")
    output_dir, metrics = run(cfg)
    assert metrics["best_epoch"] > 0
    assert metrics["score"] == min(metrics["scores"])
    assert metrics["scores"][metrics["best_epoch"] - 1] == metrics["score"]
    data = prepare_data(cfg)
    x = torch.from_numpy(np.array(data.inputs("val")))
    sight = load_sight(data, 1)
    model = create_network(cfg, x, data.target_scaler, data.physics, sight=sight)
    model.load_state_dict(torch.load(output_dir / WEIGHTS_FILE, weights_only=True))
    with torch.inference_mode():
        z = model.eval()(x).numpy()
    y_pred = data.target_scaler.inverse(z)
    errors = standardized_errors(data.targets("val"), y_pred, data.target_scaler)
    assert errors["mse"] == pytest.approx(metrics["score"], rel=1e-3)
    np.testing.assert_array_equal(np.load(output_dir / "y_true.npy"), data.targets("test"))


def test_the_same_configuration_gives_the_same_metrics(make_config):
    cfg = make_config("model.dropout_rate=0.3")
    first, second = run(cfg)[1], run(cfg)[1]
    assert first == second
    assert run(make_config("training.seed=1"))[1]["score"] != first["score"]


def test_the_number_of_later_epochs_does_not_change_the_earlier(make_config):
    constant = "training.schedule=constant"
    short = run(make_config(constant, "training.epochs=2"))[1]
    long = run(make_config(constant, "training.epochs=4"))[1]
    assert long["scores"][:2] == short["scores"]


def test_weights_shape_the_training_and_the_score_stays_comparable(make_config):
    plain = run(make_config())[1]
    ones = run(make_config("training.use_weighted_loss=true"))[1]
    assert ones["scores"] == pytest.approx(plain["scores"], rel=1e-4)
    weighted = run(make_config("training.use_weighted_loss=true", "training.weight_target_0=9"))[1]
    assert weighted["score"] != ones["score"]


def test_a_pruned_trial_says_so(make_config):
    def prune(epoch, score):
        raise optuna.TrialPruned(f"pruned at epoch {epoch}")

    cfg = make_config()
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    with pytest.raises(optuna.TrialPruned):
        train_trial(cfg, output_dir, prepare_data(cfg), prune)
    info = yaml.safe_load((output_dir / "trial_info.yaml").read_text())
    assert (info["state"], info["reason"]) == ("PRUNED", "pruned at epoch 1")
    assert len(json.loads((output_dir / "metrics.json").read_text())["scores"]) == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [(KeyboardInterrupt(), "interrupted"), (OSError("disk gone"), "OSError: disk gone")],
)
def test_a_trial_that_dies_says_so(make_config, error, reason):
    def die(epoch, score):
        raise error

    cfg = make_config()
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    with pytest.raises(type(error)):
        train_trial(cfg, output_dir, prepare_data(cfg), die)
    info = yaml.safe_load((output_dir / "trial_info.yaml").read_text())
    assert (info["state"], info["reason"], info["epochs_done"]) == ("WAITING", reason, 1)
    assert not (output_dir / "logs" / "traceback.txt").exists()  # it is not the trial's fault


def test_a_loss_that_explodes_stops_the_training(make_config):
    cfg = make_config()

    class Exploding(nn.Module):
        def forward(self, prediction, target):
            return (prediction - target).square().mean() * float("inf")

    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "create_criterion", lambda cfg, n: Exploding())
        with pytest.raises(DivergenceError, match="must stay finite, but epoch 1"):
            train_trial(cfg, output_dir, prepare_data(cfg))
    info = yaml.safe_load((output_dir / "trial_info.yaml").read_text())
    assert info["state"] == "PRUNED"
    assert json.loads((output_dir / "metrics.json").read_text())["train_losses"] == [None]


def test_weights_saved_under_dataparallel_have_no_prefix(make_config, monkeypatch):
    """With several GPUs the wrapper trains and the model inside is saved."""
    made = []

    class Wrapper(train.SharedOut):
        def __init__(self, network, precision):
            super().__init__(network, precision)
            made.append(self)

    monkeypatch.setattr(train, "several_gpus", lambda device: True)
    monkeypatch.setattr(train, "SharedOut", Wrapper)
    output_dir, metrics = run(make_config())
    assert made
    state = torch.load(output_dir / WEIGHTS_FILE, weights_only=True)
    assert not any(name.startswith("module.") for name in state)
    monkeypatch.undo()
    assert run(make_config())[1]["score"] == metrics["score"]


def test_a_part_that_does_not_fit_the_device_gives_the_same_training(make_config, monkeypatch):
    resident = run(make_config())[1]
    monkeypatch.setattr(batches, "RESIDENT_SHARE", 0.0)
    assert run(make_config())[1]["scores"] == pytest.approx(resident["scores"], rel=1e-4)


def test_bfloat16_trains_in_it_and_scores_in_float32(make_config, monkeypatch):
    seen, real = set(), Conv2d.forward

    def note(layer, x):
        out = real(layer, x)
        seen.add((out.requires_grad, out.dtype))
        return out

    monkeypatch.setattr(Conv2d, "forward", note)
    output_dir, metrics = run(make_config("training.precision=bfloat16", "training.epochs=8"))
    assert seen == {(True, torch.bfloat16), (False, torch.float32)}
    assert metrics["score"] < metrics["scores"][0]
    saved = yaml.safe_load((output_dir / "config.yaml").read_text())
    assert saved["training"]["precision"] == "bfloat16"


def test_a_weight_that_is_not_finite_is_a_diverged_training_although_nothing_reads_it():
    model = nn.Linear(2, 1)
    train._check_weights(model)
    with torch.no_grad():
        model.weight[0, 1] = math.nan
    with pytest.raises(DivergenceError, match="weight of the best epoch is not"):
        train._check_weights(model)


def test_a_trial_says_where_its_time_went(make_config):
    output_dir = run(make_config())[0]
    info = yaml.safe_load((output_dir / "trial_info.yaml").read_text())
    spent = sum(info["effort"][phase] for phase in PHASES)
    assert 0.5 * info["seconds"] < spent < 1.01 * info["seconds"] + 0.005  # each is rounded
    assert info["effort"]["train"] > 0
    assert 0 < info["effort"]["utilisation"] < 1


def test_a_training_ends_when_its_score_stands_still(make_config):
    """Of a thousand epochs few are needed: the rate falls early, and the history ends."""
    cfg = make_config("training.epochs=1000", "training.patience=2", "training.learning_rate=1e-8")
    metrics = run(cfg)[1]
    assert 3 <= len(metrics["scores"]) < 50


@pytest.mark.parametrize("hidden", [1, 3, 4, 7])
def test_narrow_networks_train_on_wide_images(make_config, make_arrays, hidden):
    """Laid out by channels last they crash: see ``models.memory_format``."""
    rng = np.random.default_rng(0)
    arrays = make_arrays(rng.normal(size=(24, 2, 128, 512)).astype(np.float32))
    settings = {"model.hidden": hidden, "training.batch_size": 4, "training.epochs": 2}
    assert np.isfinite(run(make_config(**arrays, **settings))[1]["score"])


def test_a_batch_in_pieces_has_the_gradients_of_the_batch():
    part = linear_problem(16)
    gradients = []
    for pieces in (MicroBatches(1), MicroBatches(4)):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(8, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        batches = [torch.arange(9)]
        loss = train_one_epoch(Step(model, nn.MSELoss(), optimizer, pieces=pieces), part, batches)
        gradients.append((loss, model[1].weight.grad))
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-6)
    torch.testing.assert_close(gradients[0][1], gradients[1][1])


class Greedy(nn.Module):
    """A layer that asks the allocator for more than there is, for more than so many samples."""

    def __init__(self, most):
        super().__init__()
        self.most = most

    def forward(self, x):
        if len(x) > self.most:
            torch.empty(2**60, dtype=torch.uint8)  # the allocator's own refusal
        return x


def test_a_batch_that_does_not_fit_is_cut_until_it_does():
    part = linear_problem(32)
    pieces = MicroBatches()
    model = nn.Sequential(nn.Flatten(), Greedy(3), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    batches = list(torch.arange(32).split(8))
    losses = [
        train_one_epoch(Step(model, nn.MSELoss(), optimizer, pieces=pieces), part, batches)
        for _ in range(20)
    ]
    assert pieces.count == 4
    assert losses[-1] < 0.1 * losses[0]


def test_what_never_fits_is_infeasible():
    model = nn.Sequential(nn.Flatten(), Greedy(1), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.raises(InfeasibleError, match=r"2 samples of shape \(1, 8\) must fit"):
        train_one_epoch(Step(model, nn.MSELoss(), optimizer), linear_problem(), [torch.arange(8)])


def test_another_error_is_not_taken_for_a_full_memory():
    model = nn.Sequential(nn.Flatten(), nn.Linear(5, 2))
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train_one_epoch(Step(model, nn.MSELoss(), optimizer), linear_problem(), [torch.arange(8)])
