"""What few periods leave open of a model of events: against closed forms, brute force, and pools of known truth."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from calibrate import JointLossModel, LossHistory
from calibrate.models import Coverage, dependence, frequency, sampling, severity
from calibrate.models.frequency.posterior import CountPosterior
from calibrate.models.open_parameters import NODES, _worth
from calibrate.models.process import OrderedMargins
from calibrate.models.shocks import SharedShocks
from calibrate.models.sizes import Seen
from calibrate.models.sizes_again import sizes_again

FILE = Path(__file__).parents[1] / "benchmarks" / "event_years.py"
spec = importlib.util.spec_from_file_location("event_years", FILE)
event_years = importlib.util.module_from_spec(spec)
sys.modules["event_years"] = event_years
spec.loader.exec_module(event_years)

EVEN = (np.arange(2000) + 0.5) / 2000


def pool(seed, years=6, rate=3.0, k=4.0):
    return event_years.pool(np.random.default_rng([7, seed]), years, rate, k)


HISTORY, TRUE = pool(0)


def test_the_level_of_poisson_rates_is_gamma():
    law = CountPosterior.of(np.array([3.0, 0.0, 4.0]), np.array([2.0, 2.0, 3.0]), np.inf, shocked=False)
    levels, sizes = law.at(EVEN, EVEN)
    assert np.isinf(sizes).all()
    np.testing.assert_allclose(levels[50:-50], stats.gamma(7, scale=1 / 7).ppf(EVEN)[50:-50], rtol=5e-3)


def test_the_predictive_count_of_a_poisson_rate_is_negative_binomial():
    """Poisson mixed over the level, against the closed form: size N, the number seen, and mean N / periods."""
    levels, _ = CountPosterior.of(np.full(4, 5.0), np.full(4, 5.0), np.inf, shocked=False).at(EVEN, EVEN)
    n = np.arange(20)
    mixed = stats.poisson.pmf(n[:, None], 5.0 * levels).mean(axis=1)
    np.testing.assert_allclose(mixed, stats.nbinom.pmf(n, 20, 4 / 5), atol=2e-4)


def brute(counts, means, n=400_000):
    """Level, variance and likelihood at points drawn from what is thought before the data."""
    rng = np.random.default_rng(0)
    low = 0.1 / means.mean()
    deviation = rng.uniform(np.sqrt(low), np.sqrt(4.0), n)
    variance = np.where(rng.random(n) < 1 / 3, 0.0, deviation**2)
    level = np.exp(rng.uniform(-3, 3, n))
    value = np.zeros(n)
    with np.errstate(divide="ignore"):
        k = 1 / variance
    for count, mean in zip(counts, means, strict=True):
        m = mean * level
        mixed = np.where(np.isinf(k), 1.0, k)
        shocked = stats.nbinom.logpmf(count, mixed, mixed / (mixed + m))
        value += np.where(np.isinf(k), stats.poisson.logpmf(count, m), shocked)
    return level, variance, np.exp(value)


def test_level_and_shock_are_those_of_brute_force():
    counts, means = np.array([4.0, 19.0, 2.0, 11.0, 30.0, 9.0]), np.full(6, 12.5)
    level, variance, weight = brute(counts, means)
    law = CountPosterior.of(counts, means, 2.0, shocked=True)
    levels, sizes = law.at(EVEN, np.random.default_rng(1).permutation(EVEN))
    assert law.chances[0] == pytest.approx(weight[variance == 0].sum() / weight.sum(), abs=0.02)
    assert (1 / sizes).mean() == pytest.approx(np.average(variance, weights=weight), rel=0.04)
    order = np.argsort(level)
    below = np.cumsum(weight[order]) / weight.sum()
    exact = level[order][np.searchsorted(below, [0.05, 0.5, 0.95])]
    np.testing.assert_allclose(np.quantile(levels, [0.05, 0.5, 0.95]), exact, rtol=0.02)
    fitted = stats.nbinom.pmf(counts, 2.0, 2.0 / 14.5).prod()
    assert law.evidence == pytest.approx(np.log(6 * weight.mean() / fitted), abs=0.05)


def test_counts_that_come_at_once_do_not_leave_the_level_without_bounds():
    """All 12 events in one of 150 cells: a level 10,000 times the fitted one would be as likely as any."""
    hit = np.zeros(150)
    hit[7] = 12.0
    law = CountPosterior.of(hit, np.full(150, 0.08), 0.003, shocked=True)
    levels, sizes = law.at(EVEN, np.random.default_rng(6).permutation(EVEN))
    assert np.median(sizes) < 0.02
    assert np.quantile(np.abs(np.log(levels)), 0.99) < 4.0
    sparse = CountPosterior.of(np.eye(1, 150)[0], np.full(150, 1 / 150), np.inf, shocked=True)
    assert sparse.variances.tolist() == [0.0]


def test_columns_that_one_shock_hits_share_what_is_known_of_it():
    counts = np.random.default_rng(2).poisson(3.0 * np.random.default_rng(3).gamma(2, 0.5, (8, 1)) * np.ones(6))
    model = frequency.SharedShock().fit(counts)
    one = model.posterior(counts)
    other = CountPosterior.of(counts.sum(axis=1), model.means_.sum(axis=1), model.size_, shocked=True)
    np.testing.assert_array_equal(one.chances, other.chances)
    assert one.chances[0] < 0.01
    steady = frequency.Poisson().fit(counts).posterior(counts)
    assert steady.variances.tolist() == [0.0]


def test_rates_of_members_are_a_dirichlet_law_around_their_own():
    counts = np.array([[3.0, 0.0, 8.0], [5.0, 1.0, 6.0], [4.0, 2.0, 9.0]])
    model = frequency.Poisson().fit(counts)
    even = np.random.default_rng(4).permuted(np.tile(EVEN[:, None], 3), axis=0)
    unlike = model.unlike(counts, even)
    rates = model.rate_ * unlike
    np.testing.assert_allclose(rates.sum(axis=1), model.rate_.sum(), rtol=1e-12)
    shapes = model._likeness + counts.sum(axis=0)
    exact = stats.dirichlet(shapes)
    np.testing.assert_allclose((rates / model.rate_.sum()).mean(axis=0), exact.mean(), atol=0.003)
    np.testing.assert_allclose((rates / model.rate_.sum()).var(axis=0), exact.var(), rtol=0.06)
    alone = frequency.Poisson().fit(counts[:, 0])
    np.testing.assert_allclose(alone.unlike(counts[:, :1], EVEN[:, None]), 1.0)
    alike = frequency.Poisson().fit(np.ones((4, 3)))
    np.testing.assert_array_equal(alike.unlike(np.ones((4, 3)), even), 1.0)


def seen(losses, law=None, segments=1):
    segment, owner = np.arange(losses.size) % segments, np.zeros(losses.size, dtype=int)
    names, where = [f"S{g}" for g in range(segments)], (segment, owner, owner)
    return Seen.of(names, losses, *where, np.ones((1, segments)), [law] * segments, owner < 0)


def test_lognormal_sizes_scatter_as_their_estimates_do():
    losses = np.exp(2.0 + 0.8 * stats.norm.ppf((np.arange(50) + 0.5) / 50))
    one = seen(losses, severity.LogNormal())
    laws = [part.law for (part,) in sizes_again(one, one.fit(), 800)]
    locations, deviations = np.array([[law.mu_, law.sigma_] for law in laws]).T
    sigma = one.fit()[0].law.sigma_
    assert locations.mean() == pytest.approx(2.0, abs=0.02)
    assert locations.std() == pytest.approx(sigma / np.sqrt(50), rel=0.1)
    assert deviations.std() == pytest.approx(sigma / np.sqrt(100), rel=0.25)  # of these losses: their own kurtosis
    grid = np.linspace(2, 5, 3001)
    below = stats.norm.cdf((grid[:, None] - locations) / deviations).mean(axis=1)
    student = 2.0 + losses.size**-0.5 * np.sqrt(51) * np.log(losses).std(ddof=1) * stats.t(49).ppf(0.99)
    assert grid[np.searchsorted(below, 0.99)] == pytest.approx(student, abs=0.05)
    order = stats.rankdata([law.mean() for law in laws])
    np.testing.assert_allclose(order, np.arange(1, 801), atol=20)  # by means, but for the farthest tail


@pytest.mark.parametrize("law", [severity.Empirical(), severity.Spliced(), severity.BestOf(), None])
def test_sizes_of_any_family_do_not_depend_on_the_order_of_losses(law):
    losses = stats.genpareto(0.3).rvs(240, random_state=5)
    one, other = seen(losses, law), seen(losses[::-1] * 1024.0, law)
    for (first,), (second,) in zip(*(sizes_again(each, each.fit(), 4) for each in (one, other)), strict=True):
        np.testing.assert_allclose(second.law.isf([0.5, 0.01]), 1024 * first.law.isf([0.5, 0.01]), rtol=1e-6)


def test_means_of_sizes_are_held_and_many_losses_are_known():
    losses = stats.genpareto(0.75).rvs(300, random_state=8)
    one = seen(losses, severity.Spliced())
    fitted = one.fit()
    drawn = [part.law.mean() for (part,) in sizes_again(one, fitted, 64)]
    assert max(drawn) <= 4 * fitted[0].law.mean()
    assert np.std(drawn) > 0.1 * fitted[0].law.mean()
    many = seen(np.exp(np.random.default_rng(9).normal(size=20_000)), severity.LogNormal())
    fitted = many.fit()
    assert sizes_again(many, fitted, 3) == [fitted] * 3


def test_a_form_that_is_borrowed_is_borrowed_again():
    losses = np.exp(np.random.default_rng(10).normal(size=90))
    one = seen(losses, segments=12)
    first, second, *_ = sizes_again(one, one.fit(), 8)
    assert all(part.borrowed for part in first)
    assert len({part.law.sigma_ for part in first}) == 1
    assert first[0].level != second[0].level


def test_dependent_members_are_worth_less():
    rng = np.random.default_rng(11)
    common = rng.gamma(1.0, 1.0, (40, 1))
    model = JointLossModel(
        frequency=frequency.Poisson(), dependence=dependence.Gaussian(), severity=severity.Empirical()
    )
    history = counted(rng.poisson(4.0 * common * np.ones(4)))
    process = model.fit(history).process_.around
    bound = process.dependence.correlation_
    alike = np.ones(4) / np.sqrt(4)  # equal rates, nearly
    assert _worth(process, 0, np.ones(4)) == pytest.approx(1 / (alike @ bound @ alike), rel=0.02)
    assert bound[0, 1] > 0.3


def counted(counts):
    """Events of loss 1 a member and year."""
    year, member = np.nonzero(counts)
    repeated = counts[year, member]
    frame = pd.DataFrame({"date": pd.to_datetime([f"{1950 + t}-06-15" for t in np.repeat(year, repeated)])})
    frame = frame.assign(member=[f"M{i}" for i in np.repeat(member, repeated)], loss=1.0, id=range(len(frame)))
    window = {"start": "1950", "end": str(1949 + len(counts)), "period": "Y"}
    return LossHistory.from_events(frame, date="date", member="member", loss="loss", **window)


@pytest.mark.parametrize("terms", [None, Coverage(retention=0.5, limit=3.0, coinsurance=0.8), Coverage(retention=20.0)])
def test_expected_losses_are_those_of_the_closed_form(terms):
    model = JointLossModel(coverage=terms, exposure_cap=40.0).fit(HISTORY)
    exposures = model.exposures_.to_numpy()
    process = model.process_
    kept = process._kept(exposures)
    found = np.mean([node.margins.thinned(kept).expected_losses(exposures) for node in process.nodes], axis=0)
    np.testing.assert_allclose(found.ravel(), model.summary_["expected_loss"], rtol=1e-12)
    drawn = model.sample(100_000, 1).losses
    error = 5 * drawn.std(axis=0) / np.sqrt(len(drawn))
    assert np.all(np.abs(drawn.mean(axis=0) - model.summary_["expected_loss"]) < error)


def test_all_periods_of_a_scenario_share_their_parameters():
    """Law of total variance: `h` times the variance within a node, `h^2` times that of the nodes' means."""
    model = JointLossModel(severity=severity.LogNormal()).fit(HISTORY)
    process, exposures = model.process_, model.exposures_.to_numpy()
    kept = process._kept(exposures)
    means, variances = [], []
    for node in process.nodes:
        alone = type(node)(node.margins.thinned(kept), node.dependence)
        totals = sampling.draw_losses(alone, 8000, exposures, 3).sum(axis=1)
        means.append(totals.mean())
        variances.append(totals.var())
    exact = 8 * np.mean(variances) + 64 * np.var(means)
    assert model.sample(60_000, 2, periods=8).losses.sum(axis=1).var() == pytest.approx(exact, rel=0.06)
    assert 64 * np.var(means) > 0.3 * exact


def test_the_bytes(monkeypatch):
    monkeypatch.setattr(sampling, "BLOCK", 1024)
    for years in (pool(1)[0], pool(2, rate=10.0, k=2.0)[0]):
        model = JointLossModel(n_jobs=1).fit(years)
        one = model.sample(5000, 9, periods=2).losses
        assert one.tobytes() == JointLossModel(n_jobs=2).fit(years).sample(5000, 9, periods=2).losses.tobytes()
        assert model.sample_blocks(5000, 9, periods=2).digest == model.sample(5000, 9, periods=2).digest
        np.testing.assert_array_equal(one[:2048], model.sample(2048, 9, periods=2).losses)


def test_a_family_that_was_asked_for_is_not_open_and_its_parameters_are():
    steady = JointLossModel(frequency=frequency.Poisson()).fit(HISTORY).process_
    assert len(steady.nodes) == NODES
    assert all(isinstance(node, OrderedMargins) for node in steady.nodes)
    assert all(np.isinf(node.margins.segments[0].frequency.size_) for node in steady.nodes)
    shared = JointLossModel(frequency=frequency.SharedShock()).fit(HISTORY).process_
    assert all(isinstance(node, SharedShocks) for node in shared.nodes)
    assert len({node.margins.segments[0].frequency.size_ for node in shared.nodes}) > 5
    trend = JointLossModel(frequency=frequency.Trend()).fit(HISTORY).process_
    assert len({float(node.margins.segments[0].frequency.mean().sum()) for node in trend.nodes}) == NODES
    remembers = JointLossModel(frequency=frequency.Drifting()).fit(HISTORY)
    assert not hasattr(remembers.process_, "nodes")
    assert any("how large they are is taken as known" in flag for flag in remembers.flags_)


def test_the_choice_of_the_family_is_open_where_the_counts_do_not_make_it():
    def share(history):
        return np.mean([isinstance(node, SharedShocks) for node in JointLossModel().fit(history).process_.nodes])

    assert share(pool(3, years=40, rate=10.0, k=2.0)[0]) == 1.0
    assert 0.2 < share(pool(4, rate=3.0, k=np.inf)[0]) < 0.8


@pytest.mark.slow
def test_long_histories_leave_nearly_nothing_open():
    history, _ = pool(5, years=150, rate=10.0, k=2.0)
    model = JointLossModel(severity=severity.LogNormal()).fit(history)
    known = sampling.draw_losses(model.process_.around, 100_000, model.exposures_.to_numpy(), 1).sum(axis=1)
    drawn = model.sample(100_000, 1).losses.sum(axis=1)
    levels = [0.05, 0.5, 0.95, 0.99]
    np.testing.assert_allclose(np.quantile(drawn, levels), np.quantile(known, levels), rtol=0.05)


def rare(sizes):
    """One member, an event every other month for 50 years, so that months without one tell how many are drawn."""
    rng = np.random.default_rng(21)
    counts = rng.poisson(0.5, 600)
    months = pd.period_range("1990-01", periods=600, freq="M")
    frame = pd.DataFrame({"date": np.repeat(months.to_timestamp() + pd.Timedelta(days=9), counts), "member": "A"})
    frame["loss"], frame["id"] = sizes(rng, len(frame)), range(len(frame))
    columns = {"date": "date", "member": "member", "loss": "loss"}
    return LossHistory.from_events(frame, start="1990-01", end=str(months[-1]), **columns)


@pytest.mark.slow
def test_events_that_are_left_out_for_heavy_sizes_are_said():
    heavy, light = (
        JointLossModel(frequency=frequency.Poisson(), n_jobs=1).fit(rare(sizes))
        for sizes in (lambda rng, n: rng.random(n) ** (-1 / 1.3), lambda rng, n: rng.lognormal(0, 0.7, n))
    )
    (said,) = [flag for flag in heavy.flags_ if "of the events to be expected" in flag]
    none = (heavy.sample(200_000, 1).losses == 0).mean()
    kept = -np.log(none) / heavy.summary_["frequency"].iloc[0]
    assert int(said.split("draw ")[1].split("%")[0]) == pytest.approx(100 * kept, abs=1.5)
    assert kept < 0.9
    assert not any("of the events to be expected" in flag for flag in light.flags_)


def covered(years, rate, k, pools):
    """Share of true years inside the 90 % interval and beyond the 99 % quantile: as drawn, and of the fitted model."""
    found = []
    for seed in range(pools):
        history, true = pool([8, seed], years, rate, k)
        model = JointLossModel(n_jobs=1).fit(history)
        exposures = model.exposures_.to_numpy()
        known = sampling.draw_losses(model.process_.around, 4000, exposures, seed).sum(axis=1)
        for drawn in (model.sample(4000, seed).losses.sum(axis=1), known):
            low, high, far = np.quantile(drawn, [0.05, 0.95, 0.99])
            found.append([((low <= true) & (true <= high)).mean(), (true > far).mean()])
    return np.mean(np.reshape(found, (pools, 2, 2)), axis=0)


@pytest.mark.slow
def test_years_after_six_are_inside_more_often_than_with_known_parameters():
    (inside, far), (known, known_far) = covered(6, 10.0, 2.0, 8)
    assert inside > known + 0.04
    assert far < known_far / 1.5


@pytest.mark.slow
@pytest.mark.parametrize(("years", "rate", "k"), [(12, 3.0, 4.0)])
def test_years_after_are_inside_as_often_as_it_says(years, rate, k):
    (inside, far), _ = covered(years, rate, k, 40)
    assert 0.85 <= inside <= 0.93
    assert far <= 0.025
