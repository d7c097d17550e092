"""Copulas against scipy, known truths, and the point mass at zero."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from calibrate.errors import DataError, ModelError
from calibrate.models.dependence import Gaussian, GroupedT, Independent, StudentT
from calibrate.models.dependence.correlation import Ranks
from calibrate.models.dependence.likelihood import copula_log_likelihood


def equal(d, rho):
    return np.full((d, d), rho) + (1 - rho) * np.eye(d)


def draw(rng, n, correlation, v=np.inf):
    z = rng.multivariate_normal(np.zeros(len(correlation)), correlation, size=n)
    return z if np.isinf(v) else z * np.sqrt(v / rng.chisquare(v, n))[:, None]


def off_diagonal(matrix):
    return matrix[np.triu_indices(len(matrix), 1)]


def test_large_samples_give_the_correlation_of_normal_scores():
    truth = np.array([[1, 0.7, -0.2], [0.7, 1, 0.1], [-0.2, 0.1, 1]])
    z = draw(np.random.default_rng(0), 20_000, truth)
    model = Gaussian().fit(np.exp(z))
    scores = stats.norm.ppf((stats.rankdata(z, axis=0) - 0.5) / 20_000)
    np.testing.assert_allclose(model.correlation_, np.corrcoef(scores.T), atol=2e-3)
    assert model.shrinkage_ < 0.01


@pytest.mark.parametrize("mass", [0.5, 0.9, 0.96])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.7])
def test_point_masses_do_not_water_the_correlation_down(rho, mass):
    found = []
    rng = np.random.default_rng(1)
    for _ in range(6):
        z = draw(rng, 240, equal(20, rho))
        losses = np.where(z > stats.norm.ppf(mass), np.exp(z), 0.0)
        found.append(off_diagonal(Gaussian().fit(losses).correlation_).mean())
    error = 4 * np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - rho) < error + 0.02


@pytest.mark.parametrize("family", [Gaussian, StudentT, GroupedT])
@pytest.mark.parametrize("mass", [0.0, 0.7])
@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_who_came_late_did_not_lose_nothing_before(family, mass, rho):
    """Absence taken for no loss makes those who come together move together (0.56 for 0 in twenty years)."""
    rng = np.random.default_rng(8)
    late, mixed, old = [], [], []
    for _ in range(12):
        z = draw(rng, 40, equal(12, rho))
        losses = np.where(z > stats.norm.ppf(mass), np.exp(z), 0.0) if mass else np.exp(z)
        losses[:20, :6] = np.nan
        found = family().fit(losses).correlation_
        late.append(off_diagonal(found[:6, :6]).mean())
        mixed.append(found[:6, 6:].mean())
        old.append(off_diagonal(found[6:, 6:]).mean())
    for seen in (late, mixed, old):
        assert abs(np.mean(seen) - rho) < 4 * np.std(seen, ddof=1) / np.sqrt(len(seen)) + 0.03


def test_two_who_were_never_there_together_have_what_all_share():
    z = draw(np.random.default_rng(9), 60, equal(6, 0.5))
    z[:30, 0] = z[30:, 1] = np.nan
    found = Gaussian().fit(z).correlation_
    assert found[0, 1] == pytest.approx(off_diagonal(found).mean(), abs=0.1)
    never, quiet = (Gaussian().fit(np.where(np.arange(6) == 2, value, z)).correlation_ for value in (np.nan, 0.0))
    np.testing.assert_array_equal(never, quiet)  # neither tells anything


def test_whole_table_likelihood_is_that_of_the_columns_that_are_there():
    """Against scipy's multivariate t of each row's own columns."""
    rng = np.random.default_rng(10)
    values, weights, v = draw(rng, 9, equal(4, 0.4), 5.0), rng.uniform(0.5, 2.0, 9), 4.0
    values[:4, 0] = values[2, 1:] = values[6, 3] = np.nan
    ranks, truth = Ranks.of(values, weights, np.ones(4)), 0.0
    for row, weight, there in zip(ranks.uniform, weights, ~np.isnan(values), strict=True):
        if there.any():
            x, shape = stats.t.ppf(row[there], v), equal(4, 0.4)[np.ix_(there, there)]
            joint = stats.multivariate_t.logpdf(x, shape=shape, df=v)
            truth += weight * (joint - stats.t.logpdf(x, v).sum())
    assert copula_log_likelihood(ranks, weights, equal(4, 0.4), v) == pytest.approx(truth, rel=1e-9)


def test_more_members_than_periods_stay_positive_definite():
    rng = np.random.default_rng(2)
    for rho in (0.0, 0.3, 0.9):
        model = StudentT().fit(draw(rng, 10, equal(46, rho)))
        assert np.linalg.eigvalsh(model.correlation_)[0] > 1e-5
        np.testing.assert_allclose(np.diag(model.correlation_), 1.0, rtol=0, atol=1e-12)
        assert model.shrinkage_ > 0.5


def test_shrinking_is_nearer_to_the_truth_than_not_shrinking():
    rng = np.random.default_rng(3)
    ours, raw = [], []
    for _ in range(20):
        z = draw(rng, 10, equal(46, 0.3))
        ours.append(((Gaussian().fit(z).correlation_ - equal(46, 0.3)) ** 2).mean())
        raw.append(((np.corrcoef(z.T) - equal(46, 0.3)) ** 2).mean())
    assert np.mean(ours) < 0.5 * np.mean(raw)


def test_groups_share_their_own_correlation():
    truth = np.block([[equal(8, 0.6), np.zeros((8, 8))], [np.zeros((8, 8)), equal(8, 0.1)]])
    groups = ["a"] * 8 + ["b"] * 8
    found = Gaussian().fit(draw(np.random.default_rng(4), 60, truth), groups=groups).correlation_
    assert off_diagonal(found[:8, :8]).mean() == pytest.approx(0.6, abs=0.15)
    assert off_diagonal(found[8:, 8:]).mean() == pytest.approx(0.1, abs=0.15)
    assert abs(found[:8, 8:].mean()) < 0.1


@pytest.mark.parametrize(("truth", "low", "high"), [(4.0, 3, 8), (np.inf, 30, 100)])
@pytest.mark.parametrize("mass", [0.0, 0.7])
def test_degrees_of_freedom(truth, low, high, mass):
    z = draw(np.random.default_rng(5), 300, equal(20, 0.4), truth)
    losses = np.where(z > np.quantile(z, mass), np.exp(z), 0.0) if mass else np.exp(z)
    model = StudentT().fit(losses)
    assert low <= model.degrees_of_freedom_ <= high
    assert model.profile_.max() == 0.0
    weights = np.exp(model.profile_)
    assert 1 / model.degrees_of_freedom_ == pytest.approx((weights / model.profile_.index).sum() / weights.sum())


def test_ten_periods_do_not_invent_a_heavy_tail():
    rng = np.random.default_rng(6)
    found = [StudentT().fit(draw(rng, 10, equal(46, 0.0))).degrees_of_freedom_ for _ in range(10)]
    assert np.median(found) >= 9


def test_ten_periods_do_not_rule_a_heavy_tail_out_either():
    rng = np.random.default_rng(6)
    light = [StudentT().fit(draw(rng, 10, equal(46, 0.2))).degrees_of_freedom_ for _ in range(10)]
    heavy = [StudentT().fit(draw(rng, 10, equal(46, 0.2), 4.0)).degrees_of_freedom_ for _ in range(10)]
    assert np.max(light) < 40
    assert np.median(heavy) < np.median(light)


def test_samples_are_uniform_and_dependent_as_fitted():
    model = StudentT(degrees_of_freedom=4.0).fit(draw(np.random.default_rng(7), 500, equal(3, 0.5), 4.0))
    drawn = model.sample(20_000, 1)
    for column in drawn.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    rho = model.correlation_[0, 1]
    assert stats.kendalltau(drawn[:, 0], drawn[:, 1])[0] == pytest.approx(2 / np.pi * np.arcsin(rho), abs=0.02)
    u = 0.995
    joint = ((drawn[:, 0] > u) & (drawn[:, 1] > u)).mean() / (1 - u)
    assert joint == pytest.approx(model.tail_dependence_[0, 1], abs=0.12)


def test_gaussian_samples_have_the_fitted_correlation():
    model = Gaussian().fit(draw(np.random.default_rng(8), 500, equal(3, 0.5)))
    np.testing.assert_allclose(np.corrcoef(model.scores(50_000, 1).T), model.correlation_, atol=0.02)


def test_independent_samples_are():
    drawn = Independent().fit(np.ones((5, 3))).sample(50_000, 1)
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.eye(3), atol=0.02)


def test_tail_dependence_by_the_formula():
    """McNeil, Frey, Embrechts 2015, table 7.1: rho = .5 gives .25 for v = 4 and .08 for v = 10."""
    model = StudentT(degrees_of_freedom=4.0).fit(np.arange(20.0)[:, None] * [1.0, 1.0])
    model.correlation_ = equal(2, 0.5)
    assert round(float(model.tail_dependence_[0, 1]), 2) == 0.25
    model.degrees_of_freedom_ = 10.0
    assert round(float(model.tail_dependence_[0, 1]), 2) == 0.08


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.inf])
def test_degrees_of_freedom_that_are_none(wrong):
    with pytest.raises(ModelError, match=r"degrees_of_freedom is .*, expected a finite number > 0"):
        StudentT(degrees_of_freedom=wrong).fit([[1.0, 2.0], [2.0, 1.0]])


def test_groups_of_the_wrong_length():
    with pytest.raises(DataError, match="groups names 3 columns, but the losses have 2"):
        Gaussian().fit([[1.0, 2.0], [2.0, 1.0]], groups=[1, 2, 3])


def test_twin_members_are_as_dependent_as_can_be():
    z = np.random.default_rng(9).normal(size=(200, 2))
    found = Gaussian().fit(np.column_stack([z[:, 0], z[:, 0], z[:, 1]])).correlation_
    assert found[0, 1] > 0.9
    assert abs(found[0, 2]) < 0.2


def test_groups_have_their_own_degrees_of_freedom():
    """Truth: groups of 15 with 4 and (nearly) infinite degrees of freedom, one common uniform behind the shocks."""
    rng = np.random.default_rng(10)
    n, truth = 400, equal(30, 0.4)
    z = rng.multivariate_normal(np.zeros(30), truth, n)
    uniform = rng.random(n)
    shock = np.column_stack([np.sqrt(v / stats.chi2(v).ppf(uniform)) for v in (4.0, 1e6)])
    losses = z * np.repeat(shock, 15, axis=1)
    model = GroupedT().fit(losses, groups=["a"] * 15 + ["b"] * 15)
    assert 3 <= model.degrees_of_freedom_[0] <= 6
    assert model.degrees_of_freedom_[-1] >= 30
    assert list(model.profile_.columns) == [0, 1]
    drawn = model.sample(20_000, 1)
    for column in (0, 20):
        assert stats.kstest(drawn[:, column], "uniform").pvalue > 1e-3
    joint = [((drawn[:, i] > 0.99) & (drawn[:, i + 1] > 0.99)).mean() / 0.01 for i in (0, 20)]
    assert joint[0] > joint[1] + 0.05
    assert model.tail_dependence_[0, 20] < 0.01 < model.tail_dependence_[0, 1]
    assert model.tail_dependence_[0, 1] == pytest.approx(_tail(0.4, model.degrees_of_freedom_[0]), abs=0.1)


def _tail(rho, v):
    return 2 * stats.t(v + 1).cdf(-np.sqrt((v + 1) * (1 - rho) / (1 + rho)))


def test_without_groups_the_grouped_t_is_the_student_t():
    z = draw(np.random.default_rng(11), 200, equal(6, 0.4), 4.0)
    grouped, plain = GroupedT().fit(z), StudentT().fit(z)
    np.testing.assert_allclose(grouped.degrees_of_freedom_, plain.degrees_of_freedom_)
    np.testing.assert_allclose(grouped.tail_dependence_, plain.tail_dependence_)


@pytest.mark.slow
def test_heavy_tails_behind_point_masses_are_not_taken_for_correlation():
    """Truth: 4 degrees of freedom, correlation .4, four fifths of all entries zero."""
    rng = np.random.default_rng(12)
    t_found, normal_found = [], []
    for _ in range(6):
        z = draw(rng, 150, equal(20, 0.4), 4.0)
        losses = np.where(z > stats.t(4).ppf(0.8), np.exp(np.minimum(z, 50)), 0.0)
        t_found.append(off_diagonal(StudentT().fit(losses).correlation_).mean())
        normal_found.append(off_diagonal(Gaussian().fit(losses).correlation_).mean())
    assert abs(np.mean(t_found) - 0.4) < 0.06  # .46 by normal scores alone
    assert np.mean(t_found) < np.mean(normal_found)
