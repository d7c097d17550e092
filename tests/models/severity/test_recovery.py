"""Fits find the truth, agree with scipy on the same data, and see through deductibles and limits."""

import numpy as np
import pytest
from scipy import optimize, stats

from calibrate.errors import DataError, ModelError
from calibrate.models import severity
from calibrate.models.severity import Observation

TRUTHS = {
    "LogNormal": (severity.LogNormal(), stats.lognorm(1.3, scale=4.0), {"shape_": 1.3, "scale_": 4.0}),
    "Gamma": (severity.Gamma(), stats.gamma(0.7, scale=3.0), {"shape_": 0.7, "scale_": 3.0}),
    "Weibull": (severity.Weibull(), stats.weibull_min(0.6, scale=2.0), {"shape_": 0.6, "scale_": 2.0}),
    "Burr": (severity.Burr(), stats.burr12(1.5, 1.8, scale=2.0), {"gamma_": 1.5, "alpha_": 1.8, "scale_": 2.0}),
    "Pareto": (severity.Pareto(threshold=2.0), stats.pareto(1.5, scale=2.0), {"alpha_": 1.5}),
    "GeneralizedPareto": (
        severity.GeneralizedPareto(),
        stats.genpareto(0.4, scale=3.0),
        {"shape_": 0.4, "scale_": 3.0},
    ),
    "GeneralizedPareto short": (
        severity.GeneralizedPareto(),
        stats.genpareto(-0.2, scale=3.0),
        {"shape_": -0.2, "scale_": 3.0},
    ),
}
SCHEMES = ("complete", "deductible", "limit", "deductible and limit", "open claims", "many deductibles")
every_truth = pytest.mark.parametrize("truth", TRUTHS.values(), ids=TRUTHS)


def observed(law, scheme, n, rng):
    """n losses on record under a scheme, and the scheme."""
    low, high = (float(law.ppf(q)) for q in (0.25, 0.85))
    deductible = np.zeros(8 * n)
    if "deductible" in scheme:
        deductible = np.full(8 * n, low) if scheme != "many deductibles" else low * rng.random(8 * n)
    x = law.rvs(8 * n, random_state=rng)
    seen = np.flatnonzero(x > deductible)[:n]
    x, deductible = x[seen], deductible[seen]
    limit = high if "limit" in scheme else np.inf
    opened = rng.random(n) < 0.3 if scheme == "open claims" else np.zeros(n, bool)
    so_far = np.where(opened, deductible + (x - deductible) * rng.random(n), x)
    if scheme == "open claims":  # censoring that does not look at the loss: an independent clock
        clock = law.rvs(n, random_state=rng)
        opened = clock < x
        so_far = np.minimum(x, clock)
    return np.minimum(so_far, limit), Observation(deductible=deductible, limit=limit, open_claim=opened)


@every_truth
@pytest.mark.parametrize("scheme", SCHEMES)
def test_recovery_within_four_standard_errors(truth, scheme):
    estimator, law, parameters = truth
    losses, observation = observed(law, scheme, 4000, np.random.default_rng(21))
    model = estimator.fit(losses, observation=observation)
    for name, value in parameters.items():
        error = model.standard_errors_[name.rstrip("_")]
        if not isinstance(estimator, severity.Burr):  # between a deductible and a limit its three parameters blur
            assert 0 < error < 0.5 * max(abs(value), 0.3)
        assert abs(getattr(model, name) - value) < 4 * error


@pytest.mark.parametrize(
    ("estimator", "family"),
    [
        (severity.LogNormal(), stats.lognorm),
        (severity.Gamma(), stats.gamma),
        (severity.Weibull(), stats.weibull_min),
        (severity.Burr(), stats.burr12),
        (severity.GeneralizedPareto(), stats.genpareto),
    ],
)
def test_no_lower_likelihood_than_scipy_with_and_without_censoring(estimator, family):
    rng = np.random.default_rng(8)
    losses = stats.burr12(1.5, 1.8, scale=2.0).rvs(600, random_state=rng)
    theirs = family.fit(losses, floc=0)
    ours = estimator.fit(losses)
    assert ours.log_likelihood_ >= family.logpdf(losses, *theirs).sum() - 1e-7
    limit = float(np.quantile(losses, 0.8))
    cut = stats.CensoredData.right_censored(np.minimum(losses, limit), losses >= limit)
    theirs = family.fit(cut, floc=0)
    frozen = family(*theirs)
    value = frozen.logpdf(losses[losses < limit]).sum() + (losses >= limit).sum() * frozen.logsf(limit)
    ours = estimator.fit(losses, observation=Observation(limit=limit))
    assert ours.log_likelihood_ >= value - 1e-6


@every_truth
def test_law_agrees_with_scipy_function_by_function(truth):
    estimator, law, parameters = truth
    model = estimator.fit(law.rvs(50, random_state=np.random.default_rng(2)) + 1e-9)
    for name, value in parameters.items():
        setattr(model, name, value)
    if hasattr(model, "excesses_"):
        model.endpoint_ = -model.scale_ / model.shape_ if model.shape_ < 0 else np.inf
        model.has_mean_ = True
    if isinstance(model, severity.Pareto):
        model.shape_, model.has_mean_ = 1 / model.alpha_, True
    if isinstance(model, severity.Burr):
        model.has_mean_ = True
    x = law.ppf([0.01, 0.2, 0.5, 0.9, 0.999])
    assert model.cdf(x) == pytest.approx(law.cdf(x), rel=1e-10)
    assert model.sf(x) == pytest.approx(law.sf(x), rel=1e-9)
    assert model.log_density(x) == pytest.approx(law.logpdf(x), rel=1e-9, abs=1e-10)
    assert model.ppf([0.01, 0.2, 0.5, 0.9, 0.999]) == pytest.approx(x, rel=1e-10)
    assert model.mean() == pytest.approx(law.mean(), rel=1e-9)
    tail = law.expect(lambda v: v, lb=law.ppf(0.9), epsabs=0, epsrel=1e-10, limit=2000) / 0.1
    assert model.expected_shortfall(0.9) == pytest.approx(tail, rel=1e-5)


def test_lognormal_and_pareto_have_closed_forms():
    x = np.random.default_rng(4).lognormal(2.0, 0.8, 300)
    model = severity.LogNormal().fit(x)
    assert model.mu_ == pytest.approx(np.log(x).mean(), rel=1e-10)
    assert model.sigma_ == pytest.approx(np.log(x).std(), rel=1e-9)
    assert model.standard_errors_["shape"] == pytest.approx(model.sigma_ / np.sqrt(600), rel=1e-5)
    hill = severity.Pareto(threshold=float(x.min())).fit(x)
    assert hill.alpha_ == pytest.approx(1 / np.log(x / x.min()).mean(), rel=1e-12)


def test_open_claims_below_the_support_of_a_pareto_law_tell_nothing():
    """In closed form: the smallest fully seen loss, and the growth of all above it; by scipy's likelihood as well."""
    rng, shapes = np.random.default_rng(12), []
    for _ in range(40):
        final, clock = stats.pareto(2.2, scale=2.0).rvs(500, random_state=rng), rng.exponential(50.0, 500)
        losses, opened = np.minimum(final, clock), clock < final
        model = severity.Pareto().fit(losses, observation=Observation(open_claim=opened))
        start = losses[~opened].min()
        told = losses[losses > start]
        assert (losses < start).sum() > 5
        assert model.scale_ == start
        assert model.shape_ == pytest.approx(np.log(told / start).sum() / (~opened).sum(), rel=1e-12)
        law = stats.pareto(model.alpha_, scale=start)
        assert model.log_likelihood_ == pytest.approx(
            law.logpdf(losses[~opened]).sum() + law.logsf(losses[opened]).sum(), rel=1e-12
        )
        shapes.append(model.shape_)
    assert abs(np.mean(shapes) - 1 / 2.2) < 2 * np.std(shapes, ddof=1) / len(shapes) ** 0.5  # .451, standard error .003
    with pytest.raises(ModelError, match="Pareto: 3 losses, 0 fully seen, do not spread above 1"):
        severity.Pareto().fit([1.0, 2.0, 4.0], observation=Observation(open_claim=True))


def test_spliced_sees_through_a_deductible_to_the_ground():
    law = stats.lognorm(1.3, scale=4.0)
    rng = np.random.default_rng(6)
    x = law.rvs(60_000, random_state=rng)
    seen = x[x > 2.0]
    u = float(law.ppf(0.9))
    model = severity.Spliced(tail=severity.GeneralizedPareto(u)).fit(seen, observation=Observation(deductible=2.0))
    assert model.exceedance_probability_ == pytest.approx(0.1, abs=0.004)
    assert model.cdf(2.0) == pytest.approx(law.cdf(2.0), abs=0.01)
    assert model.layer_mean(0, 50.0) == pytest.approx(np.minimum(x, 50).mean(), rel=0.02)


TRUNCATED = {
    severity.LogNormal: lambda a, b: stats.lognorm(np.exp(a), scale=np.exp(b)),
    severity.Gamma: lambda a, b: stats.gamma(np.exp(a), scale=np.exp(b)),
    severity.Weibull: lambda a, b: stats.weibull_min(np.exp(a), scale=np.exp(b)),
}


@pytest.mark.parametrize("law", [stats.lomax(2.2, scale=10.0), stats.pareto(1.5), stats.lognorm(1.3)])
@pytest.mark.parametrize("entry", [0.0, 3.0])
def test_the_body_of_a_splice_is_the_likeliest_below_the_threshold(law, entry):
    """`f(x) / (B(u) - B(d))` of the losses below u, maximised by scipy: of three families no other is likelier."""
    x = law.rvs(3000, random_state=np.random.default_rng(1))
    deductible = np.where(np.arange(3000) % 2 == 0, entry * np.median(x), 0.0) / 6
    x, deductible = x[x > deductible], deductible[x > deductible]
    model = severity.Spliced().fit(x, observation=Observation(deductible=deductible))
    u = model.threshold_
    seen, low = x[x <= u], deductible[x <= u]

    def height(body):
        return float((body.logpdf(seen) - np.log(body.cdf(u) - body.cdf(low))).sum())

    found = model.body_
    own = float((found.log_density(seen) - np.log(found.cdf(u) - found.cdf(low))).sum())
    for make in TRUNCATED.values():
        start = [0.0, np.log(np.median(x))]
        best = optimize.minimize(
            lambda t, m=make: -height(m(*t)), start, method="Nelder-Mead", options={"maxiter": 4000}
        )
        assert own > -best.fun - 0.5
    limited = law.rvs(400_000, random_state=np.random.default_rng(2))
    assert model.layer_mean(0.0, u) == pytest.approx(np.minimum(limited, u).mean(), rel=0.03)


def test_intervals_of_a_body_are_where_its_own_likelihood_falls():
    """Twice the fall at each end is the quantile of chi-square, the other parameter found again by scipy."""
    x = stats.lomax(2.2, scale=10.0).rvs(3000, random_state=np.random.default_rng(3))
    model = severity.Spliced(body=severity.Weibull()).fit(x)
    seen = x[x <= model.threshold_]
    body = model.body_

    def height(shape, scale):
        law = stats.weibull_min(shape, scale=scale)
        return float(law.logpdf(seen).sum() - seen.size * law.logcdf(model.threshold_))

    best, ends = height(body.shape_, body.scale_), body.intervals().loc["shape", ["lower", "upper"]]
    for end in ends:
        found = optimize.minimize_scalar(
            lambda t, end=end: -height(end, np.exp(t)), bounds=(0.0, 6.0), method="bounded", options={"xatol": 1e-10}
        )
        assert 2 * (best + found.fun) == pytest.approx(stats.chi2.ppf(0.95, 1), rel=0.02)


def test_deductibles_that_do_not_overlap_are_refused():
    """All losses of the lower deductible are smaller than the higher one: nothing says how many lie beyond."""
    x = np.r_[[1.05, 1.14, 1.55, 2.24], 5 * (1 - np.random.default_rng(0).random(77)) ** -0.5]
    low = Observation(deductible=np.r_[[0.5] * 4, [5.0] * 77])
    for law in (severity.Empirical(), severity.GeneralizedPareto(threshold=6.0)):
        with pytest.raises(DataError, match=r"between 2.24 and 5.\d+ no loss is at risk"):
            law.fit(x, observation=low)


def test_product_limit_is_kaplan_meier():
    """Example 4.1 of Klein and Moeschberger, Survival Analysis (6-MP group: Freireich et al. 1963)."""
    weeks = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    still = [0, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1]
    model = severity.Empirical().fit(weeks, observation=Observation(open_claim=np.array(still, bool)))
    survival = model.sf([6, 7, 10, 13, 16, 22, 23])
    assert np.round(survival, 3).tolist() == [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    late = severity.Empirical().fit([2.0, 3.0, 4.0], observation=Observation(deductible=[0.0, 0.0, 2.5]))
    assert late.sf([2.0, 3.0]) == pytest.approx([0.5, 0.25])


@pytest.mark.parametrize("shape", [0.02, 0.15, 0.7, 3.0, 50.0, 4000.0])
def test_many_gamma_quantiles_are_those_of_scipy(shape):
    model = severity.Gamma().fit([1.0, 2.0, 3.0])
    model.shape_, model.scale_ = shape, 2.0
    few = np.concatenate([np.random.default_rng(0).random(300), [1e-18, 1e-12, 1e-5, 0.5, 1 - 1e-9, 1.0]])
    p = np.concatenate([few, np.full(30_000, 0.5)])
    assert model.isf(p)[: few.size] == pytest.approx(stats.gamma(shape, scale=2.0).isf(few), rel=1e-9)


def test_profile_intervals_of_a_lognormal_are_those_of_the_normal():
    x = np.random.default_rng(3).lognormal(1.0, 0.7, 80)
    found = severity.LogNormal().fit(x).intervals(0.9)
    n, s2 = 80, np.log(x).var()
    reach = np.sqrt(s2 * np.expm1(stats.chi2.ppf(0.9, 1) / n))  # n log(1 + (mean - mu)^2 / s2) <= chi-squared quantile
    assert np.log(found.loc["scale", "upper"]) == pytest.approx(np.log(x).mean() + reach, abs=1e-6)
    assert np.log(found.loc["scale", "lower"]) == pytest.approx(np.log(x).mean() - reach, abs=1e-6)
    for end in ("lower", "upper"):
        ratio = s2 / found.loc["shape", end] ** 2
        assert n * (ratio - 1 - np.log(ratio)) == pytest.approx(stats.chi2.ppf(0.9, 1), rel=1e-5)


@pytest.mark.parametrize(("seed", "unit"), [(70, 1.0), (82, 1e-18), (64, 1e12)])
def test_a_top_that_is_nearly_flat_is_found(seed, unit):
    """Burr losses between a deductible and a limit, hardly told from Weibull: as likely as scipy finds, and no less."""
    law = stats.burr12(1.8, 1.5, scale=2.0)
    rng = np.random.default_rng([20240531, 500, 3, seed])
    low, high = law.ppf([0.25, 0.85])
    x = law.isf(0.75 * rng.random(500))
    ours = severity.Burr().fit(unit * np.minimum(x, high), observation=Observation(unit * low, unit * high))

    def depth(logs):
        other = stats.burr12(np.exp(logs[1]), np.exp(logs[0]), scale=np.exp(logs[2]))
        seen = np.where(x > high, other.logsf(high), other.logpdf(np.minimum(x, high)))
        return -float(seen.sum() - x.size * other.logsf(low))

    found = np.log([ours.alpha_, ours.gamma_, ours.scale_ / unit])
    options = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000, "maxfev": 4000}
    theirs = optimize.minimize(depth, found + 0.3, method="Nelder-Mead", options=options)
    assert depth(found) <= theirs.fun + 1e-9
    np.testing.assert_allclose(found, theirs.x, atol=0.02)  # scipy's search ends where it is flat to its rounding
    assert found[0] > 2.0  # near the Weibull law, which is less likely
    edge = severity.Weibull().fit(unit * np.minimum(x, high), observation=Observation(unit * low, unit * high))
    assert ours.log_likelihood_ > edge.log_likelihood_ + 5e-4
