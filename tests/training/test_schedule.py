import pytest
import torch

from hpo_utils.training.optimizer import Adam
from hpo_utils.training.schedule import Schedule


@pytest.fixture
def make_schedule(make_config):
    def make(*overrides, steps_per_epoch=10):
        cfg = make_config("training.learning_rate=0.5", *overrides)
        optimizer = Adam(torch.nn.Linear(1, 1).parameters(), 0.5)
        return Schedule(cfg, optimizer, steps_per_epoch), optimizer

    return make


def rates(schedule, optimizer, n_steps):
    found = []
    for _ in range(n_steps):
        schedule.before_step()
        found.append(optimizer.learning_rate)
    return found


def test_the_rate_rises_stays_and_falls(make_schedule):
    """Ten epochs: one of warm-up, five constant, four of cool-down."""
    found = rates(*make_schedule("training.epochs=10"), 100)
    assert found[:10] == pytest.approx([0.05 * step for step in range(1, 11)])
    assert found[10:61] == [0.5] * 51
    assert found[60:] == pytest.approx([0.5 * (1 - step / 40) for step in range(40)])


def test_a_long_training_warms_up_for_one_epoch(make_schedule):
    assert rates(*make_schedule("training.epochs=200"), 11)[9:] == [0.5, 0.5]


def test_a_score_that_stands_still_begins_the_end(make_schedule):
    schedule, optimizer = make_schedule("training.epochs=100", "training.patience=3")
    for epoch in range(1, 21):
        rates(schedule, optimizer, 10)
        schedule.after_epoch(epoch, max(1.0 / epoch, 0.1))  # better until epoch 10
        assert schedule.last_epoch == (100 if epoch < 13 else 16)
    again, optimizer = make_schedule("training.epochs=100", "training.patience=3")
    for epoch in range(1, 14):
        rates(again, optimizer, 10)
        again.after_epoch(epoch, max(1.0 / epoch, 0.1))
    assert rates(again, optimizer, 30) == pytest.approx([0.5 * (1 - i / 30) for i in range(30)])


def test_a_gain_too_small_to_matter_is_none(make_schedule):
    schedule, _ = make_schedule("training.epochs=100", "training.patience=3")
    for epoch in range(1, 5):
        schedule.after_epoch(epoch, 1.0 - 1e-4 * epoch)
    assert schedule.last_epoch == 7


def test_a_cool_down_that_has_begun_is_not_cut_short(make_schedule):
    schedule, _ = make_schedule("training.epochs=10", "training.patience=2")
    for epoch in range(1, 8):
        schedule.after_epoch(epoch, 1.0 if epoch > 5 else 9.0 - epoch)
    assert schedule.last_epoch == 10


def test_without_patience_every_epoch_is_trained(make_schedule):
    schedule, _ = make_schedule("training.epochs=100", "training.patience=null")
    for epoch in range(1, 100):
        schedule.after_epoch(epoch, 1.0)
    assert schedule.last_epoch == 100


def test_a_constant_rate_is_constant_and_ends_at_once(make_schedule):
    schedule, optimizer = make_schedule(
        "training.epochs=100", "training.patience=3", "training.schedule=constant"
    )
    assert set(rates(schedule, optimizer, 50)) == {0.5}
    for epoch in range(1, 6):
        schedule.after_epoch(epoch, 1.0)
    assert schedule.last_epoch == 5
