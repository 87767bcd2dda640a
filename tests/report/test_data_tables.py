import subprocess
import sys

import numpy as np

from hpo_utils.data.preparation import prepare_data
from hpo_utils.report.data_tables import tenths_table


def test_what_shows_data_imports_neither_pytorch_nor_optuna():
    """The first notebook would begin three seconds later."""
    code = (
        "import sys; from hpo_utils.report import data_sections, data_tables;"
        "from hpo_utils.report.page import Report; print({'torch', 'optuna'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_each_tenth_of_a_range_counts_the_training_samples_in_it(make_config, make_arrays):
    """Of the values 0 to 99 each tenth holds ten; so it does of powers, by their logarithms."""
    n, words = 100, np.array(["train"] * 120)
    words[n:110], words[110:] = "val", "test"
    t = np.stack([np.arange(n), np.geomspace(1, 1000, n)], axis=1).astype(np.float32)
    x = np.random.default_rng(0).normal(size=(120, 1, 16)).astype(np.float32)
    given = make_arrays(x, np.concatenate([t, t[:20]]))
    np.save(split := given["dataset.x_train"].replace("x.npy", "split.npy"), words)
    given |= {"dataset.split": split, "dataset.target_names": ["a", "b"]}
    given["dataset.logarithmic"] = ["b"]
    table = tenths_table(prepare_data(make_config(**given)))
    assert table.loc["a"].tolist() == ["0", *[10] * 10, "99"]
    assert table.loc["b"].tolist() == ["1", *[10] * 10, "1000"]
