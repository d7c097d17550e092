"""The page: everything escaped, nothing fetched, the numbers those of the calibration."""

import io
import math
import re
import shutil
import subprocess
import warnings
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from calibrate import reporting
from calibrate.errors import DataError
from calibrate.reporting import tables, words

HOSTILE = [
    "<script>document.title='owned'</script>",
    "=cmd|' /C calc'!A0",
    "$\\alpha$",
    "$\\frac{$",
    "🦄 pool 😀",
    "x" * 200,
    '"><img src=x onerror=alert(1)>',
    "_hidden",
    "{{ 7 * 7 }}",
    "a\nb\x1b[31m",
    "\ud800lone",
    "</style></title></svg>",
    "שלום",
    "nan",
    "",
]


class Page(HTMLParser):
    """Tags, attributes, texts of all cells, and the whole text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.cells, self.text = [], [], [], ""
        self._cell = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag in ("td", "th"):
            self._cell = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cells.append(" ".join(self._cell.split()))
            self._cell = None

    def handle_data(self, data):
        self.text += data
        if self._cell is not None:
            self._cell += data


def quiet_page(calibration, previous=None):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return reporting.html(calibration, previous)


@pytest.fixture
def hostile(calibration_of):
    return calibration_of(
        HOSTILE, currency="$<b>\\x$", segments=("<i>g</i>", "$\\beta$", "_under"), reserves=("<script>1</script>",)
    )


def test_hostile_names_stay_text(hostile):
    page = Page(quiet_page(hostile, hostile))
    assert not {"script", "img", "i", "object", "iframe", "link"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    for name in HOSTILE:
        assert words.plain(name) in page.cells
    assert page.text.count("{{ 7 * 7 }}") >= 2


def test_member_names_are_whole_in_the_svg_and_no_mathematics(hostile):
    page = Page(quiet_page(hostile))
    assert "$\\frac{$" in page.text
    assert "🦄 pool 😀" in page.text
    assert "share of contributions: $\\beta$" in page.text


def test_a_notebook_figure_draws_hostile_names_without_warning(hostile):
    for figure in (
        reporting.plots.contributions(hostile),
        reporting.plots.loss_curve(hostile),
        reporting.plots.risk(hostile),
        reporting.plots.moves(hostile, hostile),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure.savefig(io.BytesIO(), format="png")


def test_the_page_fetches_nothing(calibration_of):
    text = quiet_page(calibration_of([f"Member {k}" for k in range(46)]), calibration_of(["Member 1", "gone"]))
    page = Page(text)
    references = [
        value for _, name, value in page.attributes if name in ("href", "src", "xlink:href", "srcset", "data")
    ]
    assert references
    assert all(value.startswith("#") for value in references)
    assert "script" not in page.tags
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


def test_local_references_lead_somewhere_and_ids_are_unique(calibration_of):
    text = quiet_page(calibration_of(["A", "B", "C"]), calibration_of(["B", "C", "D"]))
    ids = [value for _, name, value in Page(text).attributes if name == "id"]
    wanted = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    assert len(ids) == len(set(ids))
    assert wanted <= set(ids)


def test_every_figure_says_what_it_shows(calibration_of):
    page = Page(quiet_page(calibration_of(["A", "B"]), calibration_of(["A", "B"], seed=2)))
    labelled = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-labelledby"]
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(labelled) == 4
    assert set(" ".join(labelled).split()) <= set(ids)


@pytest.mark.parametrize("size", [1, 46, 300])
def test_numbers_on_the_page_are_the_calibrations(calibration_of, size):
    calibration = calibration_of([f"Member {k}" for k in range(size)])
    page = Page(quiet_page(calibration))
    rows = page.cells[page.cells.index("risk standing alone") + 1 :]
    shown = {rows[k]: rows[k + 1] for k in range(0, len(rows) - 8, 9)} | {rows[-9]: rows[-8]}
    assert len(shown) == size
    for member, amount in calibration.contributions.items():
        expected = f"{amount:,.0f}" if amount >= 999.95 else f"{amount:.4g}"
        assert float(shown[member].replace(",", "")) == pytest.approx(float(expected.replace(",", "")), abs=0)
    tail = calibration.risk.loc["CVaR 99% of shortfall"]
    headline = " ".join(page.text.split())
    assert (
        f"is {tail['out_of_sample']:,.0f} USD (95 % interval {tail['lower']:,.0f} to {tail['upper']:,.0f})" in headline
    )
    assert f"contributions of {calibration.contributions.sum():,.0f} USD" in headline
    assert f"reserves of {calibration.reserves.sum():,.0f} USD" in headline


def test_headline_says_the_tail_risk_before_the_contributions(calibration_of):
    text = Page(quiet_page(calibration_of(["A", "B"]))).text
    places = [text.index(part) for part in ("average shortfall in the worst 1", "contributions of", "and reserves of")]
    assert places == sorted(places)


def test_in_sample_is_too_low_or_lucky(calibration_of):
    calibration = calibration_of(["A", "B"])
    name = tables.headline_term(calibration)
    for inside, told in (
        (0.9, "tends to be too low. The headline"),
        (1.1, "here it is higher, by the luck of the draw."),
    ):
        risk = calibration.risk.copy()
        risk.loc[name, "in_sample"] = inside * risk.loc[name, "out_of_sample"]
        assert told in " ".join(reporting.html(replace(calibration, risk=risk)).split())


def test_segments_are_shown_and_add_up(calibration_of):
    calibration = calibration_of(
        ["A", "B"], segments=("exploit", "cascade", "oracle"), reserves=("exploit", "cascade", "oracle", "pool")
    )
    page = Page(quiet_page(calibration))
    start = page.cells.index("in oracle") + 1
    rows = [page.cells[k : k + 4] for k in (start, start + 4)]
    for member, *amounts in rows:
        assert sum(float(amount.replace(",", "")) for amount in amounts) == pytest.approx(
            calibration.members.contribution[member], abs=2
        )
    for name in calibration.reserves.index:
        assert f"Reserve {name}: {calibration.reserves[name]:,.0f} USD" in page.text


def test_what_is_missing_is_said(calibration_of):
    whole = calibration_of(["A", "B"], reserves=())
    risk = whole.risk.assign(out_of_sample=math.nan, standard_error=math.nan, lower=math.nan, upper=math.nan)
    bare = replace(
        whole,
        members=whole.members.assign(exposure=math.nan, standalone_risk=math.nan),
        contributions=whole.contributions * 0,
        risk=risk,
        fairness=whole.fairness.iloc[:0],
        lower_bound=-math.inf,
        provenance={},
    )
    text = " ".join(Page(quiet_page(bare)).text.split())
    assert "Measured only on the scenarios that the plan was fitted to, which tends to make it too low" in text
    assert "No fresh scenarios were simulated" in text
    assert "with contributions of 0 USD and no reserves" in text
    assert "Nobody contributes" in text
    assert "Exposures were not given" in text
    assert "No fairness rule and no limit was asked for" in text
    assert "no bound says how far it is from the best" in text
    assert "Nothing was recorded about the origin" in text
    assert "nan" not in text.lower().split()


def test_what_the_model_says_against_itself_stands_on_top(calibration_of):
    calibration = calibration_of(["A", "B"]).with_provenance({"model_flags": ["segment '<b>x</b>': too few losses"]})
    page = Page(quiet_page(calibration))
    assert page.text.index("Mind: segment '<b>x</b>': too few losses.") < page.text.index("Who pays what")
    assert "too few losses" in Page(calibration._repr_html_()).text
    assert "Mind:" not in Page(quiet_page(calibration_of(["A"]))).text


def test_no_risk_no_curve(calibration_of):
    whole = calibration_of(["A"])
    bare = replace(whole, risk=whole.risk.iloc[:0], loss_curve=whole.loss_curve.iloc[:0])
    assert "No risk measure was computed" in Page(quiet_page(bare)).text
    assert len(reporting.plots.risk(bare).axes) == 0


def test_a_violated_rule_is_not_called_kept(calibration_of):
    page = Page(quiet_page(calibration_of(["A", "B"], rules={"ShareCap(cap=0.5)": (250_000.0, False, 0.0)})))
    start = page.cells.index("Nobody pays more than 50 % of all contributionsShareCap(cap=0.5)")
    assert page.cells[start + 1 : start + 3] == ["no", "-250,000"]


def test_moves_name_who_came_and_who_left(calibration_of):
    now, before = calibration_of(["A", "B", "new one"]), calibration_of(["A", "B", "old one"], seed=8)
    page = Page(quiet_page(now, before))
    assert {"new one (new)", "old one (left)"} <= set(page.cells)
    change = now.contributions["A"] - before.contributions["A"]
    start = page.cells.index("A", page.cells.index("before"))
    assert page.cells[start + 3] == f"{change:,.0f}"
    assert "What moved" not in Page(quiet_page(now)).text


def test_moves_refuse_two_currencies(calibration_of):
    with pytest.raises(DataError, match=r"'USD' and 'EUR'; expected one currency; convert the older one first"):
        reporting.html(calibration_of(["A"]), calibration_of(["A"], currency="EUR"))


@pytest.mark.parametrize("unit", [1e-18, 1e-6, 1.0, 1e12, 1e24])
def test_any_unit_can_be_drawn(calibration_of, unit):
    calibration = calibration_of(["A", "B"], unit=unit, currency="wei")
    assert words.money(calibration.contributions["A"]) in Page(quiet_page(calibration, calibration)).cells


def test_same_calibration_same_bytes(calibration_of):
    names = ["A", "B"]
    assert reporting.html(calibration_of(names)) == reporting.html(calibration_of(names))


def test_write_is_whole_or_not_at_all(calibration_of, tmp_path, monkeypatch):
    calibration = calibration_of(["A", "B"])
    path = reporting.write_html(calibration, tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == reporting.html(calibration)
    assert path.stat().st_mode & 0o777 == 0o644
    before = path.read_bytes()

    def broken(_):
        raise OSError("disk full")

    monkeypatch.setattr("calibrate.reporting.page.os.fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        reporting.write_html(calibration_of(["A", "C"]), path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_notebook_summary_is_escaped_and_short(hostile, calibration_of):
    page = Page(hostile._repr_html_())
    assert "script" not in page.tags
    assert "style" not in page.tags
    many = calibration_of([f"Member {k}" for k in range(300)])._repr_html_()
    assert "and 290 more" in many
    assert len(many) < 10_000


def test_loss_curve_marks_contributions_and_reserves(calibration_of):
    calibration = calibration_of(["A", "B", "C"], unit=1e3)
    (axes,) = reporting.plots.loss_curve(calibration).axes
    marks = sorted(line.get_xdata()[0] for line in axes.lines if np.allclose(line.get_xdata(), line.get_xdata()[0]))
    assert marks == pytest.approx([calibration.contributions.sum(), calibration.total])


def test_bars_and_marks_are_the_shares(calibration_of):
    calibration = calibration_of(["A", "B", "C"])
    axes, loadings = reporting.plots.contributions(calibration).axes
    order = calibration.weights.sort_values(ascending=False)
    assert [text.get_text() for text in axes.get_yticklabels()] == list(order.index)
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(list(order))
    exposure = calibration.members.exposure[order.index]
    assert list(axes.lines[0].get_xdata()) == pytest.approx(list(exposure / exposure.sum()))
    loading = calibration.contributions[order.index] / calibration.members.expected_loss[order.index]
    assert list(loadings.lines[0].get_xdata()) == pytest.approx(list(loading))
    pooled = calibration.contributions.sum() / calibration.members.expected_loss.sum()
    assert loadings.lines[1].get_xdata()[0] == pytest.approx(pooled)


def test_one_unknown_exposure_makes_no_shares(calibration_of):
    calibration = calibration_of(["A", "B", "C"])
    members = calibration.members.copy()
    members.loc["B", "exposure"] = np.nan
    table = reporting.tables.contributions(replace(calibration, members=members))
    assert table["exposure_share"].isna().all()
    assert pd.notna(table.loc["A", "exposure"])


@pytest.mark.skipif(
    shutil.which("chromium") is None, reason="chromium is not installed: no real browser to run the page in"
)
def test_a_real_browser_runs_nothing(hostile, tmp_path):
    path = reporting.write_html(hostile, tmp_path / "report.html", hostile)
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    dom = subprocess.run(
        ["chromium", *flags, path.as_uri()], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    page = Page(dom)
    assert "<title>Contributions and reserves: 15 members</title>" in dom
    assert not {"script", "img", "i"} & set(page.tags)
    assert words.plain(HOSTILE[0]) in page.cells


def test_a_pool_in_which_no_defaulter_pays_first(calibration_of):
    calibration = calibration_of(["A", "B"])
    calibration = replace(calibration, loss_curve=calibration.loss_curve.drop(columns="mutualised"))
    page = Page(quiet_page(calibration))
    assert "Mutualised: left" not in page.text
    assert "mutualised loss" not in page.cells


def test_the_answer_of_the_program_as_a_page():
    program = pytest.importorskip("calibrate.program", reason="the program is not there yet")
    scenarios = pytest.importorskip("calibrate.scenarios")
    losses = np.random.default_rng(3).pareto(2.5, (400, 4)) * [1e5, 2e5, 3e5, 4e5]
    pool = scenarios.Scenarios(losses[:200], members=["A", "<b>B</b>", "C", "D"])
    fresh = scenarios.Scenarios(losses[200:], members=pool.members)
    problem = program.PoolProblem(
        pool,
        program.Waterfall((program.OwnContribution(), program.PoolReserve())),
        minimise=[program.CostOfCapital(0.05, 0.1), 0.5 * program.CVaR(0.9, of="mutualised")],
        subject_to=[program.fairness.ActuarialFairness(band=0.5), program.CVaR(0.9) <= 1e7],
    )
    calibration = problem.solve(out_of_sample=fresh)
    page = Page(quiet_page(calibration, calibration))
    text = " ".join(page.text.split())
    assert f"is {words.money(calibration.risk.loc['CVaR 90% of shortfall', 'out_of_sample'])} USD" in text
    assert "Average shortfall in the worst 10 % of periods (CVaR 90 %) stays within 10,000,000 USD" in text
    assert "fitted to 200 scenarios and measured on 200 fresh ones" in text
    rows = page.cells[page.cells.index("risk standing alone") :]
    for member, amount in calibration.contributions.items():
        assert rows[rows.index(member) + 1] == words.money(amount)
