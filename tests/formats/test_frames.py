"""R files, written as R writes them in ASCII."""

from itertools import chain

import fastparquet
import numpy as np
import pandas as pd
import pytest
import rdata

from hpo_utils.base.errors import DataError
from hpo_utils.formats import frames
from hpo_utils.formats.references import Named, read_references
from hpo_utils.formats.samples import read_samples
from hpo_utils.formats.tables import read_table
from hpo_utils.importing.importing import import_files
from hpo_utils.importing.request import Request

# kinds of values in R's serialisation, and its bits for a class, attributes and a tag
PAIRS, SYMBOL, CHARS, WHOLE, REAL, TEXT, LIST, NULL = 2, 1, 9, 13, 14, 16, 19, 254
CLASS, ATTRIBUTES, TAG, UTF8 = 1 << 8, 1 << 9, 1 << 10, 1 << 18


def chars(text):
    return [CHARS, -1] if text is None else [CHARS | UTF8, len(text), text]


def real(values, **attributes):
    return with_attributes(REAL, [len(values), *values], attributes)


def whole(values, **attributes):
    return with_attributes(WHOLE, [len(values), *values], attributes)


def text(*values):
    return [TEXT, len(values), *(part for value in values for part in chars(value))]


def several(*values, **attributes):
    return with_attributes(LIST, [len(values), *chain(*values)], attributes)


def with_attributes(kind, content, attributes):
    bits = (ATTRIBUTES if attributes else 0) | (CLASS if "class" in attributes else 0)
    return [kind | bits, *content, *(pairs(attributes) if attributes else [])]


def pairs(named):
    tagged = (
        [PAIRS | TAG, SYMBOL, *chars(name.replace("_", ".")), *v] for name, v in named.items()
    )
    return [*chain(*tagged), NULL]


def frame(row_names, **columns):
    names = [name.replace("_", ".") for name in columns]
    return several(*columns.values(), names=text(*names),
                   **{"class": text("data.frame"), "row_names": row_names})  # fmt: skip


def matrix(values, rows=None, columns=None):
    dim = {"dim": whole(values.shape)}
    if columns is not None:
        dim["dimnames"] = several(text(*rows) if rows else [NULL], text(*columns))
    return real(values.T.ravel(), **dim)


def save(path, content):
    """Write one value as saveRDS does, or several with names as save does, both with ascii=TRUE."""
    start = ["A", 3, 4 << 16 | 4 << 8, 3 << 16 | 5 << 8, 5, "UTF-8"]
    if isinstance(content, dict):
        start, content = ["RDA3", *start], pairs(content)
    path.write_text("\n".join(map(str, [*start, *content])) + "\n")
    return path


@pytest.fixture
def soil(tmp_path):
    """A data frame of ten soils with reference values, of which some are NA, and spectra."""
    spectra = np.arange(120.0).reshape(10, 12)
    rows = [f"s{k}" for k in range(10)]
    columns = [str(1100 + 2 * k) for k in range(12)]
    content = frame(
        text(*rows),
        carbon=real([*range(9), "NA"]),
        layers=whole([*range(1, 9), "NA", 4]),
        field_name=whole([1, 2] * 5, levels=text("north", "south"), **{"class": text("factor")}),
        sampled=real([20000 + k for k in range(10)], **{"class": text("Date")}),
        spc=matrix(spectra, rows, columns),
    )
    return content, spectra


def test_a_data_frame_with_a_matrix_of_spectra(soil, tmp_path):
    content, spectra = soil
    path = save(tmp_path / "soil.RData", {"soil": content})
    found = read_samples(path, Named(targets=["carbon", "layers"]))
    np.testing.assert_array_equal(found.values, spectra)
    assert (found.axis.first, found.axis.last, found.channels) == (1100.0, 1122.0, ["spc"])
    np.testing.assert_array_equal(
        found.references.values, [[k, k + 1] for k in range(8)] + [[8, np.nan], [np.nan, 4]]
    )
    assert found.ids == [f"s{k}" for k in range(10)]
    by_name = {column.name: column for column in read_table(path)}
    assert by_name["field.name"].cells[:3] == ["north", "south", "north"]
    assert by_name["sampled"].cells[0] == "2024-10-04"
    assert by_name["carbon"].cells[-1] == ""


def test_the_nan_by_which_r_writes_na_is_like_any_other(tmp_path):
    na = np.frombuffer(b"\xa2\x07\0\0\0\0\xf0\x7f")  # as R has it in memory
    rdata.write_rds(tmp_path / "na.rds", pd.DataFrame({"fat": np.concatenate([na, [1.0]])}))
    (fat,) = read_table(tmp_path / "na.rds")
    assert list(fat.cells) == ["", "1"]
    np.testing.assert_array_equal(fat.numbers.astype(np.float32), [np.nan, 1.0])  # and no warning


def test_matrices_side_by_side(tmp_path):
    x, y = np.arange(80.0).reshape(8, 10), np.arange(16.0).reshape(8, 2)
    path = save(tmp_path / "both.rda", {
        "X": matrix(x), "Y": matrix(y, None, ["fat", "water"]), "n": whole([8]),
    })  # fmt: skip
    found = read_samples(path, Named())
    np.testing.assert_array_equal(found.values, x)
    assert found.references.names == ["fat", "water"]
    np.testing.assert_array_equal(found.references.values, y)


def test_import_joins_tables_of_r(soil, tmp_path):
    content, spectra = soil
    rows = [f"s{k}" for k in reversed(range(10))]
    laboratory = frame(text(*rows), fat=real(range(10)))
    spectra_file = save(tmp_path / "spectra.rds", content)
    told = Request(
        [spectra_file], tmp_path / "out", save(tmp_path / "lab.rds", laboratory),
        id_column="row.names",
    )  # fmt: skip
    import_files(told)
    np.testing.assert_array_equal(np.load(tmp_path / "out/x_train.npy")[:, 0], spectra)
    np.testing.assert_array_equal(np.load(tmp_path / "out/t_train.npy")[:, 0], range(9, -1, -1))


def test_two_data_frames_side_by_side_share_a_column_or_are_refused(tmp_path):
    rows = whole([1, 2, 3])
    one = frame(rows, id=text("a", "b", "c"), fat=real([1, 2, 3]))
    same = frame(rows, id=text("a", "b", "c"), water=real([4, 5, 6]))
    path = save(tmp_path / "two.rda", {"one": one, "two": same})
    assert [column.name for column in read_table(path)] == ["id", "fat", "water"]
    other = frame(rows, id=text("c", "b", "a"), water=real([4, 5, 6]))
    path = save(tmp_path / "two.rda", {"one": one, "two": other})
    with pytest.raises(DataError, match=r"different names, got \['id'\] in two\.rda"):
        read_table(path)


def test_parts_that_name_their_rows_otherwise_are_refused(tmp_path):
    spectra, columns = np.zeros((3, 9)), [str(1100 + k) for k in range(9)]
    names = ["a", "b", "c"]
    alike = {
        "lab": frame(text(*names), fat=real([1, 2, 3])), "X": matrix(spectra, names, columns)
    }  # fmt: skip
    found = read_table(save(tmp_path / "a.rda", alike))
    assert [column.name for column in found[:3]] == ["row.names", "fat", "X_1100"]
    assert list(found[0].cells) == names
    other = {**alike, "X": matrix(spectra, names[::-1], columns)}
    with pytest.raises(DataError, match="name their rows alike, but X of a.rda has other names th"):
        read_table(save(tmp_path / "a.rda", other))


def test_a_name_that_ends_in_a_digit_is_no_place(tmp_path):
    content = {"X1": matrix(np.arange(400.0).reshape(10, 40)), "fat": real(range(10))}
    found = read_samples(save(tmp_path / "a.rda", content), Named())
    assert found.values.shape == (10, 40)
    assert (found.channels, found.references.names) == (["X1"], ["fat"])


def test_names_of_rows_that_are_numbers_are_no_target(tmp_path):
    content = {"fat": real([1, 2, 3])}
    counted = save(tmp_path / "a.rds", frame(text("1", "2", "3"), **content))
    assert [column.name for column in read_table(counted)] == ["fat"]
    drawn = save(tmp_path / "b.rds", frame(text("7", "4", "1"), **content))
    found = read_references(drawn)
    assert (found.names, found.ids) == (["fat"], ["7", "4", "1"])


def test_axes_of_a_matrix_that_have_names_themselves(tmp_path):
    spectra, columns = np.arange(90.0).reshape(10, 9), [str(1100 + k) for k in range(9)]
    named = several([NULL], text(*columns), names=text("", "nm"))
    content = real(spectra.T.ravel(), dim=whole(spectra.shape), dimnames=named)
    found = read_samples(save(tmp_path / "x.rds", content), Named())
    np.testing.assert_array_equal(found.values, spectra)
    assert (found.axis.first, found.channels) == (1100.0, ["x"])


def test_what_r_keeps_in_classes_of_its_own(tmp_path):
    bits = np.array([2**60 + 1, np.iinfo(np.int64).min]).view(np.float64)
    rdata.write_rds(tmp_path / "bits.rds", pd.DataFrame({"id": bits}))
    parsed = rdata.parser.parse_file(tmp_path / "bits.rds")
    found = frames._whole(rdata.conversion.convert(parsed)["id"].to_numpy(), {})
    assert found.tolist() == [2**60 + 1, None]
    content = frame(
        whole([1, 2]), day=whole([20000, "NA"], **{"class": text("IDate", "Date")}),
        at=real([1.5, "NA"], **{"class": text("POSIXct", "POSIXt")}),
        level=whole([1, 2], levels=text("0.1", "0.2"), **{"class": text("factor")}),
    )  # fmt: skip
    day, at, level = read_table(save(tmp_path / "a.rds", content))
    assert list(day.cells) == ["2024-10-04", ""]
    assert list(at.cells) == ["1970-01-01T00:00:01", ""]
    np.testing.assert_array_equal(level.numbers, [0.1, 0.2])  # a factor, as R once read numbers


def test_what_a_workspace_holds_besides(tmp_path):
    content = {".Random.seed": whole(range(626)), "fat": real([1, 2, 3])}
    (fat,) = read_table(save(tmp_path / "a.RData", content))
    assert fat.name == "fat"
    (alone,) = read_table(save(tmp_path / "protein.rds", real([1, 2, 3])))
    assert alone.name == "protein"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            several(real([1]), real([2]), names=text("a", "a"),
                    **{"class": text("data.frame"), "row_names": whole([1])}),
            r"different names, got \['a'\]",
        ),
        (frame(whole([1]), a=several(real([1]))), "must be a vector, got a list in 'a'"),
        (frame(whole([1]), **{"fat [%]": real([1]), "fat [g]": real([1])}), r"got \['fat'\]"),
    ],
)  # fmt: skip
def test_columns_that_would_be_lost_are_refused(tmp_path, content, said):
    with pytest.raises(DataError, match=said):
        read_table(save(tmp_path / "a.rds", content))


def test_the_index_of_a_parquet_file_names_its_rows(tmp_path):
    index = pd.Index([20240101000000001, 20240101000000003], name="sample")
    fastparquet.write(str(tmp_path / "a.parquet"), pd.DataFrame({"fat": [1.0, 2.0]}, index=index))
    ids, fat = read_table(tmp_path / "a.parquet")
    assert list(ids.cells) == ["20240101000000001", "20240101000000003"]
    assert (ids.name, fat.name) == ("sample", "fat")


def test_a_column_of_bytes_is_refused(tmp_path):
    fastparquet.write(str(tmp_path / "a.parquet"), pd.DataFrame({"raw": [b"a", b"b"]}))
    with pytest.raises(DataError, match="must hold numbers, words or times, got bytes in raw of"):
        read_table(tmp_path / "a.parquet")


def test_parts_of_different_lengths_are_refused_by_name(tmp_path):
    path = save(tmp_path / "two.rda", {"x": matrix(np.zeros((4, 9))), "y": real([1, 2, 3])})
    with pytest.raises(DataError, match=r"different lengths in two.rda: x \(4, 9\), y \(3,\)"):
        read_table(path)


@pytest.mark.parametrize("content", [b"", b"no R at all", bytes(300)])
def test_a_damaged_r_file_is_refused_in_a_sentence(tmp_path, content):
    (tmp_path / "a.rds").write_bytes(content)
    with pytest.raises(DataError, match=r"got a\.rds") as caught:
        read_references(tmp_path / "a.rds")
    assert "\n" not in str(caught.value)


def test_a_cut_r_file_is_refused(soil, tmp_path):
    path = save(tmp_path / "soil.rds", soil[0])
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(DataError, match=r"whole, got soil\.rds"):
        read_table(path)
