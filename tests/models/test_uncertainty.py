"""Monte Carlo errors, optimism, the bootstrap of the chain, and enriched scenarios, against known truths."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from calibrate import LossHistory, Scenarios, precision
from calibrate.errors import DataError, ModelError
from calibrate.models.enrichment import enriched_scenarios
from calibrate.models.uncertainty import chain_uncertainty, optimality_gap, optimism_ratio, tail_mean

LAWS = {
    "Pareto 2.5": (stats.pareto(2.5), lambda law, level: law.ppf(level) * 2.5 / 1.5),
    "Pareto 4": (stats.pareto(4), lambda law, level: law.ppf(level) * 4 / 3),
    "exponential": (stats.expon(), lambda law, level: law.ppf(level) + 1),
    "normal": (stats.norm(5), lambda law, level: 5 + stats.norm.pdf(stats.norm.ppf(level)) / (1 - level)),
    "lognormal": (
        stats.lognorm(1.5),
        lambda law, level: np.exp(1.125) * stats.norm.cdf(1.5 - stats.norm.ppf(level)) / (1 - level),
    ),
}


DEFAULT = ("Pareto 2.5",)


@pytest.mark.parametrize(
    "law",
    [pytest.param(law, id=name, marks=[] if name in DEFAULT else pytest.mark.slow) for name, law in LAWS.items()],
)
def test_interval_of_a_tail_mean_covers_known_truths(law):
    """500 samples of 20,000 at 95 %: 1,000 tail observations."""
    frozen, shortfall = law
    truth = shortfall(frozen, 0.95)
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(500):
        found = tail_mean(frozen.ppf(rng.random(20_000)), 0.95)
        hits += found.lower <= truth <= found.upper
    assert 0.93 <= hits / 500 <= 0.97


def test_weighted_samples_give_the_same_truth_and_an_honest_interval():
    """Importance sampling: uniforms pushed to the tail, weighted back. Exponential law, CVaR 99 % = 1 + log 100."""
    rng = np.random.default_rng(5)
    hits, errors = 0, []
    for _ in range(300):
        u = rng.random(4000) ** 3  # density of u is u^(-2/3) / 3
        found = tail_mean(-np.log(u), 0.99, probabilities=3 * u ** (2 / 3))
        hits += found.lower <= 1 + np.log(100) <= found.upper
        errors.append(found.standard_error)
    assert 0.92 <= hits / 300 <= 0.98
    plain = tail_mean(rng.exponential(1.0, 4000 * 100), 0.99)
    assert np.mean(errors) < 4 * plain.standard_error  # 4,000 weighted draws do the work of more than 25,000 plain ones


def test_estimate_is_exact_on_small_samples():
    assert tail_mean([0, 1, 2, 3, 4], 0.75).estimate == pytest.approx(3.8)
    twice = tail_mean([0, 1, 1, 2, 3, 4], 0.75, [0.2, 0.1, 0.1, 0.2, 0.2, 0.2])
    assert twice.estimate == pytest.approx(3.8)
    assert tail_mean(np.full(1000, 3.0), 0.99).estimate == 3.0


def test_thin_and_heavy_tails_are_labelled():
    rng = np.random.default_rng(1)
    thin = tail_mean(rng.exponential(1.0, 5000), 0.99)
    assert thin.label.startswith("no interval: 50 effective tail observations, fewer than 100")
    assert np.isnan(thin.lower)
    assert not thin.reliable
    few = np.ones(100_000)
    few[:50] = 1e6  # fifty rows carry nearly all of the weight of the tail
    weighted = tail_mean(rng.exponential(1.0, 100_000), 0.5, few)
    assert weighted.tail_observations < 100
    heavy = tail_mean(rng.pareto(1.6, 200_000), 0.99)
    assert "heavy tail" in heavy.label
    assert heavy.lower < heavy.estimate < heavy.upper
    assert "may not exist (tail index" in tail_mean(rng.pareto(0.8, 200_000), 0.99).label
    assert tail_mean(rng.exponential(1.0, 200_000), 0.99).reliable


@pytest.mark.parametrize("seed", range(6))
def test_a_rare_law_of_a_heavier_tail_is_labelled(seed, monkeypatch):
    """One scenario in 500 is of a law without a variance: among 5,000 losses it hardly shows, the largest tell it."""
    rng = np.random.default_rng(seed)
    losses = rng.exponential(1.0, 100_000)
    rare = rng.random(losses.size) < 0.002
    losses[rare] = 4 * rng.random(rare.sum()) ** -0.9
    found = tail_mean(losses, 0.95)
    assert found.label.startswith("heavy tail") and found.shape > 0.5
    monkeypatch.setattr(precision, "DEEP_LOSSES", losses.size)
    assert tail_mean(losses, 0.95).label == ""


@pytest.mark.parametrize(("exponent", "level", "n"), [(2.0, 0.95, 20_000), (2.5, 0.95, 20_000), (2.5, 0.99, 100_000)])
def test_an_exponent_of_two_is_labelled_and_one_of_two_and_a_half_is_not(exponent, level, n):
    """100 Pareto samples with 1,000 tail observations; only the upper sixth is drawn, the rest counts for nothing."""
    rng, labels, shapes = np.random.default_rng(3), [], []
    for _ in range(100):
        losses = np.zeros(n)
        top = rng.binomial(n, 0.17)
        losses[:top] = (0.17 * rng.random(top)) ** (-1 / exponent)
        found = tail_mean(losses, level)
        labels.append(found.label)
        shapes.append(found.shape)
    named = sum(label.startswith("heavy tail (tail index 0.") for label in labels)
    assert named >= 93 if exponent == 2.0 else named <= 10
    assert np.mean(shapes) == pytest.approx(1 / exponent, abs=0.01)
    if exponent == 2.0:
        assert "90 % at 0.55, 86 % at 0.62" in next(filter(None, labels))


def test_the_index_is_the_maximum_of_the_likelihood():
    """Against scipy's generalized Pareto fit of the same excesses, plain and with repeated losses as weights."""
    x = np.random.default_rng(8).pareto(3.0, 4000)
    excesses = np.sort(x)[-600:] - np.sort(x)[-601]
    expected = stats.genpareto.fit(excesses, floc=0)[0]
    assert tail_mean(x, 0.85).shape == pytest.approx(expected, abs=2e-3)
    twice, weights = np.append(x, x), np.append(np.full(4000, 0.25), np.full(4000, 0.75))
    assert tail_mean(twice, 0.85, weights).shape == pytest.approx(tail_mean(x, 0.85).shape, abs=1e-9)


@pytest.mark.parametrize("power", [-18, 24])
def test_unit_does_not_matter(power):
    x = np.random.default_rng(2).pareto(3.0, 50_000)
    one, other = tail_mean(x, 0.99), tail_mean(x * 10.0**power, 0.99)
    assert other.upper == pytest.approx(one.upper * 10.0**power, rel=1e-9)
    assert other.shape == pytest.approx(one.shape, rel=1e-8)


def test_optimism_and_gap():
    fresh = tail_mean(np.random.default_rng(0).exponential(1.0, 100_000), 0.99)
    ratio = optimism_ratio(5.0, fresh)
    assert ratio["lower"] < 5.605 / 5 < ratio["upper"]
    gap, limit = optimality_gap([10.1, 10.3, 10.2], [10.0, 10.1, 10.1])
    test = stats.ttest_1samp([0.1, 0.2, 0.1], 0).confidence_interval(0.90)  # its upper end is the one-sided 95 % limit
    assert (gap, limit) == (pytest.approx(0.4 / 3), pytest.approx(test.high))
    with pytest.raises(ModelError, match=r"batch 1: the plan \(9\) beats the optimum \(10\) on the same scenarios"):
        optimality_gap([10.0, 9.0], [10.0, 10.0])
    with pytest.raises(ModelError, match="same two or more batches"):
        optimality_gap([1.0], [1.0])
    with pytest.raises(ModelError, match="in-sample CVaR must be a finite amount > 0, got 0"):
        optimism_ratio(0, fresh)


def panel():
    months = pd.period_range("2020-01", periods=60, freq="M")
    losses = pd.DataFrame(np.random.default_rng(0).gamma(4.0, 1.0, (60, 2)), index=months, columns=["A", "B"])
    return LossHistory.from_panel(losses, exposures=losses * 0 + 10.0)


def test_the_two_errors_stand_apart():
    def chain(history, seed):
        noise = np.random.default_rng(seed).normal(0, 0.05)
        return pd.Series({"mean of A": history.losses["A"].mean() + noise})

    table = chain_uncertainty(panel(), chain, replications=300, seeds=40)
    expected = panel().losses["A"].std() / np.sqrt(60)
    assert table.loc["mean of A", "history_error"] == pytest.approx(expected, rel=0.12)
    assert table.loc["mean of A", "monte_carlo_error"] == pytest.approx(0.05, rel=0.35)
    assert table.loc["mean of A", "lower"] < table.loc["mean of A", "estimate"] < table.loc["mean of A", "upper"]
    assert table.loc["mean of A", "failed"] == 0


def test_histories_that_cannot_be_fitted_are_counted_and_too_many_refused():
    def fussy(history, seed):
        if history.losses["A"].iloc[0] > 4.0 and not history.losses.equals(panel().losses):
            raise ModelError("no")
        return pd.Series({"x": 1.0})

    table = chain_uncertainty(panel(), fussy, replications=60, seeds=1)
    assert 0 < table.loc["x", "failed"] < 60

    def hopeless(history, seed):
        if not history.losses.equals(panel().losses):
            raise ModelError("no")
        return pd.Series({"x": 1.0})

    with pytest.raises(ModelError, match="only 0 of 20 resampled histories could be fitted: 60 periods"):
        chain_uncertainty(panel(), hopeless, replications=20, seeds=1)


class Lognormals:
    """Twenty members with a common factor."""

    def sample(self, n, random_state):
        rng = np.random.default_rng(random_state)
        common = rng.standard_normal((n, 1))
        return Scenarios(np.exp(1.2 * (0.6 * common + 0.8 * rng.standard_normal((n, 20)))), currency="EUR")


def test_enriched_scenarios_have_the_error_of_ten_times_as_many():
    level, n = 0.99, 1000
    shortfall = {"plain": [], "enriched": [], "ten times": []}
    means = []
    for seed in range(150):
        rich = enriched_scenarios(Lognormals(), n, random_state=seed)
        assert len(rich) == n
        assert rich.currency == "EUR"
        means.append(rich.probabilities @ rich.member_losses.sum(axis=1))
        draws = {
            "plain": Lognormals().sample(n, seed + 10_000),
            "ten times": Lognormals().sample(10 * n, seed + 20_000),
        }
        for name, scenarios in {"enriched": rich, **draws}.items():
            shortfall[name].append(tail_mean(scenarios.losses.sum(axis=1), level, scenarios.probabilities).estimate)
    variance = {name: np.var(values) for name, values in shortfall.items()}
    assert variance["plain"] / variance["enriched"] > 6  # ten in expectation
    assert variance["enriched"] / variance["ten times"] < 1.5
    truth = np.mean(shortfall["ten times"])
    assert np.mean(shortfall["enriched"]) == pytest.approx(truth, abs=4 * np.sqrt(2 * variance["ten times"] / 150))
    assert np.mean(means) == pytest.approx(20 * np.exp(0.72), abs=4 * np.std(means) / np.sqrt(150))


def test_enrichment_is_reproducible_and_refuses_what_it_cannot_split():
    one, other = (enriched_scenarios(Lognormals(), 500, random_state=3) for _ in range(2))
    assert one.digest == other.digest
    with pytest.raises(ModelError, match="enrichment needs n >= 100"):
        enriched_scenarios(Lognormals(), 10)

    class TwoPoints:
        def sample(self, n, random_state):
            return Scenarios((np.random.default_rng(random_state).random((n, 1)) < 0.3).astype(float))

    rare = enriched_scenarios(TwoPoints(), 400, enrichment=10)
    assert rare.probabilities @ rare.losses[:, 0] == pytest.approx(0.3, abs=0.1)


def test_faults_are_named():
    with pytest.raises(DataError, match="row of finite numbers"):
        tail_mean([1.0, np.nan], 0.9)
    with pytest.raises(DataError, match="one for each loss"):
        tail_mean([1.0, 2.0], 0.9, [1.0])
    with pytest.raises(ModelError, match=r"level must lie in \[0, 1\) and confidence strictly .* got 1\.5"):
        tail_mean([1.0, 2.0], 1.5)


@pytest.mark.parametrize("level", [0.0, 0.3, 0.5, 0.9, 0.99, 0.999, 1 - 1e-9])
@pytest.mark.parametrize("zeros", [0, 700, 1000])
def test_a_quantile_of_equally_likely_losses_is_the_one_of_sorted_losses(level: float, zeros: int) -> None:
    losses = np.random.default_rng(zeros).exponential(1.0, 1000)
    losses[:zeros] = 0.0
    uneven = np.full(1000, 1e-3)
    uneven[0] = np.nextafter(1e-3, 1.0)  # not equal, so that they are sorted
    assert tail_mean(losses, level).var == sorted(losses)[max(math.ceil(level * 1000 - 1e-6) - 1, 0)]
    assert tail_mean(losses, level).var == tail_mean(losses, level, uneven).var
    assert tail_mean(losses, level).estimate == pytest.approx(tail_mean(losses, level, uneven).estimate, rel=1e-9)
