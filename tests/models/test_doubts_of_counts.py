"""Far more events than one gamma shock brings: crashes beside a quiet background are told, pools it can say are not."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from calibrate import JointLossModel, LossHistory
from calibrate.models.doubts_of_counts import beyond_flags, count_flags
from calibrate.models.frequency import SharedShock

CRASH = 1 / 30  # chance of a day


def cascades(seed, days, length, members=10):
    """Counts by period of `length` days: a quiet background, and on a day in thirty eighty times as much or more."""
    rng = np.random.default_rng([31, seed])
    shares = rng.gamma(2.0, 0.5, members)
    crash = rng.random(days) < CRASH
    rates = np.where(crash, 4 * rng.gamma(0.7, 1 / 0.7, days), 0.05)[:, None] * shares / shares.mean()
    return rng.poisson(rates).reshape(-1, length, members).sum(axis=1).astype(float)


def said(counts, exposure=1.0):
    model = SharedShock().fit(counts, exposure=exposure)
    return beyond_flags("all", counts.sum(axis=1), model.means_.sum(axis=1), model.size_)


@pytest.mark.parametrize(("days", "length", "least"), [(730, 1, 20), (1456, 7, 19)], ids=["daily", "weekly"])
def test_crashes_that_one_shock_cannot_say_are_told(days, length, least):
    """Of twenty histories, two years of days and four of weeks."""
    assert sum(bool(said(cascades(seed, days, length))) for seed in range(20)) >= least


def test_the_sentence_counts_the_periods_by_the_binomial_law():
    counts = cascades(1, 1456, 7)
    model, weeks = SharedShock().fit(counts), pd.period_range("2020-01-06", periods=208, freq="W")
    (flag,) = [one for one in count_flags(counts[:, :, None], [model], weeks, ["all"]) if "more events than" in one]
    totals, mean, size = counts.sum(axis=1), counts.sum() / 208, model.size_
    law, best = stats.nbinom(size, size / (size + mean)), (1.0, "")
    for chance in (0.05, 0.02, 0.005, 0.001, 0.0002):
        seen, beyond = int((totals > law.isf(chance)).sum()), float(law.sf(law.isf(chance)))
        p_value = 5 * stats.binomtest(seen, 208, beyond, alternative="greater").pvalue
        words = (
            f"segment 'all': {seen} of 208 periods have more events than the shock that members share brings in "
            f"{100 - 100 * chance:g} % of them, and {208 * beyond:.2g} such periods are to be expected (p-value "
            f"{p_value:.2g}): the tail of the pool is understated. "
        )
        best = min(best, (p_value, words))
    assert flag.startswith(best[1])
    assert flag.endswith("give the events of such days a segment of their own, or add such a period by with_stress")


def test_a_model_of_a_history_with_crashes_says_so():
    counts = cascades(4, 1456, 7, members=4)
    week, member = np.nonzero(counts)
    times = counts[week, member].astype(int)
    frame = pd.DataFrame({"week": np.repeat(week, times), "member": np.repeat(member, times)})
    frame["date"] = pd.Timestamp("2020-01-06") + pd.to_timedelta(7 * frame["week"], unit="D")
    frame = frame.assign(loss=np.random.default_rng(3).lognormal(8.0, 1.0, len(frame)), member=frame["member"].map(str))
    history = LossHistory.from_events(
        frame, date="date", member="member", loss="loss", period="W", start="2020-01-06", end="2023-12-31"
    )
    assert any(
        "have more events than the shock that members share" in flag for flag in JointLossModel().fit(history).flags_
    )


@pytest.mark.parametrize("pools", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_pools_that_one_shock_can_say_are_not_told(pools):
    """Of 5 to 104 periods, half an event to 300, shocks of size .1 to 20 or none, that grow or not."""
    found = 0
    for seed in range(pools):
        rng = np.random.default_rng([32, seed])
        periods, mean = rng.choice([5, 8, 20, 60, 104]), rng.choice([0.5, 3, 30, 300])
        size, growth = rng.choice([0.1, 0.5, 2, 20]), rng.choice([0.0, 0.5])
        shock = rng.gamma(size, 1 / size, (periods, 1)) if seed % 5 else 1.0
        exposure = np.exp(growth * np.linspace(0, 1, periods))[:, None] * np.ones(8)
        counts = rng.poisson(mean * rng.dirichlet(np.full(8, 2.0)) * exposure * shock).astype(float)
        found += bool(said(counts, exposure)) if counts.any() else 0
    assert found <= pools / 1000


def test_one_period_however_bad_does_not_tell():
    totals = np.append(np.full(7, 1.0), 400.0)
    assert beyond_flags("all", totals, np.full(8, 1.0), np.inf) == ()
    assert beyond_flags("all", np.append(totals, 400.0), np.full(9, 1.0), np.inf) != ()
