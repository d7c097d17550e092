"""Self-exciting counts inside the joint model: against thinning event by event, and against differential equations."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

from calibrate import JointLossModel, LossHistory
from calibrate.errors import DataError, ModelError
from calibrate.models import compare, dependence
from calibrate.models.frequency import Hawkes
from calibrate.models.frequency.baseline import Baseline


def thinned(mu, a, b, echo, horizon, rng):
    """Number of events by Ogata's thinning: a step is proposed at the rate of now, and kept with the rate of then."""
    t, excess, count = 0.0, a * b * echo, 0
    while True:
        bound = mu + excess
        step = rng.exponential(1 / bound)
        t, excess = t + step, excess * np.exp(-b * step)
        if t > horizon:
            return count
        if rng.random() * bound < mu + excess:
            count, excess = count + 1, excess + a * b


def burst(base=0.2, end="2023-12-31", members="ABC", seed=3):
    """Four years of clustered events, sizes lognormal."""
    days = (pd.Timestamp(end) - pd.Timestamp("2019-12-31")).days
    times = Hawkes.simulate(base, 0.6, 0.15, horizon=float(days), random_state=seed)
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "date": pd.Timestamp("2020-01-01") + pd.to_timedelta(times, "D"),
            "member": rng.choice(list(members), times.size),
            "loss": rng.lognormal(0, 0.5, times.size),
        }
    )
    return LossHistory.from_events(frame, date="date", member="member", loss="loss", start="2020-01-01", end=end)


@pytest.fixture(scope="module")
def fitted():
    return JointLossModel(frequency=Hawkes()).fit(burst())


def state(model):
    process = model.process_.frequencies[0].process_
    mu, a, b = process.base_rate_, process.branching_ratio_, process.decay_
    echo = sum(np.exp(-b * (process.horizon_ - t)) for t in process.times_)
    return mu, a, b, echo, process


@pytest.mark.parametrize("periods", [1, 3])
def test_counts_ahead_have_the_law_of_the_definition(fitted, periods):
    """4,000 scenarios by thinning, from what is left of the past at the end of 2023; January 2024 has 31 days."""
    mu, a, b, echo, _ = state(fitted)
    days, rng = {1: 31.0, 3: 91.0}[periods], np.random.default_rng(1)
    brute = np.array([thinned(mu, a, b, echo, days, rng) for _ in range(4000)])
    ours = fitted.process_.frequencies[0].totals(40_000, 1.0, periods, np.random.default_rng(2))
    error = brute.std() / np.sqrt(brute.size)
    assert ours.mean() == pytest.approx(brute.mean(), abs=4 * error)
    assert ours.std() == pytest.approx(brute.std(), rel=0.06)
    for share in (0.1, 0.5, 0.9):
        assert np.quantile(ours, share) == pytest.approx(np.quantile(brute, share), abs=1.0)


def test_moments_are_those_of_the_differential_equations(fitted):
    """Moments of (rate, count), integrated numerically from the generator; thinning agrees within its error."""
    mu, a, b, echo, process = state(fitted)

    def flow(_, x):
        rate, rate2, n, cross, _ = x
        jump = a * b
        return [
            b * (mu - rate) + jump * rate,
            2 * b * (mu * rate - rate2) + 2 * jump * rate2 + jump**2 * rate,
            rate,
            b * (mu * n - cross) + rate2 + jump * cross + jump * rate,
            2 * cross + rate,
        ]

    now = mu + a * b * echo
    assert process.intensity_ == pytest.approx(now, rel=1e-12)
    end = solve_ivp(flow, (0, 31.0), [now, now**2, 0, 0, 0], rtol=1e-11, atol=1e-12).y[:, -1]
    assert process.mean_count(31.0) == pytest.approx(end[2], rel=1e-8)
    assert process.count_variance(31.0) == pytest.approx(end[4] - end[2] ** 2, rel=1e-7)
    rng = np.random.default_rng(5)
    brute = np.array([thinned(mu, a, b, echo, 31.0, rng) for _ in range(4000)])
    assert brute.var() == pytest.approx(end[4] - end[2] ** 2, rel=0.1)
    assert brute.var() > 1.5 * brute.mean()  # a Poisson count would not do


def test_losses_have_the_closed_mean_and_periods_remember(fitted):
    one = fitted.sample(100_000, random_state=1).losses
    assert one.mean(axis=0) == pytest.approx(fitted.summary_["expected_loss"].to_numpy(), rel=0.02)
    three = fitted.sample(100_000, random_state=1, periods=3).losses.sum(axis=1)
    share = fitted.process_.frequencies[0].process_.mean_count(91.0) / fitted.summary_["frequency"].sum()
    assert three.mean() == pytest.approx(fitted.summary_["expected_loss"].sum() * share, rel=0.02)
    assert three.var() > 1.2 * 3 * one.sum(axis=1).var()  # months that forget each other would have three times one


def test_same_bytes_whoever_draws(fitted):
    given = fitted.sample(40_000, random_state=2, periods=2).losses
    alone = JointLossModel(frequency=Hawkes(), n_jobs=1).fit(burst()).sample(40_000, random_state=2, periods=2)
    assert np.array_equal(given, alone.losses)
    assert np.array_equal(given, fitted.sample_blocks(40_000, random_state=2, periods=2).losses[np.arange(40_000)])
    assert not np.array_equal(given, fitted.sample(40_000, random_state=3, periods=2).losses)


def test_scenarios_start_where_the_history_ends():
    calm = burst()
    last = pd.DataFrame({"date": pd.date_range("2023-12-25", periods=40, freq="4h"), "member": "A", "loss": 1.0})
    frame = pd.concat([calm.events.drop(columns="segment").assign(date=lambda x: x["date"].dt.tz_localize(None)), last])
    named = {"date": "date", "member": "member", "loss": "loss", "start": "2020-01-01", "end": "2023-12-31"}
    wild = LossHistory.from_events(frame, **named)
    quiet, loud = (JointLossModel(frequency=Hawkes()).fit(one) for one in (calm, wild))
    assert loud.summary_["frequency"].sum() > 1.5 * quiet.summary_["frequency"].sum()
    assert "scenarios start at the end of 2023-12" in loud.flags_[0]
    assert "times what it is in the long run" in loud.flags_[0]


def test_growth_of_exposure_is_no_clustering():
    """A pool ten times larger at the end: at the exposures there is no clustering, without them there seems to be."""
    rng = np.random.default_rng(7)
    edges = np.arange(0, 1201, 30.0)
    levels = np.geomspace(1, 10, edges.size - 1)
    times = np.concatenate(
        [low + 30 * rng.random(rng.poisson(2 * size)) for low, size in zip(edges, levels, strict=False)]
    )
    right = Hawkes().fit(times, end=1200.0, exposure=Baseline.of(edges, levels))
    wrong = Hawkes().fit(times, end=1200.0)
    assert right.branching_ratio_ < 0.1
    assert wrong.branching_ratio_ == pytest.approx(0.99)  # held: the likelihood would have it at one
    assert wrong.log_likelihood_ > wrong.poisson_log_likelihood_ + 20
    assert right.goodness_of_fit_ > 0.05
    at_the_end = levels[-1] / levels.mean()
    assert right.mean_count(30.0, at_the_end) == pytest.approx(2 * levels[-1], rel=0.2)


def test_a_member_counts_by_its_exposure():
    history = burst()
    exposures = {"A": 1.0, "B": 1.0, "C": 2.0}
    frame = history.events.assign(date=lambda x: x["date"].dt.tz_localize(None))
    named = {"date": "date", "member": "member", "loss": "loss", "start": "2020-01-01", "end": "2023-12-31"}
    model = JointLossModel(frequency=Hawkes()).fit(LossHistory.from_events(frame, exposures=exposures, **named))
    left = model.sample(50_000, random_state=1, exposures={"A": 1.0, "B": 1.0, "C": 0.0}).losses
    assert left[:, 2].sum() == 0
    assert (left[:, :2].sum(axis=0) > 0).all()
    assert model.sample(100, random_state=1, exposures=dict.fromkeys("ABC", 0.0)).losses.sum() == 0


def test_faults_are_named():
    history = burst()
    with pytest.raises(ModelError, match="Hawkes brings members together by its own events; leave it out"):
        JointLossModel(frequency=Hawkes(), dependence=dependence.StudentT()).fit(history)
    with pytest.raises(ModelError, match=r"segment 'all': two events have the same time.*resolution"):
        frame = history.events.assign(date=lambda x: x["date"].dt.tz_localize(None).dt.normalize())
        JointLossModel(frequency=Hawkes()).fit(
            LossHistory.from_events(frame, date="date", member="member", loss="loss")
        )
    with pytest.raises(ModelError, match=r"segment 'all': Hawkes: \d+ events; at least 20"):
        JointLossModel(frequency=Hawkes()).fit(history.until("2020-02-29"))
    with pytest.raises(DataError, match="exposure is known from 0 to 10, events from 0 to 40"):
        Hawkes().fit(np.arange(1.0, 31.0), end=40.0, exposure=Baseline.of([0.0, 10.0], [1.0]))
    with pytest.raises(DataError, match="an event at 21 in a period without exposure"):
        Hawkes().fit(np.arange(1.0, 31.0), end=40.0, exposure=Baseline.of([0.0, 20.5, 40.0], [1.0, 0.0]))


def test_comparison_says_what_is_used(fitted):
    table = compare(fitted, burst())
    assert table["chosen"].loc[("clustering", "all", "Hawkes")]
    assert not table["chosen"].loc["frequency"].any()
