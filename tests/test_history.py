"""The door: what enters, what is refused, and in which words."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from calibrate.errors import DataError
from calibrate.history import LossHistory

DATA = Path(__file__).resolve().parents[1] / "../shared/data"


def events(**columns):
    base = {
        "when": ["2024-01-05", "2024-03-09", "2024-03-10"],
        "who": ["A", "B", "A"],
        "usd": [10.0, 4.0, 2.0],
    }
    return pd.DataFrame(base | columns)


def read(frame, **options):
    return LossHistory.from_events(frame, **({"date": "when", "member": "who", "loss": "usd"} | options))


def refusal(frame, **options):
    with pytest.raises(DataError) as caught:
        read(frame, **options)
    return str(caught.value)


def panel_refusal(losses, **options):
    with pytest.raises(DataError) as caught:
        LossHistory.from_panel(losses, **options)
    return str(caught.value)


def test_events_are_added_up_by_period_and_member():
    history = read(events())
    expected = events().assign(month=pd.PeriodIndex(["2024-01", "2024-03", "2024-03"], freq="M"))
    brute = expected.pivot_table(index="month", columns="who", values="usd", aggfunc="sum").reindex(
        pd.period_range("2024-01", "2024-03", freq="M")
    )
    np.testing.assert_array_equal(history.losses.to_numpy(), brute.fillna(0).to_numpy())
    assert history.members == ("A", "B")
    assert history.segments == ("all",)
    assert [str(period) for period in history.periods] == ["2024-01", "2024-02", "2024-03"]


def test_a_period_without_losses_survives_inside_and_at_both_ends():
    history = read(events(), start="2023-11", end="2024-05-17")
    assert [str(history.periods[0]), str(history.periods[-1])] == ["2023-11", "2024-05"]
    assert history.losses.loc["2024-02"].to_numpy().sum() == 0
    assert len(history.losses) == 7


def test_a_year_as_a_window_begins_in_january_and_ends_in_december():
    for start, end in [
        ("2023", "2024"),
        (2023, 2024),
        (pd.Period("2023"), pd.Period("2024")),
        ("2023-01-31", "2024-12-01"),
    ]:
        history = read(events(), start=start, end=end)
        assert [str(history.periods[0]), str(history.periods[-1])] == ["2023-01", "2024-12"]


def test_events_outside_the_window_are_left_out():
    assert read(events(), start="2024-02").losses.to_numpy().sum() == 6.0
    assert len(read(events(), start="2024-02").events) == 2


def test_a_window_without_events_is_refused():
    assert "no event lies between start 2025-01 and end 2025-06" in refusal(events(), start="2025-01", end="2025-06")


@pytest.mark.parametrize(
    ("period", "first", "count"), [("Y", "2024", 1), ("Q", "2024Q1", 1), ("M", "2024-01", 3), ("D", "2024-01-05", 66)]
)
def test_periods_of_every_length(period, first, count):
    history = read(events(), period=period)
    assert (str(history.periods[0]), len(history.periods)) == (first, count)
    assert history.losses.to_numpy().sum() == 16.0


def test_weeks():
    assert len(read(events(), period="W").periods) == 10


@pytest.mark.parametrize(
    "value",
    [
        "2024-02-01T00:00:00+01:00",
        "2024-02-01 04:30Z",
        "Feb 1, 2024 04:30",
        "20240201",
        "1/2/2024",
        dt.datetime(2024, 2, 1, 4, 30),
        dt.date(2024, 2, 1),
        pd.Timestamp("2024-02-01"),
        np.datetime64("2024-02-01"),
        pd.Period("2024-02", "M"),
        1706760000,
        1706760000000,
    ],
)
def test_any_sensible_date_is_read(value):
    others = ["2024-01-05", "15/03/2024" if value == "1/2/2024" else "2024-03-09"]
    frame = events(when=pd.Series([*others, value], dtype=object))
    assert str(read(frame).events["date"].dt.tz_localize(None).dt.to_period("M").sort_values().iloc[1]) == "2024-02"


def test_day_and_month_that_may_be_exchanged_are_refused():
    text = refusal(events(when=["03/04/2024", "05/06/2024", "07/08/2024"]))
    assert "day/month or month/day" in text
    assert "03/04/2024" in text
    assert "others month/day" in refusal(events(when=["13/04/2024", "05/26/2024", "07/08/2024"]))
    day_first = read(events(when=["13/04/2024", "05/06/2024", "07/08/2024"]))
    assert [str(period) for period in day_first.periods] == ["2024-04", "2024-05", "2024-06", "2024-07", "2024-08"]


@pytest.mark.parametrize("value", ["1020-01-05", "9999-12-31"])
def test_a_date_far_from_all_others_in_time_is_named(value):
    text = refusal(events(when=["2024-01-05", value, "2024-03-10"]))
    assert f"row 1, column 'when': date is '{value}', expected a year from 1678 to 2261" in text


@pytest.mark.parametrize("value", ["soon", "", None, "10:30", "now", 3.5, float("nan"), True, "2024-13-45"])
def test_what_is_no_date_is_named_by_row_and_column(value):
    text = refusal(events(when=pd.Series(["2024-01-05", value, "2024-03-10"], dtype=object)))
    assert "row 1, column 'when': date is" in text
    assert "expected a date such as 2024-01-31" in text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "loss is missing (NaN)"),
        (None, "loss is missing (NaN)"),
        (float("inf"), "loss is infinite (inf)"),
        (-2.0, "loss is negative (-2)"),
        ("1,000", "loss is '1,000', expected a number"),
    ],
)
def test_what_is_no_loss_is_named_by_row_and_column(value, words):
    text = refusal(events(usd=pd.Series([10.0, value, 2.0], dtype=object)))
    assert f"row 1, column 'usd': {words}" in text


def test_numbers_of_any_kind_are_read():
    frame = events(usd=pd.Series([10**24, Decimal("4.5"), "2.5"], dtype=object))
    assert read(frame).losses.to_numpy().sum() == 1e24 + 7.0


def test_one_error_lists_everything_that_is_wrong():
    frame = pd.DataFrame(
        {
            "when": ["2024-01-05", "never", "2024-03-10", "2024-03-11", "2024-03-11"],
            "who": ["A", "B", None, "Z", "Z"],
            "usd": [-1.0, 4.0, np.inf, 3.0, 3.0],
        },
        index=["r1", "r2", "r3", "r4", "r5"],
    )
    with pytest.raises(DataError) as caught:
        read(frame, exposures={"A": 1.0, "B": -5.0})
    text = str(caught.value)
    for words in (
        "row r1, column 'usd': loss is negative",
        "row r2, column 'when': date is 'never'",
        "row r3, column 'who': member is missing",
        "row r3, column 'usd': loss is infinite",
        "row r5 repeats row r4",
        "row r4, column 'who': member 'Z' is unknown",
        "member 'B': exposure is negative (-5)",
    ):
        assert words in text
    assert len(caught.value.problems) == 8


def test_duplicates_are_refused_unless_another_column_tells_them_apart():
    frame = pd.concat([events(), events().iloc[[1]]], ignore_index=True)
    text = refusal(frame)
    assert "row 3 repeats row 1 (2024-03-09, B, 4)" in text
    assert "add a column that tells the two events apart" in text
    assert len(read(frame.assign(id=range(4))).events) == 4


def test_many_faults_of_one_kind_are_counted():
    frame = pd.DataFrame({"when": "2024-01-05", "who": "A", "usd": -np.arange(1.0, 101.0)})
    assert "... and 80 more" in refusal(frame)


def test_empty_and_absent_columns():
    assert "there are no events" in refusal(events().iloc[:0])
    text = refusal(events(), loss="amount")
    assert "column 'amount' (loss) is not in the frame, which has ['when', 'who', 'usd']" in text
    assert "period is 'fortnight', expected one of Y, Q, M, W, D" in refusal(events(), period="fortnight")


def test_exposures_say_who_the_members_are():
    history = read(events(), exposures={"B": 2.0, "A": 1.0, "C": 5.0})
    assert history.members == ("B", "A", "C")
    assert (history.losses["C"] == 0).all()
    assert (history.exposures["C"] == 5.0).all()
    text = refusal(events(), exposures={"A": 1.0})
    assert "row 1, column 'who': member 'B' is unknown, the exposures name A" in text


def test_exposures_by_period_and_by_segment():
    months = pd.period_range("2023-12", "2024-06", freq="M")
    by_period = pd.DataFrame({"A": np.arange(7.0) + 1, "B": 1.0}, index=months)
    assert read(events(), exposures=by_period).exposures["A"].to_list() == [2.0, 3.0, 4.0]
    by_text = by_period.set_axis([str(month) for month in months])
    pd.testing.assert_frame_equal(
        read(events(), exposures=by_text).exposures, read(events(), exposures=by_period).exposures
    )
    frame = events(what=["x", "y", "y"])
    shared = read(frame, segment="what", exposures=by_period)
    assert shared.exposures[("A", "y")].to_list() == [2.0, 3.0, 4.0]
    cells = pd.Series(
        {("A", "x"): 1.0, ("A", "y"): 2.0, ("B", "x"): 3.0, ("B", "y"): 4.0, ("A", "z"): 5.0, ("B", "z"): 6.0}
    )
    history = read(frame, segment="what", exposures=cells)
    assert history.segments == ("x", "y", "z")
    assert history.exposures[("B", "z")].to_list() == [6.0] * 3


def test_spaces_around_a_date_are_no_part_of_it():
    """A space in front passed for the T between date and time, and the month for a zone: all were in January."""
    dates = [" 2024-05-31", " 2024-06-30", "2024-07-01 "]
    history = read(events(when=dates))
    assert [str(period) for period in history.periods] == ["2024-05", "2024-06", "2024-07"]
    for date in ("20240131T233000-0500", " 2024-01-31T23:30:00,5+01:00", "2024-01-31 23:30-05", "2024-01-31T23:30Z"):
        assert str(read(events(when=[date, *dates[1:]])).periods[0]) == "2024-01"


def test_exposures_that_are_wrong():
    months = pd.period_range("2024-01", "2024-02", freq="M")
    assert "no row for period 2024-03" in refusal(events(), exposures=pd.DataFrame({"A": 1.0, "B": 1.0}, index=months))
    assert "member 'B': exposure is missing (NaN)" in refusal(events(), exposures={"A": 1.0, "B": np.nan})
    assert "member 'B' has zero exposure in every period" in refusal(events(), exposures={"A": 1.0, "B": 0.0})
    cells = {("A", "x"): 1.0, ("A", "y"): 1.0, ("B", "x"): 0.0, ("B", "y"): 1.0}
    told = refusal(events(what=["x", "y", "x"]), segment="what", exposures=cells)
    assert "make a history of its own for each segment" in told
    months = pd.period_range("2024-01", "2024-03", freq="M")
    table = pd.DataFrame({"A": 1.0, "B": [1.0, 1.0, 0.0]}, index=months)
    assert "row 2024-03, member 'B': zero exposure but a loss of 4" in refusal(events(), exposures=table)
    table = pd.DataFrame({"A": 1.0, "B": [0.0, 1.0, 1.0]}, index=months)
    assert read(events(), exposures=table).exposures["B"].to_list() == [0.0, 1.0, 1.0]  # joined later
    cells = pd.Series({("A", "x"): 1.0, ("B", "y"): 4.0})
    assert "member 'A', segment 'y' has no exposure" in refusal(
        events(what=["x", "y", "y"]), segment="what", exposures=cells
    )


def test_finer_exposures_are_not_guessed_about():
    days = pd.DataFrame({"A": 1.0, "B": 1.0}, index=pd.date_range("2024-01-01", "2024-03-31"))
    text = refusal(events(), exposures=days)
    assert "row 2024-01 occurs more than once; expected one for each period; add up or average" in text
    assert read(events(), exposures=days.resample("MS").mean()).exposures["A"].to_list() == [1.0] * 3


@pytest.mark.parametrize("period", ["M", "m", "ME", "month"])
def test_names_of_periods(period):
    assert read(events(), period=period).periods.freqstr == "M"


def test_names_need_not_be_text():
    frame = events(
        who=pd.Categorical([7, 8, 7]), when=pd.Series(pd.to_datetime(["2024-01-05", "2024-03-09", "2024-03-10"]))
    )
    history = read(frame, exposures={7: 1.0, 8: 2.0})
    assert history.members == ("7", "8")
    assert history.exposures["8"].iloc[0] == 2.0


def test_a_unit_jump_is_refused_unless_confirmed():
    losses = np.array([5.0, 8.0, 6.0, 7.0, 9.0, 5e6, 8e6, 7e6])
    frame = pd.DataFrame({"when": pd.date_range("2024-01-01", periods=8, freq="MS"), "who": "A", "usd": losses})
    text = refusal(frame)
    assert "member 'A': the median loss changes 1,000,000 times" in text
    assert "confirm_unit_jumps=['A']" in text
    assert read(frame, confirm_unit_jumps=["A"]).losses["A"].sum() == losses.sum()
    assert "confirm_unit_jumps names 'Q', which is no member" in refusal(frame, confirm_unit_jumps=["A", "Q"])
    panel = pd.DataFrame({"A": losses, "B": losses[::-1], "C": 1.0}, index=range(2010, 2018))
    both = panel_refusal(panel)
    assert "member 'A'" in both
    assert "member 'B'" in both
    assert "member 'C'" not in both


def test_heavy_tails_are_no_unit_jump():
    rng = np.random.default_rng(0)
    for _ in range(60):
        usd = np.exp(rng.normal(0, 2.5, 30))
        history = read(pd.DataFrame({"when": pd.date_range("2024-01-01", periods=30), "who": "A", "usd": usd}))
        assert history.losses.to_numpy().sum() == pytest.approx(usd.sum())


def test_panel_indices():
    values = {"A": [1.0, 2.0, 0.0], "B": [0.0, 5.0, 0.0]}
    for index, first, last in [
        ([1988, 1989, 1990], "1988", "1990"),
        (["1988", "1989", "1990"], "1988", "1990"),
        ([1, 2, 3], "0001", "0003"),
        (["2020Q1", "2020Q2", "2020Q3"], "2020Q1", "2020Q3"),
        (pd.date_range("2020-01-31", periods=3, freq="ME"), "2020-01", "2020-03"),
        (["2020-01-31", "2020-02-29", "2020-03-31"], "2020-01", "2020-03"),
        (pd.date_range("2020-12-31", periods=3, freq="YE", tz="UTC"), "2020", "2022"),
        (pd.date_range("2020-03-31", periods=3, freq="QE"), "2020Q1", "2020Q3"),
        (pd.period_range("2020-05", periods=3, freq="M"), "2020-05", "2020-07"),
        (pd.date_range("2020-12-31", periods=3), "2020-12-31", "2021-01-02"),
    ]:
        history = LossHistory.from_panel(pd.DataFrame(values, index=index))
        assert (str(history.periods[0]), str(history.periods[-1])) == (first, last)
        np.testing.assert_array_equal(history.losses, np.column_stack(list(values.values())))


@pytest.mark.parametrize(
    ("dates", "freq"),
    [
        (pd.date_range("2020-06-30", periods=6, freq="6ME"), "2Q-DEC"),
        (pd.date_range("2020-01-01", periods=13, freq="28D"), "4W-SUN"),
        (pd.date_range("2020-01-31", periods=6, freq="2ME"), "2M"),
        (pd.Index([2000, 2002, 2004]), "2Y-DEC"),
    ],
)
def test_rows_of_another_length_are_told_to_say_so(dates, freq):
    table = pd.DataFrame({"A": np.arange(1.0, len(dates) + 1)}, index=dates)
    text = panel_refusal(table)
    assert "is missing between" in text
    labels = f"pd.period_range(start, periods={len(dates)}, freq='{freq}')"
    assert f"the rows are {freq} apart: if each is of that length, set a PeriodIndex that says so, {labels}" in text
    start = str(dates[0])  # the remedy is one
    history = LossHistory.from_panel(table.set_axis(eval(labels, {"pd": pd, "start": start})))
    assert history.losses["A"].to_list() == table["A"].to_list()


def test_a_missing_row_alone_is_asked_for():
    months = pd.period_range("2020-01", periods=5, freq="M").delete(3)
    assert "apart" not in panel_refusal(pd.DataFrame({"A": 1.0}, index=months))


@pytest.mark.parametrize("period", ["Q", "M", "W", "D"])
@pytest.mark.parametrize(
    "index",
    [
        pd.Index([2023, 2024]),
        pd.date_range("2023-01-01", periods=2, freq="YS"),
        pd.date_range("2023-12-31", periods=2, freq="YE", tz="Asia/Tokyo"),
        pd.period_range("2023Q1", periods=8, freq="Q"),
    ],
)
def test_exposures_of_longer_periods_are_told_how_to_become_shorter(index, period):
    if isinstance(index, pd.PeriodIndex) and period == "Q":
        index = index.asfreq("Y").unique()
    exposures = pd.DataFrame({"A": np.arange(len(index)) + 1.0, "B": 1.0}, index=index)
    text = refusal(events(), period=period, exposures=exposures, start="2023-02-03")
    remedy = text.partition("the rows are of longer periods: repeat each for those within, as by ")[2]
    carried = eval(remedy, {"pd": pd, "exposures": exposures})  # the remedy is one
    history = read(events(), period=period, exposures=carried, start="2023-02-03")
    assert history.exposures["A"].iloc[0] == 1.0
    assert history.exposures["A"].iloc[-1] == (2.0 if len(index) == 2 else 5.0)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Tokyo", "America/New_York"])
def test_rows_are_periods_by_the_clock_on_the_wall(zone):
    months = pd.date_range("2020-01-01", periods=7, freq="MS", tz=zone)
    table = pd.DataFrame({"a": np.arange(1.0, 8.0)}, index=months)
    assert list(map(str, LossHistory.from_panel(table).periods)) == [f"2020-0{k}" for k in range(1, 8)]
    events = pd.DataFrame({"d": pd.to_datetime(["2020-01-15", "2020-06-15"]), "m": "a", "x": [1.0, 2.0]})
    history = LossHistory.from_events(events, date="d", member="m", loss="x", exposures=table)
    assert history.exposures["a"].to_list() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Tokyo", "America/New_York"])
def test_dates_of_events_are_read_by_the_clock_on_the_wall(zone):
    """A loss of each year's first and last second, beside exposures in the same zone: each year its own."""
    years = pd.date_range("2010-01-01", periods=4, freq="YS", tz=zone)
    exposures = pd.DataFrame({"a": [10.0, 11.0, 12.0, 13.0]}, index=years)
    edges = [*years, *(years + pd.DateOffset(years=1) - pd.Timedelta("1s"))]
    losses = [1.0, 2.0, 3.0, 4.0, 1.5, 2.5, 3.5, 4.5]
    forms = [
        edges,
        [str(x) for x in edges],
        [x.isoformat() for x in edges],
        [f"{x:%b %d, %Y %H:%M:%S%z}" for x in edges],
    ]
    forms.append([x.to_pydatetime() for x in edges])
    forms.append([*years.tz_localize(None).tz_localize("Asia/Kolkata"), *edges[4:]])
    for form in forms:
        frame = pd.DataFrame({"d": pd.Series(list(form), dtype=object), "m": "a", "x": losses})
        history = LossHistory.from_events(frame, date="d", member="m", loss="x", period="Y", exposures=exposures)
        assert history.losses["a"].to_list() == [2.5, 4.5, 6.5, 8.5]
        assert history.exposures["a"].to_list() == [10.0, 11.0, 12.0, 13.0]
        assert str(history.events["date"].iloc[0]) == "2010-01-01 00:00:00+00:00"


@pytest.mark.parametrize("text", ["2010-01-01 00:30+09", "2010-01-01T00:30 -0500", "2010-01-01T00:30:00.5-03:30 "])
def test_zones_of_texts_are_left_to_the_clock(text):
    history = read(events(when=["2010-01-05", "2010-03-09", text]))
    assert f"{history.events['date'].iloc[0]:%Y-%m-%d %H:%M}" == "2010-01-01 00:30"
    assert "date is '2010-01-01T00:30+99:00'" in refusal(events(when=["2010-01-05", "x", "2010-01-01T00:30+99:00"]))


def test_first_and_last_periods_are_read_by_the_clock_on_the_wall():
    start, end = pd.Timestamp("2024-02-01", tz="Asia/Tokyo"), pd.Timestamp("2024-03-31 23:00", tz="America/New_York")
    history = read(events(when=["2024-01-05", "2024-02-09", "2024-03-10"]), start=start, end=end)
    assert [str(period) for period in history.periods] == ["2024-02", "2024-03"]
    day = pd.Timestamp("2024-03-30 23:00", tz="America/New_York")
    assert [str(period) for period in history.until(day).periods] == ["2024-02"]


def test_what_is_no_frame_is_refused():
    with pytest.raises(DataError, match="events are a list, expected a pandas DataFrame"):
        LossHistory.from_events([1, 2], date="d", member="m", loss="x")
    with pytest.raises(DataError, match="losses are a ndarray, expected a pandas DataFrame"):
        LossHistory.from_panel(np.ones((3, 2)))
    twice = pd.DataFrame([["2020-01-01", "a", 1.0, 2.0]], columns=["d", "m", "x", "x"])
    with pytest.raises(DataError, match="column 'x' is in the frame more than once"):
        LossHistory.from_events(twice, date="d", member="m", loss="x")


def test_hours_are_refused():
    hours = pd.DataFrame({"a": [1.0, 2.0]}, index=pd.period_range("2020-01-01", periods=2, freq="h"))
    with pytest.raises(DataError, match="rows are h apart, expected days or longer periods; add them up by day"):
        LossHistory.from_panel(hours)


def test_a_panel_is_put_in_order():
    history = LossHistory.from_panel(pd.DataFrame({"A": [3.0, 1.0, 2.0]}, index=[2003, 2001, 2002]))
    assert history.losses["A"].to_list() == [1.0, 2.0, 3.0]


def test_a_panel_with_segments():
    columns = pd.MultiIndex.from_tuples([("A", "x"), ("B", "y"), ("A", "y"), ("B", "x")])
    history = LossHistory.from_panel(pd.DataFrame([[1.0, 2.0, 3.0, 4.0]] * 2, index=[2020, 2021], columns=columns))
    assert list(history.losses.columns) == [("A", "x"), ("A", "y"), ("B", "x"), ("B", "y")]
    assert history.losses.iloc[0].to_list() == [1.0, 3.0, 4.0, 2.0]
    text = panel_refusal(pd.DataFrame([[1.0, 2.0]], index=[2020], columns=columns[:2]))
    assert "member 'A', segment 'y' has no column" in text


def test_panels_that_are_wrong():
    frame = pd.DataFrame({"A": [1.0, -2.0, np.nan], "B": [np.inf, 1.0, 1.0]}, index=[2020, 2021, 2023])
    text = panel_refusal(frame)
    assert "row 2021, member 'A': loss is negative (-2)" in text
    assert "row 2023, member 'A': loss is missing (NaN)" in text
    assert "row 2020, member 'B': loss is infinite" in text
    assert "row 2022 is missing between 2020 and 2023" in text
    assert "row 2020 occurs more than once" in panel_refusal(pd.DataFrame({"A": [1.0, 2.0]}, index=[2020, 2020]))
    assert "the rows are labelled 0, 1" in panel_refusal(pd.DataFrame({"A": [1.0, 2.0]}))
    assert "member 'A' has more than one column" in panel_refusal(
        pd.DataFrame([[1.0, 2.0]], index=[2020], columns=["A", "A"])
    )
    assert "the panel is empty" in panel_refusal(pd.DataFrame())
    assert "member 'B' has no exposure" in panel_refusal(
        pd.DataFrame({"A": [1.0], "B": [2.0]}, index=[2020]), exposures={"A": 1}
    )


def test_what_is_handed_out_is_a_copy():
    history = read(events(), exposures={"A": 1.0, "B": 2.0})
    before = history.digest
    losses, exposures, found = history.losses, history.exposures, history.events
    losses.iloc[0, 0] = 99.0
    exposures.iloc[0, 0] = 99.0
    found.loc[0, "loss"] = 99.0
    assert history.digest == before
    assert history.losses.iloc[0, 0] == 10.0
    with pytest.raises(AttributeError):
        history.currency = "EUR"


def test_the_caller_keeps_his_data():
    frame, exposures = events(), pd.Series({"A": 1.0, "B": 2.0})
    kept = frame.copy()
    history = read(frame, exposures=exposures)
    pd.testing.assert_frame_equal(frame, kept)
    frame.loc[0, "usd"] = 77.0
    exposures["A"] = 77.0
    assert history.losses.iloc[0, 0] == 10.0
    assert history.exposures.iloc[0, 0] == 1.0


def test_the_digest_knows_every_part():
    base = read(events(), exposures={"A": 1.0, "B": 2.0})
    again = read(events(), exposures={"A": 1.0, "B": 2.0})
    assert base.digest == again.digest
    others = [
        read(events(), exposures={"A": 1.0, "B": 3.0}),
        read(events()),
        read(events(usd=[10.0, 4.0, 2.5]), exposures={"A": 1.0, "B": 2.0}),
        read(events(who=["A", "C", "A"])),
        read(events(), currency="EUR"),
        read(events(), end="2024-04"),
        read(events(when=["2024-01-06", "2024-03-09", "2024-03-10"])),
        read(events(), period="Q"),
    ]
    assert len({other.digest for other in [base, *others]}) == 9


@pytest.mark.parametrize(
    ("date", "last", "count"),
    [
        ("2024-01", "2024-01", 1),
        ("2024-02-28", "2024-01", 1),
        ("2024-02-29", "2024-02", 1),
        (pd.Timestamp("2024-03-31 10:00"), "2024-03", 3),
        (2024, "2024-03", 3),
    ],
)
def test_until_keeps_whole_periods(date, last, count):
    cut = read(events(), exposures={"A": 1.0, "B": 2.0}).until(date)
    assert str(cut.periods[-1]) == last
    assert len(cut.events) == count
    assert cut.members == ("A", "B")
    assert len(cut.exposures) == len(cut.periods) == len(cut.losses)


def test_who_was_not_there_yet_is_not_in_what_was_known():
    months = pd.period_range("2020-01", periods=6, freq="M")
    exposures = pd.DataFrame({"old": 1.0, "new": [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]}, index=months)
    losses = exposures * np.arange(1.0, 7.0)[:, None]
    panel = LossHistory.from_panel(losses, exposures=exposures)
    assert panel.until("2020-03").members == ("old",)
    assert panel.until("2020-04").members == panel.members == ("old", "new")
    assert panel.until("2020-03").losses["old"].to_list() == [1.0, 2.0, 3.0]


def test_until_before_the_beginning_is_refused():
    with pytest.raises(DataError, match="no period ended by 2023-12: the history runs from 2024-01 to 2024-03"):
        read(events()).until("2023-12")
    with pytest.raises(DataError, match="date is 'yesterday'"):
        read(events()).until("yesterday")


def test_member_names_may_hold_anything():
    names = ["<script>", "=cmd", "🦊"]
    assert read(events(who=names)).members == ("<script>", "=cmd", "🦊")


def test_half_a_character_is_refused_at_the_door():
    """No file could be written with the name."""
    words = "'A\\ud800' has half a character (a lone surrogate), which no file can keep"
    assert f"members: {words}" in refusal(events(who=["A\ud800", "B", "C"]))
    assert f"segments: {words}" in refusal(events(line=["A\ud800", "x", "x"]), segment="line")
    assert f"members: {words}" in panel_refusal(pd.DataFrame({"A\ud800": [1.0, 2.0]}, index=[2023, 2024]))


@pytest.mark.parametrize("power", [-18, 24])
def test_units(power):
    unit = 10.0**power
    history = read(events(usd=np.array([10.0, 4.0, 2.0]) * unit))
    np.testing.assert_allclose(history.losses.to_numpy().sum(), 16 * unit)


def test_real_events():
    path = DATA / "defi/events.csv"
    if not path.exists():
        pytest.skip("shared data are not here")
    frame = pd.read_csv(path)
    history = LossHistory.from_events(
        frame, date="date", member="sector", loss="loss_usd", start="2020-01", end="2024-12"
    )
    assert history.losses.shape == (60, 7)
    np.testing.assert_allclose(history.losses.to_numpy().sum(), frame["loss_usd"].sum())


def test_no_date_can_be_read():
    text = refusal(events(when=["never", "soon", ""]))
    assert "row 0, column 'when': date is 'never'" in text
    assert "row 2, column 'when': date is ''" in text


def test_many_events_are_read_alike_at_once_and_one_by_one():
    days = pd.date_range("2001-01-01", periods=3000, freq="7h")
    base = pd.DataFrame({"who": "A", "usd": np.arange(3000.0) + 1})
    forms = [
        days,
        days.tz_localize("UTC"),
        days.strftime("%Y-%m-%dT%H:%M:%S"),
        days.strftime("%d.%m.%Y %H:%M"),
        days.to_period("h"),
    ]
    tables = [read(base.assign(when=form)).losses for form in forms]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0])


def test_a_unit_jump_late_in_a_long_series_is_found():
    rng = np.random.default_rng(1)
    losses = np.exp(rng.normal(5, 1, 3000))
    losses[2900:] *= 1e6
    frame = pd.DataFrame({"when": pd.date_range("2015-01-01", periods=3000), "who": "A", "usd": losses})
    assert "the median loss changes" in refusal(frame)


def test_prices_restate_events_and_their_totals():
    """By hand: a loss of January at the price of the year 2024, one of March too, in money of 2026."""
    history = read(events(when=["2023-12-31", "2024-03-09", "2024-03-10"]), exposures={"A": 5.0, "B": 1.0})
    prices = pd.Series([100.0, 110.0, 120.0, 132.0], index=[2023, 2024, 2025, 2026])
    restated = history.at_prices(prices)
    assert restated.events["loss"].to_list() == pytest.approx([10 * 1.32, 4 * 1.2, 2 * 1.2], rel=1e-15)
    assert restated.losses["A"].to_list() == pytest.approx([13.2, 0, 0, 2.4], rel=1e-15)
    pd.testing.assert_frame_equal(restated.exposures, history.exposures)
    assert restated.digest != history.digest
    pd.testing.assert_frame_equal(history.losses, read(events(when=["2023-12-31", "2024-03-09", "2024-03-10"])).losses)
    assert restated.until("2024-01").members == ("A", "B")


def test_finer_prices_are_averaged_and_exposures_have_their_own():
    panel = pd.DataFrame({"A": [10.0, 20.0]}, index=[2023, 2024])
    months = pd.Series(np.arange(1.0, 25.0), index=pd.period_range("2023-01", "2024-12", freq="M"))
    history = LossHistory.from_panel(panel, exposures={"A": 3.0})
    restated = history.at_prices(months, exposures=months.iloc[::-1].set_axis(months.index))
    assert restated.losses["A"].to_list() == pytest.approx([10 * 18.5 / 6.5, 20.0], rel=1e-15)
    assert restated.exposures["A"].to_list() == pytest.approx([3 * 6.5 / 18.5, 3.0], rel=1e-15)


@pytest.mark.parametrize(
    ("prices", "sentence"),
    [
        (1.02, "prices are a float, expected a pandas Series of a price index by period"),
        (pd.Series(dtype=float), "prices are empty"),
        (pd.Series({2023: 1.0, 2024: -1.0}), "prices, row 2024: price level is negative (-1)"),
        (pd.Series({2023: 1.0, 2024: 0.0}), "prices, row 2024: price level is 0, expected more"),
        (pd.Series({2023: 1.0}), "prices: no entry for period 2024"),
        (pd.Series([1.0, 2.0, 3.0], index=[2023, 2024, 2024]), "prices: row 2024 occurs more than once"),
        (pd.Series({"x": 1.0}), "row 'x'"),
    ],
)
def test_prices_that_do_not_do(prices, sentence):
    history = LossHistory.from_panel(pd.DataFrame({"A": [10.0, 20.0]}, index=[2023, 2024]))
    with pytest.raises(DataError) as caught:
        history.at_prices(prices)
    assert sentence in str(caught.value)
    with pytest.raises(DataError, match="the history has no exposures to restate"):
        history.at_prices(pd.Series({2023: 1.0, 2024: 1.0}), exposures=pd.Series({2023: 1.0, 2024: 1.0}))


def test_growth_with_prices_is_gone_in_the_money_of_today():
    """Losses that grow with prices are, restated, those that do not, in the money of the last entry."""
    rng = np.random.default_rng(5)
    years = np.repeat(np.arange(2000, 2020), 10)
    level = pd.Series(1.07 ** np.arange(21), index=np.arange(2000, 2021))
    true = rng.lognormal(3, 1, years.size)
    frame = pd.DataFrame({"when": [f"{year}-06-01" for year in years], "who": "A", "usd": true})
    plain = read(frame, period="Y")
    grown = read(frame.assign(usd=true * level.loc[years].to_numpy()), period="Y").at_prices(level)
    np.testing.assert_allclose(grown.losses, plain.losses * level.iloc[-1], rtol=1e-12)
