import numpy as np
import openpyxl
import pytest
import tifffile
from scipy.io import netcdf_file, savemat, wavfile

from hpo_utils.base.errors import DataError
from hpo_utils.data.preparation import prepare_data
from hpo_utils.formats.opening import open_array

RNG = np.random.default_rng(0)
N, LENGTH = 40, 12
X = RNG.normal(size=(N, LENGTH)).round(4)
T = np.column_stack([X[:, :3].sum(axis=1), X[:, 3]]).round(4)
RIG = [k % 8 for k in range(N)]
HEADER = ["sample", *(f"{850 + 2 * k} nm" for k in range(LENGTH)), "Fat [%]", "Water [%]", "rig"]
ROWS = [[f"s{k}", *X[k], *T[k], RIG[k]] for k in range(N)]


def write_csv(path, header=HEADER, rows=ROWS):
    path.write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]))
    return path


def write_excel(path):
    book = openpyxl.Workbook()
    for row in [HEADER, *ROWS]:
        book.active.append(row)
    book.save(path)
    return path


@pytest.mark.parametrize(("name", "write"), [("a.csv", write_csv), ("a.xlsx", write_excel)])
def test_one_table_is_inputs_targets_and_groups(tmp_path, make_config, name, write):
    file = str(write(tmp_path / name))
    data = prepare_data(
        make_config(
            **{
                "dataset.x_train": file, "dataset.groups": file,
                "dataset.t_train": str(tmp_path / ".." / tmp_path.name / name),
                "dataset.groups_key": "rig",
            }
        )
    )  # fmt: skip
    assert data.target_names == ["Fat", "Water"]
    assert data.target_units == ["%", "%"]
    assert data.manifest["axis_names"] == ["axis [nm]"]
    assert data.manifest["axis_ranges"] == [[850, 850 + 2 * (LENGTH - 1)]]
    assert data.manifest["n_groups"] == 8
    numbers = data.sample_numbers("test")
    np.testing.assert_allclose(data.targets("test"), T[numbers], rtol=1e-6)


def write_netcdf(path):
    with netcdf_file(path, "w") as content:
        for axis, length in (("n", N), ("k", LENGTH)):
            content.createDimension(axis, length)
        content.createVariable("x", "f8", ("n", "k"))[:] = X


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("x.mat", lambda path: savemat(path, {"x": X})),
        ("x.nc", write_netcdf),
        ("x.tif", lambda path: tifffile.imwrite(path, X.astype(np.float32)[:, None, :])),
        ("x.csv", write_csv),
    ],
)
def test_a_file_of_each_kind_gives_its_array_whole_and_in_rows(tmp_path, name, write):
    write(tmp_path / name)
    source = open_array(tmp_path / name, None, "dataset.x_train")
    found = source.read().reshape(N, LENGTH)
    np.testing.assert_allclose(found, X, rtol=1e-6)
    rows = np.array([3, 17])
    np.testing.assert_array_equal(source.rows(rows).reshape(2, LENGTH), found[rows])
    assert source.shape[0] == N
    assert source.stamp()["path"] == str(tmp_path / name)


def test_cases_hold_inputs_and_targets(tmp_path):
    file = tmp_path / "x.ts"
    lines = [f"{','.join(map(str, X[k]))}:{T[k, 0]}" for k in range(N)]
    file.write_text("\n".join(["@targetlabel true", "@data", *lines]))
    x = open_array(file, None, "dataset.x_train").read()
    np.testing.assert_array_equal(x[:, 0], X)
    np.testing.assert_array_equal(open_array(file, None, "dataset.t_train").read(), T[:, :1])


def test_a_key_names_one_column_of_targets(tmp_path):
    file = write_csv(tmp_path / "a.csv")
    source = open_array(file, "Water", "dataset.t_train")
    np.testing.assert_array_equal(source.read()[:, 0], T[:, 1])
    assert source.labels["target_names"] == ["Water"]


def test_an_axis_that_falls_is_turned_and_said(tmp_path, make_config, capsys):
    turned = [HEADER[0], *HEADER[LENGTH:0:-1], *HEADER[LENGTH + 1 :]]
    file = str(write_csv(tmp_path / "a.csv", turned))
    prepare_data(make_config(**{"dataset.x_train": file, "dataset.t_train": file}))
    assert "a.csv: the axis falls from 872 to 850: turned round" in capsys.readouterr().out
    source = open_array(tmp_path / "a.csv", None, "dataset.x_train")
    np.testing.assert_array_equal(source.read(), X[:, ::-1])


def test_tables_in_another_order_are_not_joined_by_chance(tmp_path, make_config):
    x = write_csv(tmp_path / "x.csv", HEADER[: LENGTH + 1], [row[: LENGTH + 1] for row in ROWS])
    table = [[row[0], *row[LENGTH + 1 : LENGTH + 3]] for row in ROWS]
    header = [HEADER[0], *HEADER[LENGTH + 1 : LENGTH + 3]]
    t = write_csv(tmp_path / "t.csv", header, table)
    files = {"dataset.x_train": str(x), "dataset.t_train": str(t)}
    assert prepare_data(make_config(**files)).target_names == ["Fat", "Water"]
    write_csv(t, header, table[::-1])
    with pytest.raises(DataError, match=r"x.csv and t.csv must name the same samples .* joins"):
        prepare_data(make_config(**files))


def test_ids_may_be_numbers(tmp_path, make_config):
    head = [["id", *HEADER[1 : LENGTH + 1]], ["id", "Fat", "Water"]]
    x = [[k, *X[k]] for k in range(N)]
    t = [[k, *T[k]] for k in range(N)]
    files = {f"dataset.{key}_train": str(tmp_path / f"{key}.csv") for key in "xt"}
    write_csv(tmp_path / "x.csv", head[0], x)
    write_csv(tmp_path / "t.csv", head[1], t)
    assert prepare_data(make_config(**files)).target_names == ["Fat", "Water"]
    write_csv(tmp_path / "t.csv", head[1], t[::-1])
    with pytest.raises(DataError, match="must name the same samples"):
        prepare_data(make_config(**files))


def test_names_of_targets_choose_among_the_columns(tmp_path, make_config):
    file = str(write_csv(tmp_path / "a.csv"))
    files = {"dataset.x_train": file, "dataset.t_train": file}
    data = prepare_data(make_config(**files, **{"dataset.target_names": ["Water", "Fat"]}))
    np.testing.assert_allclose(
        data.targets("test"), T[data.sample_numbers("test")][:, ::-1], rtol=1e-6
    )


def test_many_targets_of_one_word_are_no_spectrum(tmp_path):
    table = [[f"s{k}", *T[k], *X[k, :9]] for k in range(N)]
    header = ["sample", "Fat", "Water", *(f"C{10 + k}" for k in range(9))]
    file = write_csv(tmp_path / "t.csv", header, table)
    assert open_array(file, None, "dataset.t_train").shape == (N, 11)


def test_a_file_of_several_arrays_holds_groups_too(tmp_path):
    savemat(tmp_path / "rig.mat", {"x": X, "t": T, "g": np.array(RIG)})
    groups = open_array(tmp_path / "rig.mat", "g", "dataset.groups", kinds="iufbUS")
    np.testing.assert_array_equal(groups.read(), RIG)


@pytest.mark.parametrize("shape", [(N, 9, 9), (N, 5, 6, 3)])
def test_pages_are_images_and_not_channels(tmp_path, shape):
    pages = RNG.integers(0, 255, shape).astype(np.uint8)
    colours = "rgb" if len(shape) == 4 else "minisblack"
    tifffile.imwrite(tmp_path / "x.tif", pages, photometric=colours)
    found = open_array(tmp_path / "x.tif", None, "dataset.x_train").read()
    expected = pages[:, None] if len(shape) == 3 else np.moveaxis(pages, -1, 1)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("setting", "key", "message"),
    [
        ("dataset.x_train", "nir", r"dataset.x_key names an array .* a.csv is a table"),
        ("dataset.groups", "lot", r"dataset.groups_key must name one of the columns of a.csv, got"),
        ("dataset.t_train", "sample", r"targets must be numbers, got text in sample of a.csv"),
        ("dataset.t_train", "lot", r"a column must be one of sample, .*, got 'lot'"),
    ],
)
def test_a_wrong_column_is_said(tmp_path, setting, key, message):
    with pytest.raises(DataError, match=message):
        open_array(write_csv(tmp_path / "a.csv"), key, setting, kinds="iufbUS")


def test_a_recording_is_no_set_of_samples(tmp_path):
    wavfile.write(tmp_path / "x.wav", 8000, X[0].astype(np.float32))
    with pytest.raises(DataError, match=r"got x.wav: .* python -m hpo_utils import"):
        open_array(tmp_path / "x.wav", None, "dataset.x_train")


def test_a_file_without_targets_is_said(tmp_path):
    header = HEADER[: LENGTH + 1]
    file = write_csv(tmp_path / "a.csv", header, [row[: LENGTH + 1] for row in ROWS])
    with pytest.raises(DataError, match=r"must name a file with targets, got a.csv without any"):
        open_array(file, None, "dataset.t_train", inputs=file)
