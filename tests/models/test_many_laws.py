"""Scenarios of several laws that are drawn together: each has its own law, against closed forms, and none another's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from calibrate import JointLossModel, LossHistory
from calibrate.models import Coverage, frequency, severity
from calibrate.models.collective import Collective, Segment
from calibrate.models.dependence import Gaussian, GroupedT, Independent, StudentT
from calibrate.models.forms import Forms
from calibrate.models.process import OrderedMargins
from calibrate.models.shocks import PartlyShared, SharedShocks
from calibrate.models.sizes import Sizes

MEMBERS, SEGMENTS, LAWS = 3, 2, 3
UNITS = np.array([1.0, 2.0**20, 2.0**40])  # the loss of one event by each law: no law's losses pass for another's
MEANS = np.random.default_rng(0).uniform(0.05, 1.5, (LAWS, MEMBERS, SEGMENTS))
SIZES = np.array([[0.5, np.inf], [3.0, 1.0], [np.inf, 0.2]])  # of the shocks, by law and segment
ONES = np.ones(MEMBERS * SEGMENTS)
ALWAYS_ONE = severity.Empirical().fit([1.0])
PAIR = stats.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]])
SCORES = PAIR.rvs(400, random_state=1) @ np.repeat(np.eye(2), 3, axis=1) + np.random.default_rng(2).normal(
    size=(400, 6)
)


def collective(law, means=MEANS, shocks=SIZES, one=ALWAYS_ONE):
    parts = []
    for g in range(SEGMENTS):
        model = frequency.SharedShock().fit(np.ones((2, MEMBERS)))
        model.rate_, model.size_ = means[law, :, g], shocks[law, g]
        known = np.ones(MEMBERS), np.zeros(MEMBERS), np.ones(MEMBERS)
        sizes = Sizes(f"S{g}", one, UNITS[law], *known, 1, "", Forms.alike(MEMBERS), 1.0)
        parts.append(Segment(model, sizes, np.ones(MEMBERS)))
    return Collective(parts, Coverage().terms(["A", "B", "C"]), None)


def drawn(process, n=90_000, seed=3):
    """Numbers of events (n, columns) and the law of each scenario, drawn into every other row."""
    law = np.random.default_rng(4).integers(LAWS, size=n)
    rows, places = np.zeros((2 * n, ONES.size)), np.arange(1, 2 * n, 2)
    keys = [np.random.SeedSequence(seed, spawn_key=(k,)) for k in range(2)]
    process.among([collective(k) for k in range(LAWS)], ONES)(rows, places, law, keys)
    assert not rows[::2].any()
    return rows[1::2] / UNITS[law][:, None], law


def processes():
    for copula in (Independent(), Gaussian(), StudentT(3.0), GroupedT()):
        yield OrderedMargins(collective(0), copula.fit(SCORES, groups=[0, 1] * MEMBERS))
    yield SharedShocks(collective(0), Gaussian().fit(SCORES[:, 2:4]))
    for copula in (Gaussian(), StudentT(3.0)):  # the shock of the first segment, the members of the second
        yield PartlyShared(collective(0), copula.fit(SCORES[:, [0, 1, 3, 5]]), [0], np.array([1, 3, 5]))


PROCESSES = list(processes())


def name(process):
    return f"{type(process).__name__}, {type(process.dependence).__name__}"


def counted(mean, size):
    return stats.poisson(mean) if np.isinf(size) else stats.nbinom(size, size / (size + mean))


@pytest.mark.parametrize("process", PROCESSES, ids=name)
def test_each_scenario_has_its_own_law(process):
    """Whole numbers below 2^20 of its own unit, distributed as the closed form has it, column by column."""
    counts, law = drawn(process)
    assert np.all(counts == np.round(counts))
    assert counts.max() < 2**20
    for k in range(LAWS):
        own = counts[law == k]
        for column in range(ONES.size):
            i, g = divmod(column, SEGMENTS)
            exact = counted(MEANS[k, i, g], SIZES[k, g])
            for n in range(6):
                chance = exact.cdf(n)
                error = 5 * np.sqrt(chance * (1 - chance) / len(own)) + 1e-9
                assert (own[:, column] <= n).mean() == pytest.approx(chance, abs=error)


def both(process, k, i, j):
    """Chance that two columns have events in the same scenario of law k, by scipy."""
    none = [counted(MEANS[(k, *divmod(column, SEGMENTS))], SIZES[k, column % SEGMENTS]).pmf(0) for column in (i, j)]
    if isinstance(process, SharedShocks) or (isinstance(process, PartlyShared) and i % SEGMENTS == 0):
        # columns of one segment: their sum has the same shock
        total = MEANS[k, i // SEGMENTS, i % SEGMENTS] + MEANS[k, j // SEGMENTS, j % SEGMENTS]
        return 1 - sum(none) + counted(total, SIZES[k, i % SEGMENTS]).pmf(0)
    units = [1 + column // SEGMENTS for column in (i, j)] if isinstance(process, PartlyShared) else [i, j]
    matrix = process.dependence.correlation_[np.ix_(units, units)]
    if isinstance(process.dependence, StudentT):
        law, cut = stats.multivariate_t(shape=matrix, df=3.0), stats.t(3.0).ppf(none)
        return 1 - sum(none) + law.cdf(cut, random_state=0)
    return 1 - sum(none) + stats.multivariate_normal([0, 0], matrix).cdf(stats.norm.ppf(none))


@pytest.mark.parametrize("process", [each for each in PROCESSES if not isinstance(each.dependence, GroupedT)], ids=name)
def test_columns_come_together_by_the_dependence_and_scenarios_do_not(process):
    counts, law = drawn(process)
    for k in range(LAWS):
        own = counts[law == k] > 0
        for i, j in ((0, 2), (0, 4), (1, 5)):
            exact = both(process, k, i, j)
            error = 5 * np.sqrt(exact * (1 - exact) / len(own)) + 1e-4
            assert (own[:, i] & own[:, j]).mean() == pytest.approx(exact, abs=error)


def test_a_shock_and_the_members_of_another_segment_come_together():
    """Events by a gamma shock of score z, and a member whose score is correlated with it: an integral over z."""
    process = PROCESSES[-2]
    counts, law = drawn(process)
    for k in range(LAWS):
        own, size = counts[law == k] > 0, SIZES[k, 0]
        for j in (1, 3, 5):
            correlation = process.dependence.correlation_[0, 1 + j // SEGMENTS]
            mean, none = MEANS[k, 0, 0], counted(MEANS[k, j // SEGMENTS, 1], SIZES[k, 1]).pmf(0)
            apart = np.sqrt(1 - correlation**2)

            def neither(z, mean=mean, size=size, none=none, correlation=correlation, apart=apart):
                shock = 1.0 if np.isinf(size) else stats.gamma(size, scale=1 / size).isf(stats.norm.sf(z))
                below = stats.norm.cdf((stats.norm.ppf(none) - correlation * z) / apart)
                return np.exp(-mean * shock) * below * stats.norm.pdf(z)

            exact = 1 - counted(mean, size).pmf(0) - none + integrate.quad(neither, -8, 8, limit=200)[0]
            error = 5 * np.sqrt(exact * (1 - exact) / len(own)) + 1e-4
            assert (own[:, 0] & own[:, j]).mean() == pytest.approx(exact, abs=error)
            assert abs(exact - own[:, 0].mean() * own[:, j].mean()) > error or np.isinf(size)


def standard(counts, law):
    """Whether columns have events, less the mean of the scenario's law, over its deviation."""
    found = np.empty_like(counts)
    for k in range(LAWS):
        found[law == k] = stats.zscore(counts[law == k] > 0, axis=0)
    return found


@pytest.mark.parametrize("process", PROCESSES, ids=name)
def test_scenarios_know_nothing_of_each_other(process):
    """Neither neighbours, nor the first, second, ... scenario of one law and of another; nor those of another seed."""
    counts, law = drawn(process)
    z = standard(counts, law)
    parts = [z[law == k] for k in range(LAWS)]
    pairs = [(z[:-1], z[1:]), (z, np.roll(z, len(z) // 2, axis=0)), (z, standard(*drawn(process, seed=5)))]
    pairs += [(parts[a], parts[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    for first, second in pairs:
        n = min(len(first), len(second))
        assert np.abs(first[:n].T @ second[:n] / n).max() < 5.5 / np.sqrt(n)


def half_shared(collective, copula):
    """The first segment has a shock."""
    return PartlyShared(collective, copula, [0], np.arange(1, ONES.size, SEGMENTS))


@pytest.mark.parametrize(("kind", "units"), [(OrderedMargins, 6), (SharedShocks, SEGMENTS), (half_shared, 1 + MEMBERS)])
def test_sums_over_scenarios_of_one_law_are_poisson_and_know_nothing_of_another_law(kind, units):
    """Without shocks and copula: the further events of a scenario, too, are drawn afresh for every law and block."""
    steady = np.full_like(SIZES, np.inf)
    laws = [collective(0, 8 * MEANS, steady)] * LAWS
    copula = Independent().fit(SCORES[:, :units])
    step, each, blocks = kind(laws[0], copula).among(laws, ONES), 50, 400
    totals = np.empty((blocks, LAWS))
    for block in range(blocks):
        rows = np.zeros((LAWS * each, ONES.size))
        keys = [np.random.SeedSequence(block, spawn_key=(k,)) for k in range(2)]
        step(rows, np.arange(len(rows)), np.repeat(np.arange(LAWS), each), keys)
        totals[block] = rows.reshape(LAWS, -1).sum(axis=1)
    exact = each * 8 * MEANS[0].sum()
    np.testing.assert_allclose(totals.mean(axis=0), exact, atol=5 * np.sqrt(exact / blocks))
    np.testing.assert_allclose(totals.var(axis=0), exact, rtol=5 * np.sqrt(2 / blocks))
    assert np.abs(np.corrcoef(totals.T)[np.triu_indices(LAWS, 1)]).max() < 5 / np.sqrt(blocks)


@pytest.mark.parametrize("copula", [Gaussian(), StudentT(3.0)], ids=lambda c: type(c).__name__)
def test_sums_of_each_law_are_in_the_order_of_the_scores(copula):
    """Many events a scenario, of sizes that scatter: joint exceedances of sums are those of the copula, by scipy."""
    sizes = severity.LogNormal().fit(np.exp(np.random.default_rng(8).normal(size=500)))
    laws = [collective(k, 8 * MEANS, SIZES, sizes) for k in range(LAWS)]
    law, rows = np.random.default_rng(9).integers(LAWS, size=90_000), np.zeros((90_000, ONES.size))
    process = OrderedMargins(laws[0], copula.fit(SCORES))
    process.among(laws, ONES)(rows, np.arange(len(rows)), law, np.random.SeedSequence(10).spawn(2))
    for k in range(LAWS):
        own = rows[law == k]
        for i, j in ((0, 2), (1, 5)):
            matrix = copula.correlation_[np.ix_([i, j], [i, j])]
            joint = stats.multivariate_normal([0, 0], matrix)
            if isinstance(copula, StudentT):
                joint = stats.multivariate_t(shape=matrix, df=3.0)
            for q in (0.2, 0.02):
                cut = stats.t(3.0).ppf(q) if isinstance(copula, StudentT) else stats.norm.ppf(q)
                exact = float(joint.cdf(np.full(2, cut)))
                both = (own[:, [i, j]] > np.quantile(own[:, [i, j]], 1 - q, axis=0)).all(axis=1).mean()
                assert both == pytest.approx(exact, abs=5 * np.sqrt(exact / len(own)))


def history():
    rng = np.random.default_rng(6)
    counts = rng.poisson(0.5 * rng.gamma(2.0, 0.5, (8, 1)) * np.ones(4))
    year, member = np.nonzero(counts)
    repeated = counts[year, member]
    frame = pd.DataFrame({"date": pd.to_datetime([f"{2000 + t}-06-15" for t in np.repeat(year, repeated)])})
    frame = frame.assign(member=[f"M{i}" for i in np.repeat(member, repeated)], id=range(len(frame)))
    frame["loss"] = np.exp(rng.normal(0, 1, len(frame)))
    window = {"start": "2000", "end": "2007", "period": "Y"}
    return LossHistory.from_events(frame, date="date", member="member", loss="loss", **window)


def quiet(node, margins, exposures):
    """Chance that a law has no event in a period, by scipy."""
    means, size = margins.means(exposures)[:, 0], margins.segments[0].frequency.size_
    if isinstance(node, SharedShocks):
        return counted(means.sum(), size).pmf(0)
    alone = [counted(m, size).pmf(0) for m in means]
    if isinstance(node.dependence, Independent):
        return np.prod(alone)
    v = node.dependence.degrees_of_freedom_
    law = stats.multivariate_t(shape=node.dependence.correlation_, df=v)
    return law.cdf(stats.t(v).ppf(alone), random_state=0)


@pytest.mark.parametrize(
    ("family", "copula"), [(frequency.SharedShock(), None), (frequency.Poisson(), Independent()), (None, None)]
)
@pytest.mark.slow
def test_quiet_scenarios_are_as_many_as_the_mixture_of_the_laws_has(family, copula):
    """`P(nothing in h periods) = mean over the laws of p^h`: all periods of a scenario by one law, all laws alike."""
    model = JointLossModel(severity=severity.LogNormal(), frequency=family, dependence=copula).fit(history())
    process, exposures = model.process_, model.exposures_.to_numpy()
    kept = process._kept(exposures)
    chances = np.array([quiet(node, node.margins.thinned(kept), exposures) for node in process.nodes])
    assert len({type(node) for node in process.nodes}) == (2 if family is None else 1)
    assert chances.std() > 0.05  # laws that differ
    for periods in (1, 2, 4):
        exact = np.mean(chances**periods)
        totals = model.sample(200_000, 7, periods=periods).losses.sum(axis=1)
        error = 5 * np.sqrt(exact * (1 - exact) / totals.size)
        assert (totals == 0).mean() == pytest.approx(exact, abs=error + 5e-4)
    assert exact > np.mean(chances) ** 4 + error
