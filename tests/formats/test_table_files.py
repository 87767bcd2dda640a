import gzip
import re

import fastparquet
import numpy as np
import openpyxl
import pandas as pd
import pytest

from hpo_utils.base.errors import DataError
from hpo_utils.formats.tables import numbers_in, read_table


def written(tmp_path, text, name="table.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("id,flow [L/min],void\na,1.5,0.1\nb,2,\n", "table.csv"),
        ("id;flow [L/min];void\na;1,5;0,1\nb;2;\n", "table.csv"),
        ("id\tflow [L/min]\tvoid\na\t1,5\t0.1\nb\t2\tn/a\n", "table.tsv"),
        ('id,flow [L/min],void\na,"1,5",0.1\nb,2,\n', "table.csv"),
        ("id|flow [L/min]|void\na|1,5|0.1\nb|2|\n", "table.csv"),
        ("# rig 3\nid,flow (L/min),void\na,1.5,0.1\nb,2,NaN\n", "table.csv"),
        ("Instrument X\nid,flow,void\n,[L/min],[-]\na,1.5,0.1\nb,2,\n", "table.csv"),
    ],
)
def test_numbers_names_and_units_are_found_as_people_write_them(tmp_path, text, name):
    ids, flow, void = read_table(written(tmp_path, text, name))
    assert (ids.name, ids.cells, ids.numbers) == ("id", ["a", "b"], None)
    assert (flow.name, flow.unit) == ("flow", "L/min")
    np.testing.assert_array_equal(flow.numbers, [1.5, 2.0])
    np.testing.assert_array_equal(void.numbers, [0.1, np.nan])


def test_a_single_column_may_have_decimal_commas(tmp_path):
    (column,) = read_table(written(tmp_path, "fat [%]\n18,27\n30,4\n"))
    assert (column.name, column.numbers.tolist()) == ("fat", [18.27, 30.4])
    assert [c.cells for c in read_table(written(tmp_path, "a,b\n18,27\n30,4\n"))] == [
        ["18", "30"], ["27", "4"],
    ]  # fmt: skip


def test_a_packed_table_is_read_and_a_damaged_one_refused(tmp_path):
    content = gzip.compress(b"id,flow\na,1.5\n")
    (tmp_path / "table.csv.gz").write_bytes(content)
    assert read_table(tmp_path / "table.csv.gz")[1].numbers.tolist() == [1.5]
    for damaged in (content[:-9], b"id,flow\na,1.5\n"):
        (tmp_path / "table.csv.gz").write_bytes(damaged)
        with pytest.raises(DataError, match="a table must be readable, got .*table.csv.gz: "):
            read_table(tmp_path / "table.csv.gz")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_the_encodings_of_spreadsheets_are_read(tmp_path, encoding):
    (column,) = read_table(written(tmp_path, "größe\n1\n2\n", encoding=encoding))
    assert column.name == "größe"


def test_a_workbook_is_read_as_it_was_written(tmp_path):
    book = openpyxl.Workbook()
    for row in (["id", "flow [L/min]", "void"], ["a", 1.5, "0,1"], [7, 2, None]):
        book.active.append(row)
    book.save(tmp_path / "table.xlsx")
    ids, flow, void = read_table(tmp_path / "table.xlsx")
    assert ids.cells == ["a", "7"]
    assert flow.unit == "L/min"
    np.testing.assert_array_equal(flow.numbers, [1.5, 2.0])
    np.testing.assert_array_equal(void.numbers, [0.1, np.nan])


@pytest.mark.parametrize(
    ("text", "names", "n_rows"),
    [
        # as spectrometers export: what they say before and after, in as many cells as the values
        ("TITLE\tx\nDATE\ttoday\nXUNITS\tnm\nXYDATA\n300.1\t1\n300.3\t2\n", ["0", "1"], 2),
        ("File\nUser: a\n300.1\t1\n300.3\t2\n300.5\t3\n300.7\t1\n>>>End<<<\n", ["0", "1"], 4),
        ("Serial;7\nMode;fast\nWave;Sample\n300.1;1\n300.3;2\n", ["Wave", "Sample"], 2),
        ("; ENVI output of a scan\n; Wavelength S0 S1\n300.1 1 5\n300.3 2 6\n", ["0", "1", "2"], 2),
        (
            "\t"
            + "\t".join(str(100.5 + k) for k in range(9))
            + "\n0.5"
            + "\t1" * 9
            + "\n1.5"
            + "\t2" * 9,
            ["column 0", *(str(100.5 + k) for k in range(9))],
            2,
        ),
    ],
)
def test_what_instruments_write_around_their_numbers_is_left_out(tmp_path, text, names, n_rows):
    columns = read_table(written(tmp_path, text, "table.txt"))
    assert [column.name for column in columns] == names
    assert all(len(column.numbers) == n_rows for column in columns)


@pytest.mark.parametrize(
    ("text", "names", "cells"),
    [
        # a word among numbers is no header
        (
            "sample,fat\n1,10.5\n2,11.5\n3b,12.5\n4,13.5\n5,14.5",
            ["sample", "fat"],
            ["1", "2", "3b", "4", "5"],
        ),
        (
            "sample,fat,ash\nBlank,1,5\nStd1,2,6\n1001,3,7\n1002,4,8",
            ["sample", "fat", "ash"],
            ["Blank", "Std1", "1001", "1002"],
        ),
        # as R writes it, without a cell over the names of the rows
        ('"fat","ash"\n"1",10.5,3\n"2",11.5,4', ["column 0", "fat", "ash"], ["1", "2"]),
        ('"fat"\n"1",10.5\n"2",11.5', ["column 0", "fat"], ["1", "2"]),
        ('"fat" "ash"\n"1" 10.5 3\n"2" 11.5 4', ["column 0", "fat", "ash"], ["1", "2"]),
        (",0,1\n0,12.5,3\n1,13.5,4", ["column 0", "0", "1"], ["0", "1"]),  # as pandas does
        # titles, empty rows and columns, as worksheets have them
        ("Lab results,\nsample,fat\na,10.5\nb,11.5", ["sample", "fat"], ["a", "b"]),
        ("Lab results,,\nfat,ash,\n10.5,3,\n11.5,4,\n,,", ["fat", "ash"], ["10.5", "11.5"]),
        (
            "Lab results,,\nsample,fat,ash\n,%,g/kg\n1,10.5,3\n2,11.5,4",
            ["sample", "fat", "ash"],
            ["1", "2"],
        ),
        ("sample,fat,ash\nS0,,\nS1,11.5,4", ["sample", "fat", "ash"], ["S0", "S1"]),
        ("sample;fat\na;10.5;\nb;11.5;", ["sample", "fat"], ["a", "b"]),
        # two columns of whole numbers under a title, and what an instrument says before its values
        ("Counts\n400,1021\n401,1050\n402,1033", ["0", "1"], ["400", "401", "402"]),
        (
            "Instrument,FTIR\nOperator,Bob\nUnits,Absorbance\n400,0.1\n401,0.2",
            ["0", "1"],
            ["400", "401"],
        ),
        # comments as wide as the table
        ("# by LIMS, 3.1, 2024\nid,fat,ash\na,10.5,3\nb,11.5,4", ["id", "fat", "ash"], ["a", "b"]),
        # a mark that begins no comment
        ("#,fat,ash\n1,10.5,3\n2,11.5,4", ["#", "fat", "ash"], ["1", "2"]),
        ("id,fat,ash\n#S1,10.5,3\n#S2,11.5,4", ["id", "fat", "ash"], ["#S1", "#S2"]),
    ],
)
def test_header_and_rows_are_where_a_reader_sees_them(tmp_path, text, names, cells):
    columns = read_table(written(tmp_path, text))
    assert [column.name for column in columns] == names
    assert columns[0].cells == cells


def test_a_header_of_wavelengths_is_told_from_numbers_without_one(tmp_path):
    axis = ",".join(str(850.5 + 2 * k) for k in range(10))
    columns = read_table(written(tmp_path, f"{axis}\n{','.join('1' * 10)}\n"))
    assert [column.name for column in columns[:2]] == ["850.5", "852.5"]
    assert len(columns[0].cells) == 1
    bare = read_table(written(tmp_path, "1,5,2\n3,4,1\n"))
    assert [column.name for column in bare] == ["0", "1", "2"]
    assert len(bare[0].cells) == 2


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["1e3", "-.5", "+2,", "inf"], [1000.0, -0.5, 2.0, np.inf]),
        (["1", "", "-", "NULL"], [1.0, np.nan, np.nan, np.nan]),
        (["1.234,5"], None),  # separators of thousands are not guessed at
        (["1 200"], None),
        (["12 mg"], None),
    ],
)
def test_a_cell_is_a_number_or_text(cells, found):
    if found is None:
        assert numbers_in(cells) is None
    else:
        np.testing.assert_array_equal(numbers_in(cells), found)


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"", "t.csv", "must hold rows of values"),
        (b"a,b\n", "t.csv", "must hold rows of values"),
        (b"a,a\n1,2\n", "t.csv", "different names"),
        (b"a,b\n1,2\n1,2,3\n1,2\n", "t.csv", "as many cells as its header, 2, got 3 in row 2"),
        (b"\x00\x01\x02", "t.csv", "binary content"),
        (b"PK\x03\x04 cut short", "t.xlsx", "workbook must be readable"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(tmp_path, content, name, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_table(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id;fat\na;998\nb;1,003\n", "a comma must separate decimals, got '1,003' beside '998'"),
        ('id,fat\na,998\nb,"1,003"\n', "write thousands without it"),
        ("id,fat\na,1\nb,2\nMean,1.5\nSD,0.7\n", "got 'Mean' in row 3 of a.csv: remove what"),
        ("id;fat\na;1\n;\n平均;1\n", "got '平均' in row 2"),
        (
            "no,sample,fat\n1,a,1\n2,b,3\n3,Mean (n=2),2\n4,Std.Dev.,1\n",
            "got 'Mean (n=2)' in row 3",
        ),
        ("id,fat\na,1\nb,2\nMean,1.5\nn,2\n", "got 'Mean' in row 3"),
        ("id;fat\na;998.5\nb;1,003\n", "got '1,003' beside '998.5'"),
        ("id;fat\na;-998\nb;-1,003\n", "got '-1,003' beside '-998'"),
        ("id;990;998;1,000;1,002\na;1;2;3;4\n", "beside '990' in the header"),
    ],
)
def test_what_looks_like_a_sample_or_a_number_and_is_none_is_refused(tmp_path, content, said):
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(said)):
        read_table(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "body",
    [
        "a;1,003\nb;0,998", "a;1,003\nb;99", "min;1\nmax;2\nmin;3\nmax;4",
        "min;1\nmid;2\nmax;3",
    ],
)  # fmt: skip
def test_decimal_commas_and_levels_of_a_factor_are_read(tmp_path, body):
    (tmp_path / "a.csv").write_text(f"id;fat\n{body}\n")
    assert read_table(tmp_path / "a.csv")[1].numbers is not None


def test_parquet_says_itself_what_is_a_number(tmp_path):
    frame = pd.DataFrame(
        {
            "id": ["a", "b", None],
            "flow [L/min]": [1.5, np.nan, 2.5],
            "n": pd.array([1, None, 3], "Int32"),
            "used": pd.array([True, False, True], "boolean"),
            "850.5 nm": np.array([0.1, 0.2, 0.3], np.float32),
        }
    )
    fastparquet.write(str(tmp_path / "a.parquet"), frame)
    ids, flow, n, used, spectrum = read_table(tmp_path / "a.parquet")
    assert (ids.numbers, list(ids.cells)) == (None, ["a", "b", ""])
    assert (flow.name, flow.unit, n.cells[:]) == ("flow", "L/min", ["1", "", "3"])
    np.testing.assert_array_equal(flow.numbers, [1.5, np.nan, 2.5])
    np.testing.assert_array_equal(n.numbers, [1, np.nan, 3])
    np.testing.assert_array_equal(used.numbers, [1, 0, 1])
    np.testing.assert_allclose(spectrum.numbers, [0.1, 0.2, 0.3], rtol=1e-6)
    for content in (b"", b"PAR1 and no more"):
        (tmp_path / "b.parquet").write_bytes(content)
        with pytest.raises(DataError, match="a table must be whole, got b.parquet"):
            read_table(tmp_path / "b.parquet")


def test_a_table_that_changes_is_read_again(tmp_path):
    path = written(tmp_path, "fat\n1.5\n")
    assert read_table(path)[0].numbers.tolist() == [1.5]
    path = written(tmp_path, "fat\n12.5\n13.5\n")
    assert read_table(path)[0].numbers.tolist() == [12.5, 13.5]
