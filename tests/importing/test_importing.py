"""From files as laboratories have them to arrays and a params file."""

import json

import numpy as np
import openpyxl
import pytest
from conftest import PUBLIC_DATA
from nptdms import ChannelObject, TdmsWriter
from scipy.io import savemat

from hpo_utils.__main__ import main
from hpo_utils.base.config import load_config
from hpo_utils.base.errors import DataError
from hpo_utils.base.paths import project_root
from hpo_utils.data.preparation import prepare_data
from hpo_utils.formats.recordings import Axis
from hpo_utils.importing.importing import import_files
from hpo_utils.importing.preview import first_samples, first_targets
from hpo_utils.importing.request import Request, request_of

RNG = np.random.default_rng(0)


def spectra_table(path, n_samples=30, falling=False, **changed):
    """Write a table of spectra with ids and two contents; return inputs and targets."""
    axis = np.arange(850, 870, 2)[:: -1 if falling else 1]
    x, t = RNG.normal(size=(n_samples, 10)).round(6), RNG.normal(size=(n_samples, 2)).round(6)
    lines = [";".join(["sample", *(f"{place} nm" for place in axis), "fat [%]", "water [%]"])]
    for k in range(n_samples):
        cells = [f"s{k}", *x[k], *t[k]]
        lines.append(";".join(str(changed.get(f"{k},{i}", c)) for i, c in enumerate(cells)))
    path.write_text("\n".join(lines).replace(".", ","))
    return x[:, ::-1] if falling else x, t


def recordings(folder, lengths=(100, 90, 120), rate=0.001):
    """Write a TDMS file for each length, and a table of their flows; return the values."""
    folder.mkdir()
    found = []
    for number, length in enumerate(lengths):
        values = RNG.normal(size=(2, length))
        told = {"wf_increment": rate, "unit_string": "kPa"}
        with TdmsWriter(folder / f"run_{number}.tdms") as writer:
            writer.write_segment(
                [
                    ChannelObject("g", name, row, told)
                    for name, row in zip("pq", values, strict=True)
                ]
            )
        found.append(values)
    book = openpyxl.Workbook()
    book.active.append(["file", "flow [L/min]"])
    for number in reversed(range(len(lengths))):
        book.active.append([f"run_{number}.tdms", 10.0 + number])
    book.save(folder / "flows.xlsx")
    return found


def run(*files, **options):
    return import_files(Request(files=list(files), **options))


@pytest.mark.parametrize("falling", [False, True])
def test_a_table_of_spectra_becomes_arrays_and_a_params_file(tmp_path, falling):
    x, t = spectra_table(tmp_path / "meat.csv", falling=falling)
    found = run(tmp_path / "meat.csv", out=tmp_path / "meat")
    np.testing.assert_allclose(np.load(tmp_path / "meat/x_train.npy")[:, 0], x, rtol=1e-6)
    np.testing.assert_allclose(np.load(tmp_path / "meat/t_train.npy"), t, rtol=1e-6)
    cfg = load_config(found.params_file, **{"paths.outputs_root": str(tmp_path / "runs")})
    assert list(cfg.dataset.target_names) == ["fat", "water"]
    assert list(cfg.dataset.target_units) == ["%", "%"]
    assert [list(each) for each in cfg.dataset.axis_ranges] == [[850.0, 868.0]]
    assert prepare_data(cfg).input_shape("train")[1:] == (1, 10)
    sources = json.loads((tmp_path / "meat/sources.json").read_text())
    assert list(sources["sha256"]) == [str(tmp_path / "meat.csv")]
    assert bool(sources["remarks"]) == falling


def test_rows_are_joined_by_their_ids_in_whatever_order(tmp_path):
    x, _ = spectra_table(tmp_path / "meat.csv", 12)
    order = RNG.permutation(12)
    lines = "\n".join(f"s{k},{k / 4}" for k in order)
    (tmp_path / "lab.csv").write_text(f"sample,protein\n{lines}\n")
    run(tmp_path / "meat.csv", targets=tmp_path / "lab.csv", out=tmp_path / "meat")
    np.testing.assert_array_equal(np.load(tmp_path / "meat/t_train.npy")[:, 0], np.arange(12) / 4)
    np.testing.assert_allclose(np.load(tmp_path / "meat/x_train.npy")[:, 0], x, rtol=1e-6)


@pytest.mark.parametrize("words", [["test", "train", "train", "val"], [1, 2, 3, 4]])
def test_a_column_may_tell_the_split_or_the_folds(tmp_path, words):
    words = words * 5
    lines = "\n".join(f"s{k},{w},{k}" for k, w in enumerate(words))
    spectra_table(tmp_path / "meat.csv", 20)
    (tmp_path / "lab.csv").write_text(f"sample,set,protein\n{lines}\n")
    found = run(
        tmp_path / "meat.csv",
        targets=tmp_path / "lab.csv",
        out=tmp_path / "meat",
        split_column="set",
    )
    assert found.target_names == ["protein"]
    data = prepare_data(
        load_config(found.params_file, **{"paths.outputs_root": str(tmp_path / "runs")})
    )
    assert data.sample_numbers("test").tolist() == list(range(0, 20, 4))
    assert data.sample_numbers("val").tolist() == list(range(3, 20, 4))


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("train", ["false", "true", "true", "true"]),
        ("is_test", ["1", "0", "0", "0"]),
        ("SampleType", ["Test", "Calibrate", "Calibrate", "Calibrate"]),
    ],
)
def test_a_column_of_parts_is_recognised_and_said(tmp_path, name, cells):
    """As true and false stand in a text column, it would be taken for ids, and rows for groups."""
    lines = "\n".join(f"s{k},{cells[k % 4]},{k}" for k in range(20))
    spectra_table(tmp_path / "meat.csv", 20)
    (tmp_path / "lab.csv").write_text(f"sample,{name},protein\n{lines}\n")
    found = run(tmp_path / "meat.csv", targets=tmp_path / "lab.csv", out=tmp_path / "meat")
    assert found.target_names == ["protein"]
    words = np.load(tmp_path / "meat/split.npy")
    assert np.flatnonzero(words == "test").tolist() == list(range(0, 20, 4))
    assert "given split: 5 in test, 15 in train" in found.sentences()


def test_a_class_names_no_specimens_but_a_column_called_sample_does(tmp_path):
    """Two kinds of meat are no two groups of forty samples; ten samples measured four times are."""
    names = [f"a_{k}" for k in range(10)]
    rows = [
        ["pork" if k < 20 else "beef", k % 10, k, *np.arange(10.0) + k] for k in range(40)
    ]  # fmt: skip
    header = ["meat", "sample", "fat", *names]
    text = "\n".join(",".join(map(str, row)) for row in [header, *rows])
    (tmp_path / "meat.csv").write_text(text)
    found = run(tmp_path / "meat.csv", out=tmp_path / "meat")
    assert found.target_names == ["fat"]
    assert found.n_groups == 10
    assert np.load(tmp_path / "meat/groups.npy").tolist() == [k % 10 for k in range(40)]


def test_a_test_part_may_stand_in_files_of_its_own(tmp_path):
    known = [spectra_table(tmp_path / f"{part}.csv", n) for part, n in (("a", 20), ("b", 6))]
    found = run(tmp_path / "a.csv", test=tmp_path / "b.csv", out=tmp_path / "meat")
    x, t = (np.concatenate(each) for each in zip(*known, strict=True))
    np.testing.assert_allclose(np.load(tmp_path / "meat/x_train.npy")[:, 0], x, rtol=1e-6)
    np.testing.assert_allclose(np.load(tmp_path / "meat/t_train.npy"), t, rtol=1e-6)
    cfg = load_config(found.params_file, **{"paths.outputs_root": str(tmp_path / "runs")})
    assert prepare_data(cfg).sample_numbers("test").tolist() == list(range(20, 26))
    sources = json.loads((tmp_path / "meat/sources.json").read_text())
    assert list(sources["sha256"]) == [str(tmp_path / name) for name in ("a.csv", "b.csv")]


def test_a_test_part_may_stand_in_arrays_of_the_same_file(tmp_path):
    rng = np.random.default_rng(1)
    arrays = {
        "cal_x": rng.normal(size=(15, 12)), "cal_y": rng.normal(size=(15, 2)),
        "val_x": rng.normal(size=(5, 12)), "val_y": rng.normal(size=(5, 2)),
        "nm": np.arange(850.0, 874.0, 2.0),
    }  # fmt: skip
    savemat(tmp_path / "rig.mat", arrays)
    path = tmp_path / "rig.mat"
    found = run(
        path, targets=path, key="cal_x", target_key="cal_y", test_key="val_x",
        test_target_key="val_y", out=tmp_path / "rig",
    )  # fmt: skip
    x = np.load(tmp_path / "rig/x_train.npy")[:, 0]
    np.testing.assert_allclose(x, np.concatenate([arrays["cal_x"], arrays["val_x"]]), rtol=1e-6)
    assert found.n_of_part == {"train": 15, "test": 5}
    assert found.axis == Axis("nm", 850.0, 872.0)


def table(path, header, rows):
    """Write spectra of ten values, and what stands before them in each row."""
    names = [*header, *range(850, 870, 2)]
    lines = [[*row, *(np.arange(10.0) + k)] for k, row in enumerate(rows)]
    path.write_text("\n".join(",".join(map(str, line)) for line in [names, *lines]))


@pytest.mark.parametrize(
    ("header", "rows", "targets", "n_groups", "parts"),
    [
        (
            ["operator", "sample", "fat"],
            [["ab"[k % 2], f"s{k}", k / 2] for k in range(20)],
            ["fat"],
            None,
            {},
        ),
        (
            ["date", "Sample No.", "fat"],
            [[f"{k}/2", k // 2, k / 2] for k in range(20)],
            ["fat"],
            10,
            {},
        ),
        (
            ["name", "Index", "fat"],
            [[f"s{k}", k % 7, k / 2] for k in range(20)],
            ["Index", "fat"],
            None,
            {},
        ),
        (
            ["fold", "fat"],
            [[k % 4, k / 2] for k in range(20)],
            ["fat"],
            None,
            {f"fold {k}": 5 for k in range(4)},
        ),
        (
            ["train", "fat"],
            [["x" if k % 4 else "", k / 2] for k in range(20)],
            ["fat"],
            None,
            {"test": 5, "train": 15},
        ),
        (
            ["set", "fat"],
            [["Training" if k % 4 else "Validation set", k / 2] for k in range(20)],
            ["fat"],
            None,
            {"test": 5, "train": 15},
        ),
    ],
)
def test_what_columns_hold_is_seen_by_their_names(tmp_path, header, rows, targets, n_groups, parts):
    table(tmp_path / "meat.csv", header, rows)
    found = run(tmp_path / "meat.csv", out=tmp_path / "meat")
    assert (found.target_names, found.n_groups, found.n_of_part) == (targets, n_groups, parts)


@pytest.mark.parametrize(
    ("header", "cells", "said"),
    [
        (["fat"], ["<0.5"], "got text in fat of meat.csv, such as '<0.5'"),
        (["ash", "fat"], [3.5, "n.d."], "got text in fat of meat.csv, such as 'n.d.'"),
        (["set", "fat"], ["outlier", 3.5], "must be train, val or test, got 'outlier' in set"),
    ],
)
def test_a_cell_that_does_not_fit_its_column_is_named(tmp_path, header, cells, said):
    rows = [["train" if name == "set" else k / 2 for name in header] for k in range(20)]
    rows[5] = ["test" if name == "set" else 1.5 for name in header]
    rows[7] = cells
    table(tmp_path / "meat.csv", header, rows)
    with pytest.raises(DataError, match=said):
        run(tmp_path / "meat.csv", out=tmp_path / "meat")


@pytest.mark.parametrize("split_column", [None, "set"])
def test_the_parts_may_stand_beside_the_spectra_and_targets_elsewhere(tmp_path, split_column):
    table(
        tmp_path / "x.csv",
        ["sample", "set"],
        [[f"s{k}", "cal" if k % 4 else "val"] for k in range(20)],
    )
    rows = "\n".join(f"s{k},{k / 2}" for k in reversed(range(20)))
    (tmp_path / "y.csv").write_text(f"sample,fat\n{rows}\n")
    found = run(
        tmp_path / "x.csv", targets=tmp_path / "y.csv", split_column=split_column,
        out=tmp_path / "meat",
    )  # fmt: skip
    assert found.n_of_part == {"test": 5, "train": 15}
    assert np.load(tmp_path / "meat/t_train.npy")[:, 0].tolist() == [k / 2 for k in range(20)]


@pytest.mark.parametrize(
    ("ids", "known", "said"),
    [
        (["2023/1", "2023/2"], ["2024/1", "2024/2"], "lacks 2023/1, 2023/2"),
        (["10", "10.5"], ["10", "20"], r"lacks 10\.5"),
        (["P0.a", "P0.b"], ["P0.b", "P0.a"], None),
        (["1/a", "2/a"], ["2/a", "1/a"], None),
    ],
)
def test_ids_are_taken_as_they_are_written(tmp_path, ids, known, said):
    """Only names of files may lack their folders and endings."""
    table(tmp_path / "x.csv", ["sample"], [[each] for each in ids])
    (tmp_path / "y.csv").write_text(
        "sample,fat\n" + "\n".join(f"{each},{k}" for k, each in enumerate(known))
    )
    if said is None:
        run(tmp_path / "x.csv", targets=tmp_path / "y.csv", out=tmp_path / "meat")
        return
    with pytest.raises(DataError, match=said):
        run(tmp_path / "x.csv", targets=tmp_path / "y.csv", out=tmp_path / "meat")


def test_groups_of_the_training_part_stay_if_the_test_part_has_no_ids(tmp_path):
    table(tmp_path / "a.csv", ["sample", "fat"], [[f"s{k // 2}", k] for k in range(20)])
    table(tmp_path / "b.csv", ["fat"], [[k] for k in range(6)])
    run(tmp_path / "a.csv", test=tmp_path / "b.csv", out=tmp_path / "meat")
    assert len(set(np.load(tmp_path / "meat/groups.npy").tolist())) == 10 + 6


def test_parts_of_the_training_file_stay_beside_a_file_to_test(tmp_path):
    table(tmp_path / "a.csv", ["set", "fat"], [["train" if k % 4 else "val", k] for k in range(20)])
    table(tmp_path / "b.csv", ["fat"], [[k] for k in range(6)])
    found = run(tmp_path / "a.csv", test=tmp_path / "b.csv", out=tmp_path / "meat")
    assert found.n_of_part == {"val": 5, "train": 15, "test": 6}


@pytest.mark.parametrize(
    ("header", "rows", "targets", "n_of_part"),
    [
        (
            ["sample", "valid", "fat"],
            [[f"s{k}", "yes" if k % 4 else "no", k / 2] for k in range(20)],
            ["fat"],
            {},
        ),
        (["sample", "fold"], [[f"s{k}", 1.5 + k / 7] for k in range(20)], ["fold"], {}),
        (
            ["sample", "lot", "fat"],
            [[f"s{k}", f"{100 + k // 2}" + "b" * (k == 3), k / 2] for k in range(20)],
            ["fat"],
            {},
        ),
        (
            ["Probe", "fat"],
            [[f"{k // 2}.{k % 2}" if k else "K.1", k / 2] for k in range(20)],
            ["fat"],
            {},
        ),
        (["sample", "fat", "comment"], [[f"s{k}", k / 2, ""] for k in range(20)], ["fat"], {}),
    ],
)
def test_columns_that_only_look_like_parts_or_targets(tmp_path, header, rows, targets, n_of_part):
    table(tmp_path / "meat.csv", header, rows)
    found = run(tmp_path / "meat.csv", out=tmp_path / "meat")
    assert (found.target_names, found.n_of_part, found.n_samples) == (targets, n_of_part, 20)


def test_a_table_over_time_with_numbered_channels_is_no_table_of_samples(tmp_path):
    names = ["id", "time", *(f"s{k}" for k in range(8))]
    rows = [[f"r{k // 20}", k % 20, *np.arange(8.0)] for k in range(80)]
    (tmp_path / "long.csv").write_text("\n".join(",".join(map(str, row)) for row in [names, *rows]))
    (tmp_path / "y.csv").write_text("id,fat\n" + "\n".join(f"r{k},{k}" for k in range(4)))
    found = run(tmp_path / "long.csv", targets=tmp_path / "y.csv", out=tmp_path / "rig")
    assert (found.n_samples, found.sample_shape) == (4, (8, 20))


def test_a_name_that_no_array_has_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=RNG.normal(size=(20, 12)), fat=np.arange(20.0))
    with pytest.raises(DataError, match="must be one of fat in a.npz, got 'fatt'"):
        run(tmp_path / "a.npz", target_columns=["fatt"], out=tmp_path / "b")


def test_rising_targets_are_no_axis(tmp_path):
    x = RNG.normal(size=(20, 30))
    np.savez(tmp_path / "a.npz", x=x, fat=np.linspace(1, 5, 20), dark=RNG.normal(size=30))
    found = run(tmp_path / "a.npz", out=tmp_path / "a")
    assert (found.target_names, found.sample_shape) == (["fat"], (1, 30))


def test_windows_of_spectra_that_are_unequally_long_have_no_axis(tmp_path):
    (tmp_path / "rig").mkdir()
    for k, length in enumerate((40, 45)):
        rows = "\n".join(f"{i},{i % 7}" for i in range(length))
        (tmp_path / f"rig/r{k}.csv").write_text(f",a\n{rows}\n")
    (tmp_path / "y.csv").write_text("file,fat\nr0,1\nr1,2\n")
    found = run(tmp_path / "rig", targets=tmp_path / "y.csv", window=10, out=tmp_path / "a")
    assert (found.n_samples, found.sample_shape, found.axis) == (8, (1, 10), None)


def test_two_axes_in_one_table_are_refused(tmp_path):
    names = [f"{word}_{k}" for word in ("NIR", "MIR") for k in range(9)]
    text = "\n".join(
        ",".join(map(str, row)) for row in [["fat", *names], *np.ones((9, 19)).tolist()]
    )
    (tmp_path / "meat.csv").write_text(text)
    with pytest.raises(DataError, match="must have one axis, got NIR…, MIR…"):
        run(tmp_path / "meat.csv", out=tmp_path / "meat")


def test_spectra_in_columns_are_turned_by_the_vectors_beside_them(tmp_path):
    x, fat = RNG.normal(size=(12, 20)), RNG.normal(size=20)
    np.savez(tmp_path / "a.npz", X=x, fat=fat, nm=np.arange(850.0, 874.0, 2.0))
    found = run(tmp_path / "a.npz", out=tmp_path / "a")
    assert (found.target_names, found.axis) == (["fat"], Axis("nm", 850.0, 872.0))
    np.testing.assert_allclose(np.load(tmp_path / "a/x_train.npy")[:, 0], x.T, rtol=1e-6)


def test_what_is_named_among_arrays_is_taken_and_no_more(tmp_path):
    arrays = {"X": RNG.normal(size=(20, 12)), "fat": np.arange(20.0), "ash": np.arange(20.0) / 3,
              "group": np.arange(20) // 2}  # fmt: skip
    np.savez(tmp_path / "a.npz", **arrays)
    by_name = run(tmp_path / "a.npz", target_columns=["ash"], out=tmp_path / "b")
    by_key = run(tmp_path / "a.npz", key="X", target_key="ash", out=tmp_path / "c")
    assert by_name.target_names == by_key.target_names == ["ash"]
    assert by_name.n_groups == by_key.n_groups == 10
    with pytest.raises(DataError, match="name them by --test-target-key"):
        run(tmp_path / "a.npz", key="X", target_key="fat", test_key="X", out=tmp_path / "d")


@pytest.mark.parametrize("name", ["rig.mat", "rig.npz"])
def test_vectors_beside_the_spectra_are_axis_and_targets(tmp_path, name):
    x, fat = RNG.normal(size=(20, 12)), np.arange(20.0)
    arrays = {"X": x, "fat": fat, "nm": np.arange(850.0, 874.0, 2.0), "year": 2026.0}
    (savemat if name.endswith("mat") else lambda path, a: np.savez(path, **a))(
        tmp_path / name, arrays
    )
    found = run(tmp_path / name, out=tmp_path / "rig")
    assert (found.target_names, found.axis) == (["fat"], Axis("nm", 850.0, 872.0))
    np.testing.assert_array_equal(np.load(tmp_path / "rig/t_train.npy")[:, 0], fat)
    np.testing.assert_allclose(np.load(tmp_path / "rig/x_train.npy")[:, 0], x, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("850 nm", "848 nm"), "the same axis"),
        (lambda text: text.replace("fat", "ash"), "the same targets"),
        (lambda text: text.replace("water [%]", "water [g]"), "the same units"),
    ],
)
def test_a_test_part_of_another_kind_is_refused(tmp_path, change, said):
    spectra_table(tmp_path / "a.csv", 20)
    spectra_table(tmp_path / "b.csv", 6)
    (tmp_path / "b.csv").write_text(change((tmp_path / "b.csv").read_text()))
    with pytest.raises(DataError, match=f"samples to test must have {said}"):
        run(tmp_path / "a.csv", test=tmp_path / "b.csv", out=tmp_path / "meat")
    assert not (tmp_path / "meat").exists()


def test_an_id_column_that_only_one_table_has_is_refused(tmp_path):
    rows = [",".join(map(str, range(k, k + 9))) for k in range(12)]
    head = ",".join(str(1100 + 2 * k) for k in range(9))
    (tmp_path / "x.csv").write_text("\n".join([head, *rows]))
    (tmp_path / "lab.csv").write_text("sample,fat\n" + "\n".join(f"s{k},{k}" for k in range(12)))
    asked = Request(
        [tmp_path / "x.csv"], tmp_path / "out", tmp_path / "lab.csv", id_column="sample"
    )
    with pytest.raises(DataError, match=r"must be one of none in x\.csv, got 'sample'"):
        import_files(asked)


def test_tables_without_a_header_are_joined_by_their_order(tmp_path):
    """Both have a column 0, which is no name."""
    x = RNG.normal(size=(12, 10)).round(5)
    np.savetxt(tmp_path / "x.csv", x, delimiter=";")
    np.savetxt(tmp_path / "y.csv", np.arange(12.0))
    run(tmp_path / "x.csv", targets=tmp_path / "y.csv", out=tmp_path / "meat")
    assert np.load(tmp_path / "meat/t_train.npy")[:, 0].tolist() == list(range(12))


def test_wavenumbers_with_exponents_are_an_axis(tmp_path):
    places = [f"{value:.5e}cm-1" if value >= 1000 else f"{value:.5f}cm-1"
              for value in range(995, 1005)]  # fmt: skip
    rows = [",".join(map(str, RNG.normal(size=11).round(4))) for _ in range(12)]
    (tmp_path / "raman.csv").write_text("\n".join([",".join(["PUFA", *places]), *rows]))
    found = run(tmp_path / "raman.csv", out=tmp_path / "raman")
    assert found.axis == Axis("axis [cm-1]", 995.0, 1004.0)
    assert found.target_names == ["PUFA"]


def test_a_column_may_tell_how_much_each_sample_counts(tmp_path):
    lines = "\n".join(f"s{k},{k + 1},{k}" for k in range(12))
    spectra_table(tmp_path / "meat.csv", 12)
    (tmp_path / "lab.csv").write_text(f"sample,repeats,protein\n{lines}\n")
    found = run(
        tmp_path / "meat.csv",
        targets=tmp_path / "lab.csv",
        out=tmp_path / "meat",
        weight_column="repeats",
    )
    assert found.target_names == ["protein"]
    np.testing.assert_array_equal(np.load(tmp_path / "meat/weights.npy"), np.arange(12) + 1)
    cfg = load_config(found.params_file, **{"paths.outputs_root": str(tmp_path / "runs")})
    data = prepare_data(cfg)
    counts = data.sample_numbers("train") + 1
    assert data.weights("train") == pytest.approx(counts / counts.mean())


@pytest.mark.parametrize("wrong", ["0", "-1", "", "many"])
def test_a_weight_must_be_a_positive_number(tmp_path, wrong):
    lines = "\n".join(f"s{k},{wrong if k == 3 else 1},{k}" for k in range(12))
    spectra_table(tmp_path / "meat.csv", 12)
    (tmp_path / "lab.csv").write_text(f"sample,repeats,protein\n{lines}\n")
    with pytest.raises(DataError, match=f"must be positive numbers, got '{wrong}' in repeats"):
        run(
            tmp_path / "meat.csv",
            targets=tmp_path / "lab.csv",
            out=tmp_path / "meat",
            weight_column="repeats",
        )
    assert not (tmp_path / "meat").exists()


def test_numbers_may_be_ids_if_both_tables_have_them(tmp_path):
    """Otherwise they would be taken for a target, and the rows joined by their order."""
    x, _ = spectra_table(tmp_path / "meat.csv", 12, **{f"{k},0": str(k) for k in range(12)})
    order = RNG.permutation(12)
    (tmp_path / "lab.csv").write_text("sample;protein\n" + "\n".join(f"{k};{k / 4}" for k in order))
    found = run(tmp_path / "meat.csv", targets=tmp_path / "lab.csv", out=tmp_path / "meat")
    assert found.target_names == ["protein"]
    assert found.remarks == ["rows joined by sample"]
    np.testing.assert_array_equal(np.load(tmp_path / "meat/t_train.npy")[:, 0], np.arange(12) / 4)
    np.testing.assert_allclose(np.load(tmp_path / "meat/x_train.npy")[:, 0], x, rtol=1e-6)


def test_several_spectra_of_one_specimen_are_a_group(tmp_path):
    spectra_table(tmp_path / "meat.csv", 12, **{f"{k},0": f"s{k // 2}" for k in range(12)})
    (tmp_path / "lab.csv").write_text("sample,protein\n" + "\n".join(f"s{k},{k}" for k in range(6)))
    found = run(tmp_path / "meat.csv", targets=tmp_path / "lab.csv", out=tmp_path / "meat")
    assert np.load(tmp_path / "meat/t_train.npy")[:, 0].tolist() == [k // 2 for k in range(12)]
    groups = np.load(tmp_path / "meat/groups.npy")
    assert groups[::2].tolist() == groups[1::2].tolist()
    assert found.n_groups == 6
    assert "12 samples in 6 groups" in found.sentences()[0]


def test_gaps_are_left_out_and_counted(tmp_path):
    spectra_table(tmp_path / "meat.csv", 12, **{"3,2": "", "5,11": "n/a"})
    found = run(tmp_path / "meat.csv", out=tmp_path / "meat")
    assert found.n_samples == len(np.load(tmp_path / "meat/t_train.npy")) == 10
    assert [remark[:2] for remark in found.remarks] == ["1 ", "1 "]


def test_codes_are_no_measurements(tmp_path):
    spectra_table(tmp_path / "meat.csv", 12, **{"3,2": "-9999", "5,11": "1e20"})
    found = run(tmp_path / "meat.csv", out=tmp_path / "meat", missing=[-9999, 1e20])
    assert found.n_samples == 10
    values = recordings(tmp_path / "runs", (40, 40))
    values[0][1, 5] = -32768
    np.save(tmp_path / "runs/run_0.npy", values[0])
    np.save(tmp_path / "runs/run_1.npy", values[1])
    files = [tmp_path / f"runs/run_{k}.npy" for k in (0, 1)]
    options = {"targets": tmp_path / "runs/flows.xlsx", "window": 10, "missing": [-32768]}
    found = run(*files, out=tmp_path / "flow", **options)
    assert found.n_samples == 7
    assert found.remarks == ["run_0.npy: 1 windows with gaps are left out"]


def test_a_value_beyond_float32_is_refused(tmp_path):
    spectra_table(tmp_path / "meat.csv", 12, **{"3,2": "1e300"})
    with pytest.raises(DataError, match=r"inputs must lie within float32, got 1e\+300"):
        run(tmp_path / "meat.csv", out=tmp_path / "meat")
    assert run(tmp_path / "meat.csv", out=tmp_path / "meat", missing=[1e300]).n_samples == 11


def test_an_earlier_import_is_replaced_only_if_asked_for(tmp_path):
    spectra_table(tmp_path / "meat.csv", 12)
    run(tmp_path / "meat.csv", out=tmp_path / "meat")
    spectra_table(tmp_path / "meat.csv", 14)
    with pytest.raises(DataError, match="by --replace"):
        run(tmp_path / "meat.csv", out=tmp_path / "meat")
    assert run(tmp_path / "meat.csv", out=tmp_path / "meat", replace=True).n_samples == 14
    (tmp_path / "own").mkdir()
    with pytest.raises(DataError, match="must name a new directory"):
        run(tmp_path / "meat.csv", out=tmp_path / "own", replace=True)


def test_matlabs_order_of_axes_is_turned_and_said(tmp_path):
    x, t = RNG.normal(size=(40, 2, 16)), RNG.normal(size=(40, 3))
    savemat(tmp_path / "rig.mat", {"x": x.transpose(1, 2, 0), "t": t})
    mat = tmp_path / "rig.mat"
    found = run(mat, targets=mat, key="x", target_key="t", out=tmp_path / "rig")
    np.testing.assert_allclose(np.load(tmp_path / "rig/x_train.npy"), x, rtol=1e-6)
    assert "axis 2 of (2, 16, 40) counts the samples" in found.remarks[0]


def test_recordings_are_cut_into_windows_that_are_groups(tmp_path):
    values = recordings(tmp_path / "runs", (100, 90, 120, *[45] * 9))
    options = {"window": 40, "step": 20, "targets": tmp_path / "runs/flows.xlsx"}
    files = [tmp_path / f"runs/run_{number}.tdms" for number in range(12)]
    found = run(*files, out=tmp_path / "flow", **options)
    x, t, groups = (np.load(tmp_path / f"flow/{n}.npy") for n in ("x_train", "t_train", "groups"))
    assert groups.tolist() == [0] * 4 + [1] * 3 + [2] * 5 + list(range(3, 12))
    np.testing.assert_array_equal(t[:, 0], 10.0 + groups)
    np.testing.assert_allclose(x[1], values[0][:, 20:60], rtol=1e-6)
    assert found.channels == ["p [kPa]", "q [kPa]"]
    assert (found.axis.name, found.axis.last) == ("time [s]", pytest.approx(0.039))
    assert prepare_data(load_config(found.params_file)).manifest["n_groups"] == 12


def test_the_table_of_targets_may_lie_beside_the_recordings(tmp_path):
    recordings(tmp_path / "rig")
    found = run(
        tmp_path / "rig", targets=tmp_path / "rig/flows.xlsx", window=50, out=tmp_path / "flow"
    )
    assert found.n_groups == 3


def test_the_same_by_the_command_line(tmp_path, capsys):
    recordings(tmp_path / "runs", (50, 50, 50, 50))
    table = (tmp_path / "runs/flows.xlsx").rename(tmp_path / "flows.xlsx")
    out = tmp_path / "flow"
    assert main(["import", str(tmp_path / "runs"), "--targets", str(table), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "4 samples of shape (2, 50): p [kPa], q [kPa]" in said
    assert "targets: flow [L/min]" in said
    assert f"next: python -m hpo_utils run --params-file {out}/flow.yaml" in said
    assert main(["import", str(table), "--out", str(out)]) == 2
    assert "--out must name a new directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("file,flow\nrun_0,1\nrun_1,2\n", "lacks run_2.tdms"),
        ("file,flow\nrun_0,1\nrun_1,2\nrun_2,3\nrun_2,4\n", "has twice run_2"),
        (
            "file,flow\nrun_0,1\nrun_1,many\nrun_2,3\n",
            "a column of numbers",
        ),
        ("flow\n1\n2\n3\n", "--id-column"),
        ("", "rows of values"),
    ],
)
def test_a_wrong_table_is_refused_and_nothing_written(tmp_path, change, said):
    recordings(tmp_path / "runs", (50, 50, 50))
    (tmp_path / "flows.csv").write_text(change)
    files = sorted((tmp_path / "runs").glob("*.tdms"))
    with pytest.raises(DataError, match=said):
        run(*files, targets=tmp_path / "flows.csv", out=tmp_path / "flow")
    assert not list(tmp_path.glob("*flow/*"))
    assert not (tmp_path / "flow").exists()


def test_recordings_that_differ_are_refused_with_what_to_do(tmp_path):
    recordings(tmp_path / "runs", (50, 60))
    files = sorted((tmp_path / "runs").glob("*.tdms"))
    table = tmp_path / "runs/flows.xlsx"
    with pytest.raises(DataError, match=r"got 50 values .* by --window"):
        run(*files, targets=table, out=tmp_path / "flow")
    with TdmsWriter(files[1]) as writer:
        told = {"wf_increment": 0.002, "unit_string": "kPa"}
        writer.write_segment([ChannelObject("g", n, np.ones(50), told) for n in "pq"])
    with pytest.raises(DataError, match=r"same rate, got 1000.* resample them by --rate"):
        run(*files, targets=table, out=tmp_path / "flow")
    found = run(*files, targets=table, out=tmp_path / "flow", rate=500.0, window=20)
    assert found.n_samples == 3  # one of the 25 values that remain of the first, two of the second


def test_the_examples_come_as_the_notebook_asks_for_them(tmp_path):
    asked = request_of("examples/recordings", "examples/flows.csv", str(tmp_path / "ex"), window=64)
    for _ in range(2):  # the second writes over the first
        found = import_files(asked)
    assert (found.n_samples, found.sample_shape, found.n_groups) == (60, (2, 64), 12)
    shown = first_samples(found)
    with (project_root() / "examples/recordings/run_00.csv").open() as file:
        header, first, *_ = file.read().splitlines()
    assert list(shown.index) == header.split(",")[1:]
    assert shown[0].tolist() == pytest.approx([float(cell) for cell in first.split(",")[1:]])
    assert list(first_targets(found).columns) == ["flow [L/min]", "void"]


@pytest.mark.skipif(not (PUBLIC_DATA / "tecator_meat").is_dir(), reason="no public data")
def test_the_meat_spectra_come_as_they_are_from_their_table(tmp_path):
    x, t = (np.load(PUBLIC_DATA / "tecator_meat" / f"{name}.npy") for name in "xt")
    header = [*(f"absorbance_{k}" for k in range(1, 101)), "moisture", "fat", "protein"]
    rows = [",".join(map(str, [*row, *of])) for row, of in zip(x[:, 0], t, strict=True)]
    (tmp_path / "tecator.csv").write_text("\n".join([",".join(header), *rows]))
    found = run(tmp_path / "tecator.csv", out=tmp_path / "tecator")
    np.testing.assert_array_equal(np.load(tmp_path / "tecator/x_train.npy"), x.astype(np.float32))
    np.testing.assert_array_equal(np.load(tmp_path / "tecator/t_train.npy"), t.astype(np.float32))
    assert (found.channels, found.target_names) == (["absorbance"], header[100:])


@pytest.mark.skipif(not (PUBLIC_DATA / "cranfield_mff").is_dir(), reason="no public data")
def test_the_riser_comes_as_it_is_from_a_matlab_file(tmp_path):
    x, t = (np.load(PUBLIC_DATA / "cranfield_mff" / f"{name}.npy") for name in "xt")
    savemat(tmp_path / "riser.mat", {"windows": {"x": x, "t": t}})
    mat = tmp_path / "riser.mat"
    run(mat, targets=mat, key="windows.x", target_key="windows.t", out=tmp_path / "riser")
    np.testing.assert_array_equal(np.load(tmp_path / "riser/x_train.npy"), x.astype(np.float32))
    np.testing.assert_array_equal(np.load(tmp_path / "riser/t_train.npy"), t.astype(np.float32))


CASES = """# by hand
@problemName flow
@timeStamps false
@univariate false
@equalLength true
@targetlabel true
@data
1,2,3:4,5,6:0.5
7,?,9:10,11,12:1.5
13,14,15:16,17,18:2.5
"""


def test_cases_of_a_ts_file_bring_their_target(tmp_path):
    told = CASES.replace("@targetlabel true", "# Größe\n@targetlabel\ttrue")
    (tmp_path / "flow.ts").write_text(told, encoding="latin-1")
    found = run(tmp_path / "flow.ts", out=tmp_path / "flow")
    np.testing.assert_array_equal(
        np.load(tmp_path / "flow/x_train.npy"),
        [[[1, 2, 3], [4, 5, 6]], [[13, 14, 15], [16, 17, 18]]],
    )
    np.testing.assert_array_equal(np.load(tmp_path / "flow/t_train.npy"), [[0.5], [2.5]])
    assert found.remarks == ["1 samples with gaps in their inputs are left out"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("1,2,3:", "1,2,3,4:", "equally long"),
        ("10,11", "10,x", "must hold numbers, got flow.ts: could not convert string to float: 'x'"),
        ("@timeStamps false", "@timeStamps true", "must be even"),
        ("@timeStamps false", "@classLabel true a b", "targets must be numbers, got the classes"),
        (CASES, "", "equally long, got none"),
        ("@targetlabel true", "@targetlabel false", "targets must be given by --targets"),
    ],
)
def test_other_ts_files_are_refused(tmp_path, old, new, said):
    text = CASES.replace(old, new)
    if "false\n@data" in text:
        text = text.replace(":0.5", "").replace(":1.5", "").replace(":2.5", "")
    (tmp_path / "flow.ts").write_text(text)
    with pytest.raises(DataError, match=said):
        run(tmp_path / "flow.ts", out=tmp_path / "flow")
    assert not (tmp_path / "flow").exists()


def test_samples_that_lack_some_targets_can_be_kept(tmp_path):
    _, t = spectra_table(
        tmp_path / "meat.csv", 12, **{"2,11": "", "5,12": "", "7,11": "", "7,12": ""}
    )
    found = run(tmp_path / "meat.csv", out=tmp_path / "meat")
    said = "3 samples without all targets are left out; --partly-measured keeps 2 that have some"
    assert (found.n_samples, found.remarks) == (9, [said])
    options = {"partly_measured": True, "replace": True}
    found = run(tmp_path / "meat.csv", out=tmp_path / "meat", **options)
    assert found.remarks == ["1 samples without any target are left out"]
    saved = np.load(tmp_path / "meat/t_train.npy")
    np.testing.assert_allclose(saved[:2], t[:2], rtol=1e-6)
    assert (len(saved), np.isnan(saved).sum()) == (11, 2)
    cfg = load_config(str(found.params_file))
    assert cfg.dataset.partly_measured


def test_a_table_in_long_form_holds_recordings(tmp_path):
    """Rows of two runs alternate; a third run is shorter; the column of times is not the first."""
    x = {name: RNG.normal(size=(2, n)).round(6) for name, n in (("a", 8), ("b", 8), ("c", 6))}
    rows = [
        f"{name},{x[name][0, i]},{i / 100},{x[name][1, i]}"
        for i in range(8)
        for name in x
        if i < x[name].shape[1]
    ]
    (tmp_path / "runs.csv").write_text("\n".join(["run,p [kPa],time [s],q [V]", *rows]))
    (tmp_path / "flows.csv").write_text("run,flow\nc,3\nb,2\na,1\n")
    files = {"targets": tmp_path / "flows.csv", "out": tmp_path / "flow"}
    with pytest.raises(DataError, match="equally long, got 8 values in a and 6 in c"):
        run(tmp_path / "runs.csv", **files)
    found = run(tmp_path / "runs.csv", **files, window=3)
    wanted = [x[n][:, i : i + 3] for n in "abc" for i in (0, 3)]
    np.testing.assert_allclose(np.load(tmp_path / "flow/x_train.npy"), wanted, rtol=1e-6)
    np.testing.assert_array_equal(np.load(tmp_path / "flow/groups.npy"), [0, 0, 1, 1, 2, 2])
    assert (found.channels, found.axis.last) == (["p [kPa]", "q [V]"], 0.02)


def test_shorter_recordings_can_be_continued_by_their_last_value(tmp_path):
    x = recordings(tmp_path / "runs", (20, 14, 17))
    files = {"targets": tmp_path / "runs/flows.xlsx", "out": tmp_path / "flow"}
    with pytest.raises(DataError, match="or continue the shorter ones by --pad"):
        run(*sorted((tmp_path / "runs").glob("*.tdms")), **files)
    with pytest.raises(DataError, match="got both --window and --pad"):
        run(*sorted((tmp_path / "runs").glob("*.tdms")), **files, pad=True, window=5)
    found = run(*sorted((tmp_path / "runs").glob("*.tdms")), **files, pad=True)
    saved = np.load(tmp_path / "flow/x_train.npy")
    assert saved.shape == (3, 2, 20)
    np.testing.assert_allclose(saved[1, :, :14], x[1], rtol=1e-6)
    np.testing.assert_allclose(saved[1, :, 14:], np.repeat(x[1][:, -1:], 6, axis=1), rtol=1e-6)
    assert found.remarks == [
        "run_1.tdms: the last value is repeated 6 times",
        "run_2.tdms: the last value is repeated 3 times",
    ]
