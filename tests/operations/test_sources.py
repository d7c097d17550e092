"""A user's own files, in the shapes that they come in."""

import pandas as pd
import pytest

from calibrate.errors import DataError
from calibrate.operations.config import load
from calibrate.operations.sources import read_history, read_table


def history(tmp_path, data, **files):
    for name, text in files.items():
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    (tmp_path / "pool.toml").write_text(f"[data]\n{data}\n", encoding="utf-8")
    return read_history(load(tmp_path / "pool.toml"))


WIDE = "year,007,NA\n2020,1.5,2\n2021,0,4\n2022,3,5\n"


def test_a_wide_panel_and_names_that_look_like_something_else(tmp_path):
    exposures = "year,NA,007\n2020,20,10\n2021,20,11\n2022,20,12\n"
    read = history(tmp_path, 'panel = "losses.csv"\nexposures = "sizes.csv"', losses=WIDE, sizes=exposures)
    assert read.members == ("007", "NA")
    assert read.losses["007"].to_list() == [1.5, 0.0, 3.0]
    assert read.exposures["007"].to_list() == [10.0, 11.0, 12.0]
    assert [str(period) for period in read.periods] == ["2020", "2021", "2022"]


def test_a_long_panel(tmp_path):
    text = "who,when,paid,size\nA,2020-01,1,10\nB,2020-01,2,20\nB,2020-02,4,20\nA,2020-02,3,11\n"
    columns = 'date = "when"\nmember = "who"\nloss = "paid"\nexposure = "size"'
    read = history(tmp_path, f'panel = "losses.csv"\n{columns}', losses=text)
    assert read.losses["A"].to_list() == [1.0, 3.0]
    assert read.exposures["A"].to_list() == [10.0, 11.0]
    assert read.periods.freqstr == "M"


def test_a_long_panel_with_segments(tmp_path):
    text = "who,peril,when,paid\nA,fire,2020,1\nA,flood,2020,2\nA,fire,2021,3\nA,flood,2021,4\n"
    columns = 'date = "when"\nmember = "who"\nloss = "paid"\nsegment = "peril"'
    read = history(tmp_path, f'panel = "losses.csv"\n{columns}', losses=text)
    assert read.segments == ("fire", "flood")
    assert read.losses["A", "flood"].to_list() == [2.0, 4.0]


def test_a_long_panel_with_an_exposure_for_each_segment(tmp_path):
    rows = ["A,fire,2020,1,10", "A,flood,2020,2,500", "A,fire,2021,3,12", "A,flood,2021,4,600"]
    columns = 'date = "when"\nmember = "who"\nloss = "paid"\nsegment = "peril"\nexposure = "size"'
    read = history(tmp_path, f'panel = "losses.csv"\n{columns}', losses="\n".join(["who,peril,when,paid,size", *rows]))
    assert read.exposures["A", "fire"].to_list() == [10.0, 12.0]
    assert read.exposures["A", "flood"].to_list() == [500.0, 600.0]
    same = "\n".join(["who,peril,when,paid,size", *(row.rsplit(",", 1)[0] + ",7" for row in rows)])
    assert (history(tmp_path, f'panel = "losses.csv"\n{columns}', losses=same).exposures == 7.0).all(axis=None)


def test_prices_bring_losses_and_exposures_to_the_money_of_the_last_entry(tmp_path):
    files = {"losses": WIDE, "sizes": "year,007,NA\n2020,10,20\n2021,11,20\n2022,12,20\n"}
    index = "year,level\n2020,100\n2021,125\n2022,200\n2023,250\n"
    data = 'panel = "losses.csv"\nexposures = "sizes.csv"\nprices = "index.csv"'
    read = history(tmp_path, data, **files, index=index)
    assert read.losses["007"].to_list() == [1.5 * 2.5, 0.0, 3 * 1.25]
    assert read.exposures["007"].to_list() == [10.0, 11.0, 12.0]
    read = history(tmp_path, f'{data}\nexposure_prices = "index.csv"', **files, index=index)
    assert read.exposures["NA"].to_list() == [50.0, 40.0, 25.0]


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        ("year,level,more\n2020,1,1\n", "index.csv has 3 columns, expected two: the period, and its price level"),
        ("year,level\n2020,1\n2022,1\n", "prices: no entry for period 2021; expected entries for all of 2020 to 2022"),
        ("year,level\n2020,1\n2021,x\n2022,1\n", "prices, row 2021: price level is 'x', expected a number"),
    ],
)
def test_a_price_index_that_does_not_do(tmp_path, index, sentence):
    with pytest.raises(DataError) as caught:
        history(tmp_path, 'panel = "losses.csv"\nprices = "index.csv"', losses=WIDE, index=index)
    assert sentence in str(caught.value)


def test_empty_lines_are_left_out_and_lines_are_counted_as_in_the_file(tmp_path):
    text = "date,member,loss\n\n2024-01-05,A,10\n,,\n2024-03-02,B,{}\n\n"
    read = history(tmp_path, 'events = "losses.csv"', losses=text.format("5"))
    assert read.losses.sum().to_dict() == {"A": 10.0, "B": 5.0}
    with pytest.raises(DataError, match="row 5, column 'loss': loss is 'much', expected a number"):
        history(tmp_path, 'events = "losses.csv"', losses=text.format("much"))


def test_a_file_of_another_alphabet_says_how_to_save_it(tmp_path):
    (tmp_path / "losses.csv").write_bytes("date,member,loss\n2024-01-05,Ä,10\n".encode("latin1"))
    with pytest.raises(DataError, match=r"losses.csv is no UTF-8 text; save it as CSV UTF-8"):
        history(tmp_path, 'events = "losses.csv"')


def test_events_with_a_long_file_of_exposures(tmp_path):
    read = history(
        tmp_path,
        'events = "losses.csv"\nexposures = { file = "sizes.csv", date = "day", member = "name", exposure = "tvl" }\n'
        "start = 2024-01-01\nend = 2024-03-31",
        losses="date,member,loss\n2024-01-05,A,10\n2024-03-02T23:30:00+01:00,B,5\n",
        sizes="day,name,tvl\n"
        + "".join(f"2024-0{month},{name},{100 * month}\n" for month in (1, 2, 3) for name in "AB"),
    )
    assert read.losses.to_numpy().tolist() == [[10.0, 0.0], [0.0, 0.0], [0.0, 5.0]]
    assert read.exposures["B"].to_list() == [100.0, 200.0, 300.0]


@pytest.mark.parametrize(
    ("data", "text", "words"),
    [
        ('panel = "losses.csv"', "year\n2020\n", "has one column, expected periods in the first"),
        ('panel = "losses.csv"', "year,A\n", "has no rows"),
        ('panel = "losses.csv"', "", "cannot be read as a CSV file"),
        (
            'panel = "losses.csv"',
            "year,A\n2020,lots\n2021,2\n",
            "row 2020, member 'A': loss is 'lots', expected a number",
        ),
        ('panel = "losses.csv"', "year,A\n2020,\n2021,2\n", "row 2020, member 'A': loss is missing"),
        (
            'panel = "losses.csv"\ndate = "y"\nmember = "m"\nloss = "x"',
            "y,m,x\n2020,A,1\n2020,A,2\n",
            "losses.csv, line 3: y '2020', m 'A' occurs twice",
        ),
        (
            'panel = "losses.csv"\ndate = "y"\nmember = "m"\nloss = "x"',
            "y,m,x\n2020,A,1\n2020,B,1\n2021,A,2\n",
            "row 2021, member 'B': loss is missing",
        ),
        ('events = "losses.csv"', "day,member,loss\n2024-01-05,A,10\n", "has no column 'date'"),
        (
            'events = "losses.csv"',
            "date;member;loss\n2024-01-05;A;10,5\n",
            "losses.csv has ';' between its columns; save it with commas there, and points in numbers",
        ),
        ('panel = "losses.csv"', "year,A\n2020,1,2\n2021,2,3\n", "rows with more columns than its first line names"),
        (
            'events = "losses.csv"',
            "date,member,loss\n2024-01-05,A,10\n2024-02-05,A ,10\n",
            "members 'A' and 'A ' differ in blanks only; write them alike",
        ),
        ('panel = "losses.csv"', "year,A,B, A\n2020,1,2,3\n", "members 'A' and ' A' differ in blanks only"),
        ('panel = "losses.csv"', "year,A,A\n2020,1,2\n", "has 2 columns named 'A'; rename or remove one"),
        (
            'events = "losses.csv"',
            "date,member,loss,loss\n2024-01-05,A,10,1\n",
            "has 2 columns named 'loss'; rename or remove one",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, data, text, words):
    with pytest.raises(DataError) as caught:
        history(tmp_path, data, losses=text)
    assert words in str(caught.value)


def test_tables_for_rules(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("member,group\n007,a\nNA,b\n")
    pd.testing.assert_series_equal(
        read_table(path), pd.Series({"007": "a", "NA": "b"}, name="group").rename_axis("member"), check_index_type=False
    )
    path.write_text("scenario,A,B\nflood,1,2.5\nfire,3,4\n")
    assert read_table(path).loc["flood"].to_dict() == {"A": 1.0, "B": 2.5}
    path.write_text("member\nA\n")
    with pytest.raises(DataError, match="has one column, expected names in the first"):
        read_table(path)


def test_a_column_that_nobody_asks_for_may_stand_twice(tmp_path):
    text = "\ufeffdate,member,loss,note,note\n2024-01-05,A,10,x,y\n2024-02-05,B,4,x,z\n"
    assert history(tmp_path, 'events = "losses.csv"', losses=text).members == ("A", "B")
