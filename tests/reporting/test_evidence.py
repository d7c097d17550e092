"""The two errors apart, tails to mind, the models that lost: on the page, in the tables, in the terminal."""

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from calibrate import reporting
from calibrate.calibration import Calibration
from calibrate.reporting import tables, words

NAMES = ["A", "<i>B</i>", "=C"]
TERM = "CVaR 99% of shortfall"


def cells(text):
    """Texts of all cells of the page, tags removed."""
    rows = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", text, flags=re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in rows]


def plain(text):
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)).split())


def found(calibration, failed=0.0):
    """An uncertainty table as the bootstrap makes it, with limits at half and twice the amount."""
    parts = {
        "contribution": calibration.members["contribution"],
        "reserve": calibration.reserves,
        "risk": calibration.risk["out_of_sample"],
    }
    amount = pd.concat(parts, names=["number", "of"])
    return pd.DataFrame(
        {
            "estimate": amount,
            "history_error": 0.4 * amount,
            "lower": 0.5 * amount,
            "upper": 2.0 * amount,
            "monte_carlo_error": 0.01 * amount,
            "failed": failed,
        }
    )


def tail(member, shape, lower, upper, exceedances, cap, by, mind, family="Spliced"):
    found = {"family": family, "shape": shape, "lower": lower, "upper": upper, "exceedances": exceedances}
    return {"member": member, "segment": "all", **found, "cap": cap, "cap_by": by, "has_mean": not mind, "mind": mind}


TAILS = [
    tail("A", 0.3, 0.1, 0.5, 80.0, math.inf, "", ""),
    tail("<i>B</i>", 1.067, 0.38, 2.29, 29.0, 3.1e9, "exposure", "no mean without the cap: <b>"),
    tail("=C", 1.5, math.nan, math.nan, 200.0, 5e7, "limit of the cover", "no mean", family="Burr"),
]
CHOICES = pd.DataFrame(
    [
        ("frequency", "all", "Poisson()", -428.6, 5.0, 867.1, np.nan, np.nan, False, ""),
        ("frequency", "all", "SharedShock()", -375.8, 6.0, 763.6, np.nan, np.nan, True, "size 2.93"),
        ("severity", "all", "Gamma()", np.nan, np.nan, np.nan, np.nan, np.nan, False, "<script>too few</script>"),
    ],
    columns=[
        "part",
        "segment",
        "candidate",
        "log_likelihood",
        "parameters",
        "aic",
        "log_score",
        "p_value",
        "chosen",
        "note",
    ],
).set_index(["part", "segment", "candidate"])


@pytest.fixture
def full(calibration_of):
    plain_one = calibration_of(NAMES)
    origin = {"tails": TAILS, "uncertainty": {"replications": 200, "seeds": 10, "block": 6}}
    gap = {"estimate": 12_345.0, "upper": 23_456.0, "share": 0.012, "upper_share": 0.023, "batches": 10}
    richer = plain_one.with_uncertainty(found(plain_one, failed=3)).with_choices(CHOICES)
    return richer.with_provenance({**origin, "optimality_gap": gap})


def test_the_two_errors_stand_apart(full):
    table = tables.uncertainty(full)
    paid = table.loc[("contribution", "A")]
    amount = full.contributions["A"]
    of_ten = stats.t(9, amount, 0.01 * amount)
    assert [paid["simulation_lower"], paid["simulation_upper"]] == pytest.approx([of_ten.ppf(0.025), of_ten.ppf(0.975)])
    assert [paid["history_lower"], paid["history_upper"]] == pytest.approx([0.5 * amount, 2 * amount])
    risk = table.loc[("risk", TERM)]
    assert [risk["simulation_lower"], risk["simulation_upper"]] == list(full.risk.loc[TERM, ["lower", "upper"]])
    assert ("reserve", "pool") in table.index


def test_without_a_bootstrap_the_history_says_nothing(calibration_of):
    bare = calibration_of(["A", "B"])
    table = tables.uncertainty(bare)
    assert set(table.index.get_level_values("number")) == {"risk"}
    assert table["history_lower"].isna().all()
    text = plain(reporting.html(bare))
    assert "a short history is the larger doubt, and it was not measured here" in text
    for absent in ("What simulation and what the history", "Tails to mind", "Models, and those that lost", "best plan"):
        assert absent not in text


def test_the_page_shows_number_simulation_and_history(full):
    page = reporting.html(full)
    shown = cells(page)
    row = tables.uncertainty(full).loc[("contribution", "A")]
    place = shown.index("contribution of A")
    assert shown[place + 1 : place + 4] == [
        words.money(row["amount"]),
        f"{words.money(row['simulation_lower'])} to {words.money(row['simulation_upper'])}",
        f"{words.money(row['history_lower'])} to {words.money(row['history_upper'])}",
    ]
    text = plain(page)
    tail = full.risk.loc[TERM, "out_of_sample"]
    limits = f"{words.money(0.5 * tail)} and {words.money(2 * tail)}"
    assert f"by simulation); the length of the history leaves it open between {limits}," in text
    assert "(200 of them, 6 neighbouring periods drawn together)" in text
    assert "3 of these histories could not be calibrated and are left out." in text
    assert "So few histories" not in text
    assert "So few histories" in plain(
        reporting.html(full.with_provenance({"uncertainty": {"replications": 20, "seeds": 2, "block": None}}))
    )
    assert "better than this one by 12,345 USD in the mean, or 1.20 % of the objective, at most 23,456 USD" in text


def test_the_figure_shows_the_table(full):
    (axes,) = reporting.plots.uncertainty(full).axes
    table = tables.open_numbers(full).sort_values("amount", ascending=False)
    for place, name in ((0, "history"), (1, "simulation")):
        drawn = np.array([segment[:, 0] for segment in axes.collections[place].get_segments()])
        known = table[[f"{name}_lower", f"{name}_upper"]].div(table["amount"], axis=0).to_numpy()
        assert drawn == pytest.approx(known)
    assert axes.get_yticklabels()[0].get_text() == table.index[0]
    assert 'id="open-title"' in reporting.html(full)


def test_a_number_outside_its_interval_is_admitted(full):
    assert "outside their history interval" not in plain(reporting.html(full))
    table = full.uncertainty.copy()
    table.loc[("reserve", "pool"), "upper"] = 0.9 * table.loc[("reserve", "pool"), "estimate"]
    text = plain(reporting.html(full.with_uncertainty(table)))
    assert f"1 of {len(table)} numbers lie outside their history interval : a resampled history" in text


def test_optimism_has_the_interval_of_the_fresh_scenarios(full):
    row = tables.risk(full).loc[TERM]
    inside, lower = full.risk.loc[TERM, ["in_sample", "lower"]]
    assert row["optimism_lower"] == pytest.approx(1 - inside / lower)
    assert row["optimism_lower"] < row["optimism"] < row["optimism_upper"]
    by, least, most = (words.percent(row[name]) for name in ("optimism", "optimism_lower", "optimism_upper"))
    assert f"{by} ({least} to {most})".replace("\xa0", " ") in cells(reporting.html(full))


def test_heavy_tails_are_flagged_with_shape_interval_and_cap(full):
    page = reporting.html(full)
    shown = cells(page)
    place = shown.index("&lt;i&gt;B&lt;/i&gt;", shown.index("capped at"))
    assert shown[place + 1 : place + 6] == [
        "1.067", "0.38 to 2.29", "29", "3,100,000,000 (by exposure)", "no mean without the cap: &lt;b&gt;"
    ]  # fmt: skip
    heaviest = shown.index("Mind") + 1
    assert shown[heaviest] == "=C"
    assert shown[heaviest + 2] == "–"
    assert page.count('class="flagged"') == 2
    assert "<script>" not in page and "<i>B" not in page
    light = full.with_provenance({"tails": TAILS[:1]})
    assert "No fitted tail of one event's loss has a shape near 1" in plain(reporting.html(light)).replace("&#39;", "'")


def test_losers_keep_their_scores(full):
    page = reporting.html(full)
    shown = cells(page)
    place = shown.index("independent events Poisson()")
    assert shown[place + 1 : place + 4] == ["", "-428.6", "867.1"]
    place = shown.index("clusters that hit all members together SharedShock()")
    assert shown[place + 1 : place + 5] == ["yes", "-375.8", "763.6", "size 2.93"]  # no column without a score
    assert "How often: counts by period" in page and "How large" in page
    assert "&lt;script&gt;too few" in page


def test_every_candidate_has_words():
    from calibrate.models import comparison

    for one in (*comparison.FREQUENCIES, *comparison.SEVERITIES):
        assert words.candidate(repr(one))
    assert (
        words.candidate("ZeroInflated(base=SharedShock())")
        == "clusters that hit all members together, with idle periods"
    )
    assert words.candidate("MyOwn(law=3)") == ""


@pytest.mark.slow
def test_how_members_move_together_is_said(full):
    assert "tail dependence" not in plain(reporting.html(full))
    numbers = {"lowest_correlation": 0.08, "highest_correlation": 0.31, "lowest_tail": 0.004, "highest_tail": 0.125}
    found = {"family": "StudentT", **numbers, "pair": ["<b>A</b>", "=C"]}
    page = reporting.html(full.with_provenance({"dependence": found}))
    text = plain(page)
    assert (
        "The model says that members move together, at the extreme too (StudentT): correlation between 0.08 and 0.31"
        in text
    )
    assert "with a chance of 0.40 % to 12.5 % (tail dependence); highest for &lt;b&gt;A&lt;/b&gt; and =C." in text
    vine = {key: found[key] for key in ("family", "lowest_correlation", "highest_correlation")} | {"family": "Mine"}
    text = plain(reporting.html(full.with_provenance({"dependence": vine})))
    assert "Members move together by Mine: correlation between 0.08 and 0.31." in text


def test_what_was_saved_is_shown_alike(full, tmp_path):
    again = Calibration.load(full.save(tmp_path / "run"))
    assert reporting.html(again) == reporting.html(full)
    pd.testing.assert_frame_equal(tables.choices(again), tables.choices(full))
    assert tables.tails(again)["cap"].tolist() == [math.inf, 3.1e9, 5e7]
    pd.testing.assert_frame_equal(tables.choices(full), CHOICES)


def test_the_terminal_says_it_too(full):
    text = tables.terminal(full)
    assert "What simulation and what the history leave open (USD)" in text
    assert re.search(
        r"Tails to mind \(USD\)\n.*\n<i>B</i> all +Spliced +1\.067 +0\.38 +2\.29 +3,100,000,000 +exposure", text
    )
    assert "A all" not in text
    assert "Tails to mind" not in tables.terminal(full.with_provenance({"tails": []}))


def test_more_than_can_be_read_is_said(calibration_of):
    many = calibration_of([f"Member {k}" for k in range(60)])
    rows = [{**TAILS[1], "member": f"Member {k}", "shape": 1 + k / 100} for k in range(60)]
    text = plain(reporting.html(many.with_uncertainty(found(many)).with_provenance({"tails": rows})))
    assert "20 more are in the saved calibration" in text
    assert f"{60 + 1 + 3 - 40} more contributions are in the saved calibration" in text
    bare = replace(many, uncertainty=None)
    assert "more contributions" not in plain(reporting.html(bare))


@pytest.mark.slow
def test_many_members_that_share_a_tail_are_one_row(calibration_of):
    many = calibration_of([f"Member {k}" for k in range(60)])
    rows = [{**TAILS[1], "member": f"Member {k}", "cap": 1000.0 * (k + 1)} for k in range(60)]
    shown = cells(reporting.html(many.with_provenance({"tails": rows})))
    place = shown.index("60 members")
    assert shown[place + 1 : place + 5] == ["1.067", "0.38 to 2.29", "29", "1,000 to 60,000 (by exposure)"]
    free = [{**row, "cap": math.inf} for row in rows]
    assert "no cap" in cells(reporting.html(many.with_provenance({"tails": free})))
    mixed = [{**row, "segment": f"s{k % 2}"} for k, row in enumerate(rows)]
    assert "30 members, s1" in cells(reporting.html(many.with_provenance({"tails": mixed})))
