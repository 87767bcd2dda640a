"""How close a training step comes to what the machine can multiply.

    python benchmarks/step.py [--threads 1 2] [--precision auto] [--repeats 9]

For networks of several sizes, the time of one step (forward, backward, Adam, averaged weights) and
its operations per second as a share of those of a large matrix product in the same precision. The
two are measured in turns, since shared machines change their pace; the median share is printed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from record import keep
from torch import nn

from hpo_utils.base.config import load_config
from hpo_utils.network.devices import select_device, select_precision
from hpo_utils.network.models import create_model
from hpo_utils.training.averaging import WeightAverage
from hpo_utils.training.batches import PartTensors
from hpo_utils.training.optimizer import Adam
from hpo_utils.training.timing import matrix_peak, training_flops
from hpo_utils.training.train import Step, train_one_epoch

# hidden, batch size, H, W, residual
CASES = [
    (64, 8, 128, 256, True),
    (64, 8, 64, 128, True),
    (24, 32, 64, 128, True),
    (24, 8, 64, 128, True),
    (8, 8, 32, 128, True),
    (64, 8, 128, 256, False),
    (24, 32, 64, 128, False),
]
FULL_SIZE = [(64, 8, 1400, 2500, True), (64, 8, 1400, 2500, False)]  # the flow's, on GPUs alone
STEPS = 5


def make_step(
    case: tuple[int, int, int, int, bool], device: torch.device, precision: torch.dtype
) -> tuple[Callable[[], None], int]:
    """Return a function that makes ``STEPS`` steps, and the operations of one."""
    hidden, batch_size, height, width, residual = case
    cfg = load_config(None, [f"model.hidden={hidden}", f"model.use_residual={residual}"])
    n = STEPS * batch_size
    x = torch.randn(n, 2, height, width, device=device).contiguous(
        memory_format=torch.channels_last
    )
    model = create_model(cfg, x, 6, device).to(memory_format=torch.channels_last)
    part = PartTensors(x, torch.randn(n, 6, device=device))
    flops = batch_size * training_flops(model, x)
    optimizer = Adam(model.parameters(), 1e-3)
    average = WeightAverage(model, 10)
    batches = list(torch.arange(n, device=device).split(batch_size))

    step = Step(model, nn.MSELoss(), optimizer, precision, after=average.update)

    def steps() -> None:
        train_one_epoch(step, part, batches)

    return steps, flops


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, torch.get_num_threads()])
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    device = select_device("auto")
    precision = select_precision(options.precision, device)
    print(f"{device}, {precision}; hidden, batch, H, W, residual")
    runs = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        for case in CASES + (FULL_SIZE if device.type == "cuda" else []):
            steps, flops = make_step(case, device, precision)
            steps()
            times, shares = [], []
            for _ in range(options.repeats):
                matrix_peak.cache_clear()
                before = matrix_peak(device, precision, threads)
                started = time.perf_counter()
                steps()
                times.append((time.perf_counter() - started) / STEPS)
                matrix_peak.cache_clear()
                peak = (before + matrix_peak(device, precision, threads)) / 2
                shares.append(flops / times[-1] / peak)
            runs.append(
                {
                    "threads": threads, "case": case, "ms": [1e3 * each for each in times],
                    "gflops": flops / statistics.median(times) / 1e9, "shares_of_peak": shares,
                }
            )  # fmt: skip
            spread = f"{min(shares):.0%} to {max(shares):.0%}"
            print(
                f"{threads} threads {case}: {1e3 * statistics.median(times):.1f} ms,"
                f" {flops / statistics.median(times) / 1e9:.0f} GFLOP/s,"
                f" {statistics.median(shares):.0%} of the peak ({spread})",
                flush=True,
            )
    keep("step", runs, device=str(device), precision=str(precision))


if __name__ == "__main__":
    main()
