"""The vine copula: likelihood with point masses against scipy, what it finds, how it fails, inside the joint model."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from calibrate.errors import DataError, ModelError
from calibrate.history import LossHistory
from calibrate.models import JointLossModel, sampling
from calibrate.models.dependence import StudentT, Vine, vine

pytest.importorskip("pyvinecopulib", reason="the extra 'vine' is not installed")


def losses(rng, n, d, zero, rho=0.5, v=4.0):
    z = rng.multivariate_normal(np.zeros(d), np.full((d, d), rho) + (1 - rho) * np.eye(d), n)
    z *= np.sqrt(v / rng.chisquare(v, n))[:, None]
    return np.where(z > (stats.t(v).ppf(zero) if zero else -np.inf), np.exp(np.minimum(z, 50)), 0.0)


def test_point_masses_are_intervals():
    """Log-likelihood of two columns with zeros: density, conditional probability and corner, each from scipy."""
    x = losses(np.random.default_rng(0), 150, 2, 0.6)
    model = Vine().fit(x)
    pair = model.vine_.get_pair_copula(0, 0)
    import pyvinecopulib

    copula = pyvinecopulib.Bicop(family=pyvinecopulib.BicopFamily.gaussian, parameters=np.array([[0.55]]))
    fixed = pyvinecopulib.Vinecop.from_structure(
        structure=model.vine_.structure, pair_copulas=[[copula]], var_types=["d", "d"]
    )
    zero = (x == 0).mean(axis=0)
    u = np.where(x > 0, (stats.rankdata(x, axis=0) - 0.5) / 150, zero)
    left = np.where(x > 0, u, 1e-10)
    law, cut, z = stats.multivariate_normal(cov=[[1, 0.55], [0.55, 1]]), stats.norm.ppf(zero), stats.norm.ppf(u)
    exact = 0.0
    for a, b in z[(x > 0).all(axis=1)]:
        exact += law.logpdf([a, b]) - stats.norm.logpdf([a, b]).sum()
    for k in (0, 1):
        for a in z[(x[:, k] > 0) & (x[:, 1 - k] == 0), k]:
            exact += stats.norm.logcdf((cut[1 - k] - 0.55 * a) / np.sqrt(1 - 0.55**2))
    exact += (x == 0).all(axis=1).sum() * law.logcdf(cut)
    exact -= (x == 0).sum(axis=0) @ np.log(zero)  # relative to the margins, as a copula density is
    assert fixed.loglik(np.asfortranarray(np.hstack([u, left]))) == pytest.approx(exact, abs=0.05)
    assert str(pair.family) != "BicopFamily.indep"


@pytest.mark.parametrize("zero", [0.0, 0.8])
def test_what_is_together_is_found(zero):
    """How often two lose together, and how often both are extreme: a t copula, with and without zeros, by scipy."""
    model = Vine().fit(losses(np.random.default_rng(1), 600, 3, zero))
    drawn = model.sample(100_000, 1)
    law = stats.multivariate_t(shape=[[1, 0.5], [0.5, 1]], df=4)
    for q, tolerance in ((0.8, 0.03), (0.95, 0.012)):
        cut = stats.t(4).ppf(1 - q)
        both = law.cdf([cut, cut], random_state=0)
        for i, j in ((0, 1), (0, 2), (1, 2)):
            assert ((drawn[:, i] > q) & (drawn[:, j] > q)).mean() == pytest.approx(both, abs=tolerance)
    for column in range(3):
        assert stats.kstest(drawn[:20_000, column], "uniform").pvalue > 1e-3
    beyond = (drawn > 0.99).astype(float)
    np.testing.assert_allclose(model.tail_dependence_, beyond.T @ beyond / 1000, atol=0.06)


def test_a_tail_that_leans_to_one_side():
    """Gumbel dependence: large losses come together, small ones do not. No elliptical copula can say that."""
    rng = np.random.default_rng(2)
    theta, n = 2.0, 800
    angle, shock = rng.uniform(0, np.pi, n), rng.exponential(1, n)
    a = 1 / theta
    stable = np.sin(a * angle) / np.sin(angle) ** (1 / a) * (np.sin((1 - a) * angle) / shock) ** ((1 - a) / a)
    u = np.exp(-((rng.exponential(1, (n, 2)) / stable[:, None]) ** a))
    model = Vine().fit(u)
    drawn = model.sample(100_000, 3)
    upper = ((drawn > 0.97).all(axis=1)).mean() / 0.03
    lower = ((drawn < 0.03).all(axis=1)).mean() / 0.03
    assert upper == pytest.approx(2 - 2**a, abs=0.1)
    assert upper > lower + 0.15


@pytest.mark.parametrize(
    "values",
    [
        np.full((10, 3), 3.0),
        np.zeros((10, 4)),
        np.tile(np.arange(10.0)[:, None], (1, 4)),
        np.ones((2, 3)),
        np.ones((9, 1)),
    ],
    ids=["constant", "zero", "identical", "two rows", "one column"],
)
def test_hopeless_data(values):
    model = Vine().fit(values)
    assert np.isfinite(model.correlation_).all()
    assert np.linalg.eigvalsh(model.correlation_)[0] > 0
    assert np.isfinite(model.sample(100, 1)).all()


def test_contract():
    x = losses(np.random.default_rng(3), 60, 3, 0.5)
    weights = np.r_[np.ones(30), np.full(30, 2.0)]
    model = Vine().fit(x)
    weighted, repeated = Vine().fit(x, sample_weight=weights), Vine().fit(np.vstack([x, x[30:]]))
    np.testing.assert_allclose(weighted.correlation_, repeated.correlation_, atol=1e-8)
    np.testing.assert_allclose(Vine().fit(x[::-1]).correlation_, model.correlation_, atol=1e-8)
    np.testing.assert_allclose(Vine().fit(x * 1e-18).correlation_, model.correlation_, atol=1e-12)
    assert model.sample(50, 3).tobytes() == model.sample(50, 3).tobytes() != model.sample(50, 4).tobytes()
    assert not [name for name in vars(clone(model)) if name.endswith("_")]
    thresholds = np.array([0.0, 1.0, np.inf])
    scores, found = model.scores(500, 1), model.exceedances(500, thresholds, 1)
    np.testing.assert_array_equal(found.counts, (scores > thresholds).sum(axis=0))
    with pytest.raises(ModelError, match="Vine: trees is 0, expected a whole number >= 1"):
        Vine(trees=0).fit(x)
    with pytest.raises(DataError, match="infinity"):
        Vine().fit(np.where(x == x[0, 0], np.inf, x))


def test_periods_in_which_a_column_was_not_there_are_left_out():
    x = losses(np.random.default_rng(3), 80, 3, 0.5)
    x[:20, 0] = np.nan
    found, known = Vine().fit(x).correlation_, Vine().fit(x[20:]).correlation_
    np.testing.assert_allclose(found, known, atol=0.1)  # the levels of the other two are those of all periods
    x[:71, 0] = np.nan
    with pytest.raises(
        ModelError, match="Vine: in 9 of 80 periods all columns are there, and it needs 10 such periods"
    ):
        Vine().fit(x)


@pytest.mark.slow
def test_scikit_learn_checks():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            Vine(), expected_failed_checks={"check_fit1d": "a vector is one column"}, on_fail=None, on_skip=None
        )
    assert [result["check_name"] for result in results if result["status"] == "failed"] == []


def test_inside_the_joint_model():
    rng = np.random.default_rng(4)
    months = pd.period_range("2014-01", periods=120, freq="M")
    table = losses(rng, 120, 3, 0.7)
    t, i = np.nonzero(table)
    frame = pd.DataFrame({"date": months[t].to_timestamp(), "member": [f"M{k}" for k in i], "loss": table[t, i]})
    history = LossHistory.from_events(frame, date="date", member="member", loss="loss", start="2014-01", end="2023-12")
    model = JointLossModel(dependence=Vine()).fit(history)
    drawn = model.sample(40_000, 1).losses
    known = sampling.draw_losses(model.process_.around, 40_000, model.exposures_.to_numpy(), 1)
    np.testing.assert_allclose((known == 0).mean(axis=0), model.summary_["zero_probability"], atol=0.012)
    both = [((d[:, 0] > 0) & (d[:, 1] > 0)).mean() for d in (drawn, table)]
    assert both[0] == pytest.approx(both[1], abs=0.08)
    other = JointLossModel(dependence=StudentT()).fit(history).sample(40_000, 1).losses
    assert both[0] == pytest.approx(((other[:, 0] > 0) & (other[:, 1] > 0)).mean(), abs=0.06)


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvinecopulib", None)
    with pytest.raises(
        ModelError, match=r"Vine needs pyvinecopulib, which is not installed: pip install 'calibrate\[vine\]'"
    ):
        Vine().fit([[1.0, 2.0], [2.0, 1.0], [3.0, 3.0]])


@pytest.mark.slow
def test_what_many_members_have_in_common_is_kept(monkeypatch, caplog):
    """25 members, 120 periods, one normal factor of correlation 0.4: with the proxy it is found, without it is lost."""
    rng = np.random.default_rng(2)
    x = np.sqrt(0.4) * rng.standard_normal((120, 1)) + np.sqrt(0.6) * rng.standard_normal((120, 25))
    above = np.triu_indices(25, 1)
    seen = np.corrcoef(x.T)[above].mean()
    kept = Vine(trees=2).fit(x)
    assert kept.correlation_.shape == (25, 25)
    assert kept.sample(7, random_state=1).shape == (7, 25)
    assert kept.correlation_[above].mean() == pytest.approx(seen, abs=0.06)
    assert not caplog.records
    monkeypatch.setattr(vine, "MANY", 25)
    assert Vine(trees=2).fit(x).correlation_[above].mean() < seen - 0.1
    assert "between 25 members 2 trees keep" in caplog.text
