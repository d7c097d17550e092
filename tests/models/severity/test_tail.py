"""The generalized Pareto tail: the fit, its edges, its refusals, its intervals, its threshold."""

import numpy as np
import pytest
from scipy import stats

from calibrate.errors import DataError, ModelError
from calibrate.models import severity
from calibrate.models.severity import GeneralizedPareto, Observation, SequentialThreshold, threshold_table
from calibrate.models.severity.goodness import anderson_darling, anderson_darling_p_value
from calibrate.models.severity.observation import Sample, share_above
from calibrate.models.severity.pareto_tail import log_likelihood, profile_fit
from calibrate.models.severity.threshold import forward_stop


@pytest.mark.parametrize("shape", [-0.95, -0.6, -0.3, 0.0, 0.2, 0.7, 1.2, 3.0, 6.0])
@pytest.mark.parametrize("n", [12, 60, 400, 3000])
def test_no_lower_likelihood_than_scipy_and_than_a_search(shape, n):
    rng = np.random.default_rng([n, int(100 * (shape + 1))])
    excesses = stats.genpareto(shape, scale=2.0).rvs(n, random_state=rng)
    model = GeneralizedPareto().fit(excesses)
    best = model.log_likelihood_
    fitted = stats.genpareto.fit(excesses, floc=0)
    if fitted[0] >= -1:  # below, the likelihood has no maximum
        assert best >= stats.genpareto.logpdf(excesses, *fitted).sum() - 1e-9
    sample = Sample.of(excesses, None, None)
    for trial in np.linspace(-0.99, 7.0, 41):
        for scale in model.scale_ * np.exp(np.linspace(-2, 2, 41)):
            assert log_likelihood(sample, trial, scale) <= best + 1e-9


@pytest.mark.parametrize("shape", [-0.2, 0.5, 1.5])
def test_the_fit_under_truncation_and_censoring_is_a_maximum(shape):
    rng = np.random.default_rng(5)
    x = stats.genpareto(shape, scale=2.0).rvs(900, random_state=rng)
    entry = rng.random(900)
    x, entry = x[x > entry], entry[x > entry]
    sample = Sample.of(x, rng.random(x.size), Observation(deductible=entry, limit=float(np.quantile(x, 0.9))))
    found = profile_fit(sample)
    assert found[2] == pytest.approx(log_likelihood(sample, *found[:2]), rel=1e-12)
    for trial in found[0] + np.linspace(-0.5, 0.5, 21):
        for scale in found[1] * np.exp(np.linspace(-0.5, 0.5, 21)):
            assert log_likelihood(sample, trial, scale) <= found[2] + 1e-9


def test_standard_errors_are_the_inverse_of_the_observed_information():
    rng = np.random.default_rng(9)
    for shape in (-0.3, 0.0, 0.4, 1.1):
        x = stats.genpareto(shape, scale=2.0).rvs(500, random_state=rng)
        model = GeneralizedPareto().fit(x, observation=Observation(limit=float(np.quantile(x, 0.9))))
        at, h = np.array([model.shape_, model.scale_]), 1e-4
        hessian = np.empty((2, 2))
        for i in range(2):
            for j in range(2):
                a, b = h * np.eye(2)[i] * at[1], h * np.eye(2)[j] * at[1]
                corners = [at + a + b, at + a - b, at - a + b, at - a - b]
                values = [log_likelihood(model.excesses_, *corner) for corner in corners]
                hessian[i, j] = (values[0] - values[1] - values[2] + values[3]) / (4 * (h * at[1]) ** 2)
        expected = np.sqrt(np.diag(np.linalg.inv(-hessian)))
        assert model.standard_errors_.to_numpy() == pytest.approx(expected, rel=1e-3)


def test_a_shape_of_one_refuses_mean_and_shortfall_unless_capped():
    x = stats.genpareto(1.4, scale=2.0).rvs(800, random_state=np.random.default_rng(1))
    model = GeneralizedPareto().fit(x)
    assert model.shape_ > 1
    assert not model.has_mean_
    for ask in (model.mean, lambda: model.expected_shortfall(0.99), lambda: model.layer_mean(5.0, np.inf)):
        with pytest.raises(ModelError, match=r"mean does not exist \(shape >= 1\).*pass a cap"):
            ask()
    law = stats.genpareto(model.shape_, scale=model.scale_)
    capped = np.trapezoid(law.sf(np.linspace(0, 100, 200_001)), dx=100 / 200_000)
    assert model.mean(cap=100.0) == pytest.approx(capped, rel=1e-6)
    assert model.var(0.99) < model.expected_shortfall(0.99, cap=1e6) < 1e6
    spliced = severity.Spliced().fit(x)
    with pytest.raises(ModelError, match=r"Spliced: .* mean does not exist"):
        spliced.mean()


def test_below_the_threshold_the_tail_alone_has_no_answer():
    x = np.random.default_rng(0).lognormal(0, 1, 500)
    model = GeneralizedPareto(threshold=2.0).fit(x)
    for ask in (
        lambda: model.cdf([3.0, 1.0]),
        lambda: model.ppf(0.1),
        lambda: model.sample(100, 1),
        model.mean,
        lambda: model.expected_shortfall(0.2),
    ):
        with pytest.raises(ModelError, match=r"above its threshold 2 only .* use Spliced"):
            ask()
    assert model.cdf(2.0) == pytest.approx(np.mean(x <= 2.0))


def test_thin_and_flat_tails_are_refused():
    x = np.arange(1.0, 31.0)
    with pytest.raises(ModelError, match=r"4 fully seen losses exceed the threshold 26; at least 10 are needed"):
        GeneralizedPareto(threshold=26).fit(x)
    with pytest.raises(ModelError, match=r"20 losses above 1 are all equal \(5\)"):
        GeneralizedPareto(threshold=1).fit([5.0] * 20 + [0.5])
    with pytest.raises(ModelError, match="threshold must be a finite amount >= 0, got -1"):
        GeneralizedPareto(threshold=-1).fit(x)
    with pytest.raises(ModelError, match=r"no fully seen loss lies at or below the threshold 0\.5"):
        severity.Spliced(tail=GeneralizedPareto(0.5)).fit(x)


@pytest.mark.slow
def test_profile_intervals_contain_the_estimate_and_end_where_the_likelihood_says():
    x = stats.genpareto(0.3, scale=2.0).rvs(300, random_state=np.random.default_rng(3))
    model = GeneralizedPareto().fit(x)
    interval = model.shape_interval(0.9)
    assert interval.lower < interval.estimate == model.shape_ < interval.upper
    for end in (interval.lower, interval.upper):
        scales = model.scale_ * np.exp(np.linspace(-1, 1, 4001))
        profile = max(stats.genpareto.logpdf(x, end, scale=scale).sum() for scale in scales)
        factor = 1 + 8.6 / (1 + 1.5 * model.shape_) / 300  # Bartlett's
        assert 2 * (model.log_likelihood_ - profile) == pytest.approx(stats.chi2.ppf(0.9, 1) * factor, abs=1e-3)
    for of in (model.var_interval, model.expected_shortfall_interval):
        narrow, wide = of(0.99, 0.8), of(0.99, 0.95)
        assert wide.lower < narrow.lower < narrow.estimate < narrow.upper < wide.upper
    assert model.var_interval(0.99).estimate == pytest.approx(model.var(0.99), rel=1e-10)
    assert model.expected_shortfall_interval(0.99).estimate == pytest.approx(model.expected_shortfall(0.99), rel=1e-10)
    with pytest.raises(ModelError, match="confidence must lie strictly between 0 and 1"):
        model.shape_interval(95)


def test_intervals_in_other_units_and_where_no_upper_limit_exists():
    x = stats.genpareto(0.8, scale=2.0).rvs(60, random_state=np.random.default_rng(12))
    small, large = GeneralizedPareto().fit(x), GeneralizedPareto().fit(x * 1e18)
    assert large.var_interval(0.99) == pytest.approx((*(v * 1e18 for v in small.var_interval(0.99)[:3]), 0.95))
    assert small.shape_interval().upper > 1
    assert small.expected_shortfall_interval(0.99).upper == np.inf


def test_the_uncertainty_of_the_share_above_widens_the_interval():
    x = np.random.default_rng(5).lognormal(0, 1.5, 600)
    model = GeneralizedPareto(threshold=2.0).fit(x)
    tail_only = GeneralizedPareto().fit(x[x > 2.0] - 2.0)
    known = tail_only.var_interval(1 - 0.05 / model.exceedance_probability_)
    estimated = model.var_interval(0.95)
    assert estimated.estimate == pytest.approx(2.0 + known.estimate, rel=1e-9)
    assert estimated.lower < 2.0 + known.lower < 2.0 + known.upper < estimated.upper


@pytest.mark.parametrize("shape", [-0.2, 0.3, 1.2])
def test_anderson_darling_p_values_are_uniform_under_the_hypothesis(shape):
    rng = np.random.default_rng(14)
    p_values = []
    for _ in range(400):
        x = stats.genpareto(shape).rvs(120, random_state=rng)
        found, scale, _ = profile_fit(Sample.of(x, None, None))
        p_values.append(anderson_darling_p_value(anderson_darling(x, found, scale), found))
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_anderson_darling_statistic_by_hand():
    x = np.array([0.3, 1.0, 2.5, 0.1])
    u = np.sort(stats.genpareto(0.2, scale=1.5).cdf(x))
    by_hand = -4 - sum((2 * i - 1) / 4 * (np.log(u[i - 1]) + np.log(1 - u[4 - i])) for i in range(1, 5))
    assert anderson_darling(x, 0.2, 1.5) == pytest.approx(by_hand, rel=1e-12)


def test_forward_stop():
    assert forward_stop(np.array([0.001, 0.002, 0.9]), 0.05) == 2
    assert forward_stop(np.array([0.9, 0.9]), 0.05) == 0
    assert forward_stop(np.array([0.2, 0.0, 0.0, 0.0, 0.0]), 0.05) == 5  # -log(1-.2)/5 = .0446


def test_sequential_threshold_finds_where_the_tail_begins():
    """Uniform below 1, generalized Pareto above: the sparse body is rejected, the tail is not."""
    rng = np.random.default_rng(20)
    tail = 1.0 + stats.genpareto(0.4, scale=2.0).rvs(700, random_state=rng)
    body = 1.0 - 0.2 * rng.random(900) ** 2
    x = np.concatenate([body, tail])
    rule = SequentialThreshold(thresholds=[0.8, 0.85, 0.9, 0.95, 1.0, 1.2, 1.6, 2.4])
    model = GeneralizedPareto(rule).fit(x)
    assert model.threshold_ == 1.0
    assert model.shape_interval().lower < 0.4 < model.shape_interval().upper
    table = threshold_table(x, rule.thresholds)
    assert table["exceedances"].is_monotonic_decreasing
    assert (table["p_value"].iloc[:4] < 0.001).all()
    beyond = x[x > 1.6] - 1.6
    assert table.loc[1.6, "mean_excess"] == pytest.approx(beyond.mean())
    assert table.loc[1.6, "modified_scale"] == pytest.approx(table.loc[1.6, "scale"] - 1.6 * table.loc[1.6, "shape"])


def test_downward_threshold_stops_at_the_first_rejection():
    """Generalized Pareto but for a gap in the middle."""
    rng = np.random.default_rng(3)
    x = stats.genpareto(0.4, scale=2.0).rvs(1500, random_state=rng)
    x = x[(x < 4.0) | (x > 7.0) | (rng.random(1500) < 0.1)]
    candidates = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 7.0, 8.0]
    table = threshold_table(x, candidates)
    chosen = severity.DownwardThreshold(thresholds=candidates).choose(Sample.of(x, None, None))
    rejected = table.index[table["p_value"] < 0.05]
    assert chosen == min(u for u in candidates if u > rejected.max())


def test_sequential_threshold_says_why_it_cannot():
    with pytest.raises(ModelError, match=r"rejected up to the highest of \d+ candidates"):
        SequentialThreshold().choose(Sample.of(np.tile(np.arange(1.0, 11.0), 100), None, None))
    with pytest.raises(ModelError, match="no threshold can be tested: 20 losses"):
        SequentialThreshold().choose(Sample.of(np.arange(1.0, 21.0), None, None))
    with pytest.raises(ModelError, match="complete, equally weighted losses only"):
        SequentialThreshold().choose(Sample.of(np.arange(1.0, 201.0), None, Observation(limit=100.0)))


def test_best_of_keeps_the_losers():
    x = np.random.default_rng(2).gamma(0.8, 2.0, 1500)
    candidates = [severity.LogNormal(), severity.Gamma(), severity.Empirical(), GeneralizedPareto(3.0)]
    for criterion in (severity.AIC(), severity.BIC(), severity.LogScore(folds=5)):
        model = severity.BestOf(candidates, criterion).fit(x)
        assert isinstance(model.best_, severity.Gamma)
        assert model.scores_["chosen"].tolist() == [False, True, False, False]
        assert model.scores_.loc["LogNormal()", "log_score"] > model.scores_.loc["Gamma()", "log_score"]
        assert "no density for all losses" in model.scores_.loc["Empirical()", "reason"]
        assert model.mean() == model.best_.mean()
    gamma = severity.Gamma().fit(x)
    logpdf = stats.gamma(gamma.shape_, scale=gamma.scale_).logpdf(x).sum()
    assert gamma.aic_ == pytest.approx(4 - 2 * logpdf, rel=1e-10)
    assert gamma.bic_ == pytest.approx(2 * np.log(1500) - 2 * logpdf, rel=1e-10)
    with pytest.raises(ModelError, match=r"no candidate could be scored: Empirical\(\)"):
        severity.BestOf([severity.Empirical()]).fit(x)


def test_a_candidate_that_the_criterion_cannot_judge_is_a_loser():
    """A fold leaves the tail nine excesses: that is a reason, and not the end of the choice."""
    x = np.exp(np.random.default_rng(3).normal(size=105))
    chosen = severity.BestOf(criterion=severity.LogScore()).fit(x)
    assert not isinstance(chosen.best_, severity.Spliced)
    assert "exceed the threshold" in chosen.scores_.loc["Spliced()", "reason"]


@pytest.mark.parametrize(
    ("law", "body"),
    [
        (stats.expon(), severity.Weibull),
        (stats.gamma(0.5), severity.Gamma),
        (stats.weibull_min(0.6), severity.Weibull),
        (stats.lognorm(1.0), severity.LogNormal),
    ],
)
def test_the_body_that_is_not_named_is_the_likeliest(law, body):
    """Losses lighter than lognormal: the mean is theirs, and not a tenth less by a body that they do not have."""
    means = []
    for seed in range(8):
        spliced = severity.Spliced().fit(law.rvs(2000, random_state=seed))
        means.append(spliced.mean() / law.mean())
    assert isinstance(spliced.body_, body)
    assert np.mean(means) == pytest.approx(1.0, abs=4 * law.std() / law.mean() / np.sqrt(8 * 2000) + 0.015)


@pytest.mark.parametrize("marks", [["no"] * 3, [True, np.nan, False], [True, False]])
def test_marks_of_open_claims_are_true_or_false(marks):
    with pytest.raises(DataError, match=r"open_claim is .*, expected True or False, one for each of 3 losses"):
        severity.LogNormal().fit([1.0, 2.0, 3.0], observation=Observation(open_claim=marks))


def pareto_in_two_books(rng, low, high, deductible):
    """Pareto losses of exponent 2, some of them seen only above a deductible."""
    x = np.r_[(1 - rng.random(low)) ** -0.5, deductible * (1 - rng.random(high)) ** -0.5]
    return x, Observation(deductible=np.r_[np.zeros(low), np.full(high, deductible)])


@pytest.mark.slow
def test_losses_above_a_deductible_are_no_evidence_of_how_many_lie_below():
    """The share above the threshold rests on the 100 that are seen from the ground up, not on all 600."""
    rng, shares, told, inside = np.random.default_rng(5), [], [], []
    for _ in range(200):
        x, low = pareto_in_two_books(rng, 100, 500, 2.8)
        law = GeneralizedPareto(3.0).fit(x, observation=low)
        interval = law.var_interval(0.99)
        shares.append(law.exceedance_probability_)
        told.append(law._evidence)
        inside.append(interval.lower <= 10.0 <= interval.upper)
    p = np.mean(shares)
    assert np.std(shares) == pytest.approx(np.sqrt(p * (1 - p) / np.median(told)), rel=0.15)
    assert np.mean(inside) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 200)  # .72 when all were counted


def test_greenwood_s_formula_by_hand():
    """Losses 1, 2+, 3, 4 (2+ still open): S(3) = 3/4 * 1/2, variance S^2 (1/(4*3) + 1/(2*1))."""
    share, number = share_above(
        Sample.of([1.0, 2.0, 3.0, 4.0], None, Observation(open_claim=np.array([False, True, False, False]))), 3.0
    )
    assert share == pytest.approx(3 / 8)
    assert number == pytest.approx((3 / 8) * (5 / 8) / ((3 / 8) ** 2 * (1 / 12 + 1 / 2)))


def test_an_interval_at_the_threshold_s_own_level_is_refused():
    x = (1 - np.random.default_rng(1).random(500)) ** -0.5
    law = GeneralizedPareto(severity.QuantileThreshold(0.9)).fit(x)
    for interval in (law.var_interval, law.expected_shortfall_interval):
        with pytest.raises(ModelError, match=r"level 0.905 is so near .* ask for a level above 0.93\d+, or lower"):
            interval(0.905)
    assert law.var_interval(0.94).lower > law.threshold_
