"""Drawing: tables against the functions they stand for, exact copulas and margins, bytes, and what is skipped."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats
from scipy.special import betainc

from calibrate import LossHistory, Scenarios
from calibrate.errors import DataError, ModelError
from calibrate.models import JointLossModel, sampling, severity
from calibrate.models.dependence import Gaussian, GroupedT, Independent, StudentT
from calibrate.models.dependence.likelihood import mixed_tail_dependence, tail_dependence
from calibrate.models.dependence.mixture import _fill
from calibrate.models.dependence.survival import StudentSurvival
from calibrate.models.enrichment import enriched_scenarios
from calibrate.models.interpolation import QuantileTable
from calibrate.models.margins import SeverityMargins
from calibrate.models.process import ComposedMargins
from calibrate.models.uncertainty import tail_mean

RNG = np.random.default_rng(0)
SCORES = RNG.standard_t(4, (120, 5)) + RNG.standard_normal((120, 1))
LAW = severity.Spliced().fit(np.exp(RNG.normal(0, 1.5, 4000)))


def spliced_by_scipy(chance):
    p, u, body, tail = LAW.exceedance_probability_, LAW.threshold_, LAW.body_, LAW.tail_
    below = (1 - chance) / (1 - p) * stats.lognorm.cdf(u, body.shape_, scale=body.scale_)
    low = stats.lognorm.ppf(np.clip(below, 0, 1), body.shape_, scale=body.scale_)
    return np.where(chance < p, u + stats.genpareto.isf(np.clip(chance / p, 0, 1), tail.shape_, scale=tail.scale_), low)


@pytest.mark.parametrize("v", [0.3, 1.0, 2.0, 4.37, 10.0, 30.0, 100.0, 5000.0])
def test_student_survival(v):
    """Against the regularised incomplete beta function of another library, far into both tails."""
    x = np.concatenate([np.linspace(-8, 12, 400), [30.0, 1e3, 1e6, 1e9]])
    w = 1 / (1 + (x / np.sqrt(v)) ** 2)
    tail = betainc(v / 2, 0.5, w) / 2
    exact = np.where(x > 0, tail, 1 - tail)
    seen = exact > 1e-290
    np.testing.assert_allclose(StudentSurvival(v)(x)[seen], exact[seen], rtol=1e-9 if v > 1000 else 2e-10)


def test_student_survival_in_closed_form():
    x = np.array([-3.0, 0.1, 2.0, 50.0, 1e5, 1e12, 1e200])
    np.testing.assert_allclose(StudentSurvival(1.0)(x), np.arctan2(1, x) / np.pi, rtol=1e-13)
    y = np.array([0.5, 3.0, 1e4])
    np.testing.assert_allclose(StudentSurvival(2.0)(y), 1 / (y**2 + 2 + y * np.sqrt(y**2 + 2)), rtol=1e-13)


@pytest.mark.parametrize("v", [2.5, 4.3])
@pytest.mark.parametrize("zero", [0.0, 0.35, 0.9, 0.999])
def test_quantiles_by_table(v, zero):
    """Every drawn loss against scipy's t.sf and quantiles at the same score: 1e-9."""
    copula = StudentT(v).fit(SCORES)
    process = ComposedMargins(SeverityMargins([LAW] * 5, np.full(5, zero)), copula)
    threshold = stats.t.ppf(zero, v)
    found = copula.exceedances(40_000, np.full(5, threshold), 3)
    assert found.counts.sum() == pytest.approx(200_000 * (1 - zero), rel=0.2)
    for j, part in found.columns:
        scores = found.scores[part]
        exact = 7.0 * spliced_by_scipy(stats.t.sf(scores, v) / (1 - zero))
        ours = process.table(j, np.full(5, 7.0))(scores)
        seen = scores > threshold + 1e-6 if zero else scores > -8  # nearer, and lower, scipy's own 1 - p has few digits
        np.testing.assert_allclose(ours[seen], exact[seen], rtol=1e-9)


def test_a_table_knows_where_it_must_not_be_used():
    """A kink, a jump and a flat stretch: the function itself answers there, everywhere else the table."""
    calls = []

    def function(s):
        calls.append(s.size)
        return np.where(s < 2, s, np.where(s < 3, 2 + 5 * (s - 2), np.where(s < 4, 9.0, s**2)))

    table = QuantileTable(function, 1.0)
    s = np.linspace(1.0001, 9, 5001)
    before = sum(calls)
    np.testing.assert_allclose(table(s), function(s), rtol=1e-10)
    assert sum(calls) - before - s.size < 0.3 * s.size
    assert set(table(np.linspace(3.01, 3.99, 50))) == {9.0}
    assert np.isnan(table.coefficients).any()
    assert np.isfinite(table.coefficients).any()


def test_mixed_tail_dependence():
    """Equal degrees of freedom: the closed form. Different ones: the mean of the minimum, simulated."""
    for rho in (-0.5, 0.0, 0.7, 0.95):
        for v in (3.0, 30.0):
            exact = float(tail_dependence(np.array(rho), v))
            assert mixed_tail_dependence(rho, v, v * (1 + 1e-6)) == pytest.approx(exact, rel=1e-5)
    z = np.random.default_rng(1).multivariate_normal([0, 0], [[1, 0.4], [0.4, 1]], 1_000_000)
    a, b = (np.maximum(z[:, k], 0) ** v for k, v in ((0, 3.0), (1, 5.0)))
    smaller = np.minimum(a / a.mean(), b / b.mean())
    error = 4 * smaller.std() / 1000
    assert mixed_tail_dependence(0.4, 3.0, 5.0) == pytest.approx(smaller.mean(), abs=error)
    assert mixed_tail_dependence(0.4, 5.0, 3.0) == mixed_tail_dependence(0.4, 3.0, 5.0)
    assert 0 < mixed_tail_dependence(0.4, 4.0, 100.0) < 1e-6


@pytest.mark.parametrize(
    "copula", [Gaussian(), StudentT(4.0), GroupedT(), Independent()], ids=lambda c: type(c).__name__
)
def test_exceedances_are_those_of_the_scores(copula):
    copula.fit(SCORES, groups=list("aabbb"))
    thresholds = np.array([-np.inf, 0.0, 1.0, 2.0, np.inf])
    scores = copula.scores(5000, 5)
    found = copula.exceedances(5000, thresholds, 5)
    for j in range(5):
        part = slice(found.starts[j], found.starts[j + 1])
        rows = np.flatnonzero(scores[:, j] > thresholds[j])
        np.testing.assert_array_equal(found.rows[part], rows)
        np.testing.assert_array_equal(found.scores[part], scores[rows, j])
        np.testing.assert_allclose(copula.score_sf(scores[:, j], j), 1 - copula.score_cdf(scores)[:, j], atol=1e-12)
    assert copula.tail_dependence_.shape == (5, 5)
    assert np.all((copula.tail_dependence_ >= 0) & (copula.tail_dependence_ <= 1))


@pytest.mark.parametrize(
    "copula", [Gaussian(), StudentT(4.0), GroupedT(), Independent()], ids=lambda c: type(c).__name__
)
def test_exceedances_by_law_are_those_of_the_scores(copula):
    copula.fit(SCORES, groups=list("aabbb"))
    laws, thresholds = np.arange(5000) % 7 % 3, np.array([np.zeros(5), np.full(5, np.inf), np.linspace(-1, 2, 5)])
    scores = copula.scores(5000, 5)
    found = copula.exceedances_by_law(laws, thresholds, 5)
    for k, part in enumerate(found.parts(5)):
        for j in range(5):
            rows = np.flatnonzero((laws == k) & (scores[:, j] > thresholds[k, j]))
            own = slice(part.starts[j], part.starts[j + 1])
            np.testing.assert_array_equal(part.rows[own], rows)
            np.testing.assert_array_equal(part.scores[own], scores[rows, j])
        columns = np.repeat(np.arange(5), part.counts)
        one_by_one = [copula.score_sf(part.scores[own], j) for j, own in part.columns]
        np.testing.assert_array_equal(copula.score_sf(part.scores, columns), np.concatenate([[], *one_by_one]))


def test_normals_are_those_of_the_generator():
    one, other = (np.random.Generator(np.random.SFC64(3)) for _ in range(2))
    table = np.empty((2000, 500))  # the tail of one in 4,000, too
    _fill(table, one)
    np.testing.assert_array_equal(table, other.standard_normal((2000, 500)))
    assert one.random() == other.random()


def test_losses_of_known_laws():
    """Zeros, quantiles and joint exceedances of what was drawn, against the laws and scipy's bivariate t."""
    copula = StudentT(4.0).fit(SCORES)
    zeros = np.array([0.9, 0.5, 0.0, 1.0, 0.9])
    process = ComposedMargins(SeverityMargins([LAW] * 5, zeros), copula)
    drawn = sampling.draw_losses(process, 100_000, np.array([1.0, 2.0, 3.0, 4.0, 0.0]), 1)
    np.testing.assert_allclose((drawn == 0).mean(axis=0), [0.9, 0.5, 0.0, 1.0, 1.0], atol=0.005)
    for j, factor in ((0, 1.0), (1, 2.0), (2, 3.0)):
        losing = drawn[drawn[:, j] > 0, j] / factor
        assert stats.kstest(LAW.sf(losing), "uniform").pvalue > 1e-3
    rho, cut = copula.correlation_[0, 1], stats.t(4).ppf([0.9, 0.5])
    both = stats.multivariate_t(shape=[[1, rho], [rho, 1]], df=4).cdf(-cut, random_state=0)
    assert ((drawn[:, 0] > 0) & (drawn[:, 1] > 0)).mean() == pytest.approx(both, abs=4 * np.sqrt(both / 100_000))


def test_bytes(monkeypatch):
    copula = StudentT(4.0).fit(SCORES)
    process = ComposedMargins(SeverityMargins([LAW] * 5, np.full(5, 0.8)), copula)
    ones = np.ones(5)
    one = sampling.draw_losses(process, 70_000, ones, 9, n_jobs=1)
    assert one.tobytes() == sampling.draw_losses(process, 70_000, ones, 9, n_jobs=2).tobytes()
    assert one.tobytes() == sampling.draw_losses(process, 70_000, ones, 9).tobytes()
    np.testing.assert_array_equal(one[:65_536], sampling.draw_losses(process, 65_536, ones, 9))
    assert one.tobytes() != sampling.draw_losses(process, 70_000, ones, 10).tobytes()


def test_scenarios_take_frozen_losses_as_they_are():
    losses = np.ones((4, 2))
    assert Scenarios(losses).losses is not losses
    losses.setflags(write=False)
    assert Scenarios(losses).losses is losses
    assert Scenarios(losses[:2]).losses is not losses
    losses = np.array([[1.0, np.nan], [np.inf, -1.0]])
    losses.setflags(write=False)
    with pytest.raises(DataError, match="scenario 0, member 'member 2', segment 'all': loss is nan"):
        Scenarios(losses)


def test_known_laws_need_a_chance_of_no_loss_each():
    with pytest.raises(ModelError, match=r"zeros has shape \(2,\), expected \(1,\)"):
        SeverityMargins([LAW], np.array([0.1, 0.2]))


def test_blocks_are_the_same_scenarios(monkeypatch):
    """Byte for byte, however often they are drawn; and a plan from them is that from the array."""
    monkeypatch.setattr(sampling, "BLOCK", 2048)
    rng = np.random.default_rng(6)
    panel = pd.DataFrame(np.exp(rng.normal(0, 1, (30, 4))), index=range(1990, 2020), columns=list("ABCD"))
    model = JointLossModel().fit(LossHistory.from_panel(panel))
    whole, parts = model.sample(5000, 3, periods=2), model.sample_blocks(5000, 3, periods=2)
    assert not parts.in_memory
    assert parts.digest == whole.digest == parts.digest
    np.testing.assert_array_equal(parts.losses[[0, 2048, 4999]], whole.losses[[0, 2048, 4999]])
    with pytest.raises(ModelError, match="n is 0 and periods is 1; expected whole numbers >= 1"):
        model.sample_blocks(0)


class Exponentials:
    """Five independent exponential losses: the total is a gamma variable."""

    def sample(self, n, random_state):
        return Scenarios(np.random.default_rng(random_state).exponential(1.0, (n, 5)))


def test_enriched_tails_are_unbiased():
    """CVaR of a gamma total in closed form, and every expected loss, in the mean of 200 enriched samples of 1,000."""
    level, law = 0.99, stats.gamma(5)
    var = law.ppf(level)
    exact = 5 * stats.gamma(6).sf(var) / (1 - level)
    found, means = [], []
    for seed in range(200):
        rich = enriched_scenarios(Exponentials(), 1000, random_state=seed)
        excess = np.maximum(rich.losses.sum(axis=1) - var, 0.0)
        found.append(var + rich.probabilities @ excess / (1 - level))  # unbiased: the VaR is the true one
        means.append(rich.probabilities @ rich.losses)
    assert np.mean(found) == pytest.approx(exact, abs=4 * np.std(found) / np.sqrt(200))
    plain = np.sqrt(law.expect(lambda x: np.maximum(x - var, 0) ** 2, lb=var) - ((exact - var) * (1 - level)) ** 2)
    assert np.std(found) == pytest.approx(plain / (1 - level) / np.sqrt(10_000), rel=0.25)  # of 10,000 plain ones
    np.testing.assert_allclose(np.mean(means, axis=0), 1.0, atol=4 * np.std(means) / np.sqrt(200))


def test_the_tail_of_a_joint_model():
    rng = np.random.default_rng(3)
    panel = pd.DataFrame(np.exp(rng.normal(0, 1, (30, 4))), index=range(1990, 2020), columns=list("ABCD"))
    model = JointLossModel().fit(LossHistory.from_panel(panel))
    rich = model.sample_tail(4000, 5, level=0.99)
    assert len(rich) == 4000
    assert rich.probabilities.sum() == pytest.approx(1)
    assert np.unique(rich.probabilities.round(12)).size == 2
    plain = model.sample(200_000, 6)
    for level in (0.95, 0.99):
        one, other = (tail_mean(x.losses.sum(axis=1), level, x.probabilities) for x in (rich, plain))
        assert one.estimate == pytest.approx(other.estimate, abs=5 * np.hypot(one.standard_error, other.standard_error))
    np.testing.assert_allclose(rich.expected_losses, model.summary_["expected_loss"], rtol=0.1)
    assert model.sample_tail(500, 5).digest == model.sample_tail(500, np.random.SeedSequence(5)).digest
    first, second = np.random.SeedSequence(5).spawn(2)
    assert model.sample_tail(500, first).digest != model.sample_tail(500, second).digest
    year = model.sample_tail(1000, 5, periods=12, exposures=dict.fromkeys("ABCD", 2.0))
    assert year.probabilities @ year.losses.sum(axis=1) == pytest.approx(
        24 * model.summary_["expected_loss"].sum(), rel=0.1
    )
    with pytest.raises(ModelError, match=r"level is 0\.9: the tail of a level from 0\.96 to below 1 can be enriched"):
        model.sample_tail(1000, level=0.9)


def test_large_losses_come_together_beyond_what_a_block_resolves(monkeypatch):
    """Two members, a t copula, compound Pareto losses: joint exceedances at 1 in 5,000, drawn in blocks of 1,024.

    By ranks alone the two would be independent beyond 1 in 1,024. Truth: the scores of both, a bivariate t.
    """
    rng = np.random.default_rng(4)
    months = pd.period_range("2000-01", periods=240, freq="M")
    z = rng.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], 240) * np.sqrt(3 / rng.chisquare(3, (240, 1)))
    t, i = np.nonzero(z > 1.2)
    frame = pd.DataFrame({"date": months[t].to_timestamp(), "member": np.array(["A", "B"])[i], "id": range(t.size)})
    frame["loss"] = stats.genpareto(0.5).rvs(t.size, random_state=rng)
    names = {"date": "date", "member": "member", "loss": "loss"}
    history = LossHistory.from_events(frame, **names, start="2000-01", end="2019-12")
    copula = StudentT(3.0)
    model = JointLossModel(severity=severity.LogNormal(), dependence=copula).fit(history)
    rho, n = model.correlation_.iloc[0, 1], 2_000_000
    monkeypatch.setattr(sampling, "BLOCK", 1024)
    drawn = sampling.draw_losses(model.process_.around, n, model.exposures_.to_numpy(), 1)  # its parameters known
    q = 1 / 5000
    cuts = np.quantile(drawn, 1 - q, axis=0)
    both = (drawn > cuts).all(axis=1).mean()
    cut = stats.t(3).ppf(q)
    exact = integrate.quad(lambda x: stats.t(3).pdf(x) * below(cut, x, rho), -np.inf, cut, epsabs=1e-12)[0]
    assert both / q == pytest.approx(exact / q, abs=5 * np.sqrt(exact / n) / q)


def below(cut, x, rho, v=3):
    """`P(Y <= cut | X = x)` of a bivariate t; its distribution function in scipy is wrong so far out."""
    return stats.t(v + 1).cdf((cut - rho * x) / np.sqrt((v + x**2) * (1 - rho**2) / (v + 1)))
