"""Tables: sums, shares, words, and CSV that no spreadsheet runs."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.errors import DataError
from calibrate.reporting import tables, words


def test_headline_is_out_of_sample_with_its_interval(calibration_of):
    calibration = calibration_of(["A", "B"])
    table = tables.headline(calibration)
    row = calibration.risk.loc["CVaR 99% of shortfall"]
    assert list(table.index) == [
        "CVaR 99% of shortfall, out-of-sample",
        "contributions",
        "reserves",
        "contributions and reserves",
    ]
    assert list(table.iloc[0]) == list(row[["out_of_sample", "lower", "upper"]])
    assert table["amount"].iloc[1] + table["amount"].iloc[2] == pytest.approx(calibration.total)


def test_headline_says_in_sample_when_nothing_else_is_known(calibration_of):
    calibration = calibration_of(["A"])
    calibration = replace(calibration, risk=calibration.risk.assign(out_of_sample=math.nan))
    assert tables.headline(calibration).index[0] == "CVaR 99% of shortfall, in-sample"


def test_headline_prefers_the_shortfall(calibration_of):
    calibration = calibration_of(["A"])
    assert tables.headline_term(replace(calibration, risk=calibration.risk.iloc[::-1])) == "CVaR 99% of shortfall"
    assert tables.headline_term(replace(calibration, risk=calibration.risk.iloc[1:])) == "CVaR 99% of mutualised"
    assert tables.headline_term(replace(calibration, risk=calibration.risk.iloc[:0])) is None


def test_contributions_by_member_with_segments(calibration_of):
    calibration = calibration_of(["B", "A", "C"], segments=("g", "h"))
    table = tables.contributions(calibration)
    assert table["contribution"].is_monotonic_decreasing
    assert table["weight"].sum() == pytest.approx(1)
    np.testing.assert_allclose(table["in g"] + table["in h"], table["contribution"])
    for member in "ABC":
        assert table.loc[member, "contribution"] == pytest.approx(calibration.contributions[member].sum())
        assert table.loc[member, "loading"] == pytest.approx(
            table.loc[member, "contribution"] / calibration.members.expected_loss[member]
        )


def test_nobody_pays_and_a_member_without_losses(calibration_of):
    calibration = calibration_of(["A", "B"])
    members = calibration.members.assign(expected_loss=[0.0, 5.0])
    table = tables.contributions(replace(calibration, members=members, contributions=calibration.contributions * 0))
    assert list(table["weight"]) == [0, 0]
    assert math.isnan(table.loc["A", "loading"])
    assert table.loc["B", "loading"] == 0


def test_optimism(calibration_of):
    calibration = calibration_of(["A"])
    calibration = replace(
        calibration, risk=calibration.risk.assign(in_sample=90.0, out_of_sample=[100.0, 0.0, math.nan])
    )
    table = tables.risk(calibration)
    assert table["optimism"].iloc[0] == pytest.approx(0.1)
    assert table["optimism"].iloc[1:].isna().all()


def test_moves(calibration_of):
    now, before = calibration_of(["A", "B", "C"]), calibration_of(["D", "B", "A"], seed=9)
    table = tables.moves(now, before)
    assert dict(table["status"]) == {"A": "stays", "B": "stays", "C": "new", "D": "left"}
    assert table["change"].abs().is_monotonic_decreasing
    assert table["change"].sum() == pytest.approx(now.contributions.sum() - before.contributions.sum())
    assert table.loc["D", "change"] == -before.contributions["D"]
    assert math.isnan(table.loc["C", "change_share"])
    hair = replace(before, contributions=before.contributions * (1 + 1e-12))
    assert (tables.moves(hair, before)["change"] == 0.0).all()


def test_moves_need_one_currency(calibration_of):
    with pytest.raises(DataError, match="the calibrations are in 'USD' and 'EUR'; expected one currency"):
        tables.moves(calibration_of(["A"]), calibration_of(["A"], currency="EUR"))


def test_terminal_text_has_the_numbers_and_no_control_characters(calibration_of):
    calibration = calibration_of(["plain", "red\x1b[31m", "=1+1"])
    text = tables.terminal(calibration)
    assert f"{calibration.contributions['plain']:,.0f}" in text
    assert f"{calibration.total:,.0f}" in text
    assert "In USD" in text
    assert "\x1b" not in text


def test_csv_starts_no_formula(calibration_of):
    names = ["=cmd|' /C calc'!A0", "+1", "-1", "@sum", "\t=1", "'quoted", " =2", "\n=3", "ordinary, with comma"]
    calibration = calibration_of(names, segments=("=seg", "plain"))
    text = tables.to_csv(tables.contributions(calibration).rename(columns=lambda name: name.removeprefix("in ")))
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == 1 + len(names)
    for row in rows:
        assert not row[0].lstrip().startswith(("=", "+", "-", "@"))
    assert "'=seg" in rows[0]
    assert sorted(row[0].removeprefix("'") for row in rows[1:] if row[0] != "''quoted") == sorted(
        set(names) - {"'quoted"}
    )


def test_csv_keeps_the_numbers():
    table = pd.DataFrame({"amount": [0.1 + 0.2, -1e-18, 3e24]}, index=pd.Index(["a", "b", "c"], name="member"))
    back = pd.read_csv(io.StringIO(tables.to_csv(table)), index_col=0)
    assert list(back["amount"]) == list(table["amount"])


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (999.96, "1,000"),
        (999.9, "999.9"),
        (1234.5, "1,234"),
        (1e15, "1 × 10¹⁵"),
        (1.5e-18, "1.5 × 10⁻¹⁸"),
        (100.0, "100"),
    ],
)
def test_money(amount, text):
    assert words.money(amount) == text


def test_rules_in_words_fall_back_to_their_text():
    assert (
        words.rule("ActuarialFairness(band=0.5)", "USD") == "Shares follow expected losses, within 50\xa0% either way"
    )
    assert words.rule("ShareCap(cap=np.float64(0.2))", "USD") == "Nobody pays more than 20\xa0% of all contributions"
    assert words.rule("ContributionFloor(amount=1500)", "EUR") == "Everybody pays at least 1,500\xa0EUR"
    for text in (
        "ActuarialFairness(band=my_band)",
        "ShareCap(",
        "ShareCap()",
        "Mine(cap=1)",
        "2 * CVaR 99% of shortfall <= 1,000",
    ):
        assert words.rule(text, "USD") == text


def test_every_published_rule_has_words():
    fairness = pytest.importorskip("calibrate.fairness", reason="the fairness rules are not there yet")
    missing = set(fairness.__all__) - {"Rule", "GeneratedRule"} - set(words._RULES)
    assert not missing, f"no words for {sorted(missing)}"


@given(st.text(max_size=60))
def test_any_text_can_be_said(text):
    for written in (words.plain(text), words.shorten(text), words.term(text), words.term(f"CVaR {text}% of {text}")):
        assert written
        assert "\n" not in written
    assert words.rule(f"ShareCap(cap={text})", text)


def test_numbers_that_are_none_do_no_harm():
    assert words.term("CVaR 9.9.9% of shortfall") == "CVaR 9.9.9% of shortfall"
    assert words.rule(f"ShareCap(cap=1{'0' * 400})", "USD").startswith("ShareCap(")


def test_turnover_says_what_it_limits():
    for parameters, text in {
        "member=0.25, total=None": "No contribution moves by more than 25\xa0% since the previous calibration",
        "member=None, total=0.1": "Contributions move by no more than 10\xa0% in all since the previous calibration",
    }.items():
        assert words.rule(f"Turnover({parameters})", "USD") == text
    assert "more than 25\xa0%, and all together by 10\xa0%" in words.rule("Turnover(member=0.25, total=0.1)", "USD")


def test_dust_is_shown_as_zero_and_kept_in_the_numbers(calibration_of):
    calibration = calibration_of(["A", "B"], reserves=("g", "pool"))
    calibration = replace(calibration, reserves=pd.Series({"g": 1e-4, "pool": 5e6}))
    assert list(tables.rounded(calibration.reserves.to_frame(), calibration)["amount"]) == [0.0, 5e6]
    assert "0.0001" not in tables.terminal(calibration)
    assert calibration.reserves["g"] == 1e-4


def test_shorten_keeps_long_names_apart():
    one, other = (
        words.shorten("Northern Counties Mutual Insurance Company, branch " + branch) for branch in ("Leeds", "York")
    )
    assert one != other
    assert len(one) <= 31
