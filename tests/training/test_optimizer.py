import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from hpo_utils.training.optimizer import Adam


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def step(model, optimizer, x):
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x), torch.ones(len(x), 3)).backward()
    optimizer.step()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_it_steps_as_pytorch_does(weight_decay):
    ours, theirs, x = network(), network(), torch.randn(4, 5)
    together = Adam(ours.parameters(), 0.01, weight_decay)
    apart = torch.optim.Adam(theirs.parameters(), 0.01, weight_decay=weight_decay, fused=True)
    for rate in (0.01, 0.02, 0.005):
        together.learning_rate = apart.param_groups[0]["lr"] = rate
        step(ours, together, x)
        step(theirs, apart, x)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)


def test_it_goes_on_where_its_state_was_taken():
    model, x = network(), torch.randn(4, 5)
    optimizer = Adam(model.parameters(), 0.01)
    step(model, optimizer, x)
    weights, state = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    step(model, optimizer, x)
    again = network()
    another = Adam(again.parameters(), 0.01)
    again.load_state_dict(weights)
    another.load_state_dict(state)
    step(again, another, x)
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)


TRIAL = """
import sys
from hpo_utils.base.config import load_config
from hpo_utils.study.by_hand import train_by_hand

cfg = load_config("params/smoke.yaml", sys.argv[1:])
train_by_hand(cfg)
print("torch._dynamo" in sys.modules)
"""


def test_a_training_does_not_import_the_compiler(tmp_path):
    command = [sys.executable, "-c", TRIAL, f"paths.outputs_root={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"
