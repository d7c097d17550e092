"""Losses of which only a bound is known, by policy limits and open claims: against truths, and against own algebra."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from calibrate import JointLossModel, LossHistory, models
from calibrate.errors import DataError, ModelError
from calibrate.models import Coverage, frequency, severity
from calibrate.models.scales import completed, scales_of

NAMED = {"date": "date", "member": "member", "loss": "loss", "period": "Y"}


LOMAX = stats.lomax(2.5, scale=20.0)


def pool(seed, limits, members=12, years=10, rate=6.0, law=LOMAX):
    """Events of known members and sizes, cut at the limit of their member; the column `capped` says which."""
    rng = np.random.default_rng([5, seed])
    counts = rng.poisson(rate, (years, members))
    year, member = (np.repeat(place, counts[np.nonzero(counts)]) for place in np.nonzero(counts))
    loss, limit = law.rvs(year.size, random_state=rng), np.asarray(limits)[member % len(limits)]
    frame = pd.DataFrame({"date": pd.to_datetime([f"{2010 + t}-06-15" for t in year]), "id": range(year.size)})
    return frame.assign(
        member=[f"M{i}" for i in member], loss=np.minimum(loss, limit), capped=loss >= limit, whole=loss, year=year
    )


def history(frame, **more):
    return LossHistory.from_events(frame, **NAMED, start=2010, end=2019, **more)


LIMITS = [
    [25.0, 50.0, 100.0],
    *(pytest.param(one, marks=pytest.mark.slow) for one in ([150.0], [50.0, 100.0, 200.0, 400.0])),
]


@pytest.mark.slow
@pytest.mark.parametrize("limits", LIMITS)
def test_limits_that_are_said_do_not_lower_the_tail(limits):
    """Expected losses against the truth, and the pool's quantile against that of a fit to the whole losses."""
    found = []
    true = 72 * np.minimum(LOMAX.rvs(10**6, random_state=1), 500.0).mean()
    model = JointLossModel(coverage=Coverage(limit=500.0), frequency=frequency.Poisson())
    for seed in range(6):
        frame = pool(seed, limits)
        told, silent = history(frame, at_least="capped"), history(frame)
        for seen in (told, silent, history(frame.assign(loss=frame["whole"]))):
            fitted = model.fit(seen)
            far = np.quantile(fitted.sample(20_000, 1).losses.sum(axis=1), 0.99)
            found.append([fitted.summary_["expected_loss"].sum() / true, far])
    by_pool = np.reshape(found, (6, 3, 2))
    (said, far), (silent, near), (whole, quantile) = by_pool.mean(axis=0)
    error, _, least = by_pool[:, :, 0].std(axis=0, ddof=1) / np.sqrt(6)
    assert said == pytest.approx(1.0, abs=3 * error)
    assert whole == pytest.approx(1.0, abs=3 * least)
    assert error < 0.05  # so that this says something
    assert far == pytest.approx(quantile, rel=0.15)
    assert silent < said
    assert near < far


def test_members_of_low_limits_are_not_small():
    """Half of the members have limits at the median: their scales are those of the others."""
    frame = pool(0, [12.0, 1e9], law=stats.lognorm(1.0, scale=12.0))
    model = JointLossModel(severity=severity.LogNormal()).fit(history(frame, at_least="capped"))
    scale = model.margins_.segments[0].sizes.relative
    low, high = scale[::2].mean(), scale[1::2].mean()
    assert low == pytest.approx(high, rel=0.1)
    assert model.margins_.segments[0].sizes.law.sigma_ == pytest.approx(1.0, abs=0.1)
    assert any("losses are known only to be at least as large as they are" in flag for flag in model.flags_)


def test_expected_logs_are_those_of_tobits_model():
    """One member: mean and deviation by scipy's maximum of the censored normal likelihood."""
    rng = np.random.default_rng(3)
    logs = rng.normal(1.0, 2.0, 400)
    bound = logs > 1.5
    logs = np.minimum(logs, 1.5)

    def minus(t):
        law = stats.norm(t[0], np.exp(t[1]))
        return -law.logpdf(logs[~bound]).sum() - law.logsf(logs[bound]).sum()

    mean, log_deviation = optimize.minimize(minus, [0.0, 0.0], method="Nelder-Mead").x
    found = completed("all", logs, bound, np.zeros(400, dtype=int), np.zeros(1))
    assert found.mean() == pytest.approx(mean, abs=0.01)
    z = (1.5 - mean) / np.exp(log_deviation)
    assert found[bound][0] == pytest.approx(
        mean + np.exp(log_deviation) * stats.norm.pdf(z) / stats.norm.sf(z), abs=0.02
    )
    assert (found[~bound] == logs[~bound]).all()
    assert scales_of(found, np.zeros(400, dtype=int), np.zeros(1)).median.tolist() == [1.0]


def test_bounds_are_kept_and_checked():
    frame = pool(1, [50.0])
    told = history(frame, at_least="capped")
    assert told.events["at_least"].sum() == frame["capped"].sum()
    assert told.digest != history(frame).digest
    assert "at_least" not in history(frame).events
    again = models.resampling.resampling_of(JointLossModel(severity=severity.LogNormal()).fit(told), told)
    drawn = again(told, np.random.default_rng(0))
    assert (drawn.events["at_least"] == (drawn.events["loss"] >= drawn.events["loss"].max())).all()
    assert told.until("2014").events["at_least"].sum() == frame["capped"][frame["year"] <= 4].sum()
    wrong = frame.assign(capped=frame["capped"].astype(object))
    wrong.loc[3, "capped"] = "perhaps"
    with pytest.raises(DataError, match="row 3, column 'capped': at_least is 'perhaps', expected True or False"):
        history(wrong, at_least="capped")
    texts = frame.assign(capped=frame["capped"].map({True: "true", False: "FALSE"}))
    assert history(texts, at_least="capped").digest == told.digest
    with pytest.raises(ModelError, match=r"all 7\d\d losses are known only to be at least as large as they are"):
        JointLossModel().fit(history(frame.assign(capped=True), at_least="capped"))


def test_two_events_may_differ_in_nothing_but_the_mark():
    """One of two losses of the same amount reached the limit of its policy: no row is told twice."""
    rows = [("2012-06-15", "A", 50.0, True), ("2012-06-15", "A", 50.0, False), ("2014-01-01", "B", 7.0, False)]
    frame = pd.DataFrame(rows, columns=["date", "member", "loss", "capped"])
    assert history(frame, at_least="capped").events["at_least"].tolist() == [True, False, False]
    with pytest.raises(DataError, match="row 1 repeats row 0"):
        history(frame.assign(capped=True), at_least="capped")


def test_candidates_are_compared_as_the_losses_were_seen():
    """AIC of the lognormal law, by scipy, of losses at the members' scales."""
    told = history(pool(2, [30.0], members=1, rate=60.0), at_least="capped")
    model = JointLossModel(severity=severity.LogNormal(), pool_level=models.pool_level.KnownLevel()).fit(told)
    table = models.compare(model, told)
    events = told.events

    def minus(t):
        law = stats.lognorm(np.exp(t[0]), scale=np.exp(t[1]))
        bound = events["at_least"]
        return -law.logpdf(events["loss"][~bound]).sum() - law.logsf(events["loss"][bound]).sum()

    best = optimize.minimize(minus, [0.0, 3.0], method="Nelder-Mead").fun
    assert table.loc[("severity", "all", "LogNormal()"), "aic"] == pytest.approx(4 + 2 * best, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("limits", [[150.0], [25.0, 50.0, 100.0], [50.0, 100.0, 200.0, 400.0]])
def test_limits_that_are_not_said_are_seen(limits):
    """A few dozen of 700 losses at the limits of their members, and none where there are no limits."""
    for seed in range(2):
        frame = pool(seed, limits)
        told = [flag for flag in JointLossModel().fit(history(frame)).flags_ if "look cut off at a limit" in flag]
        cut = frame[frame["capped"]]
        ties, top = cut.groupby("member")["loss"].transform("size"), cut["loss"] == frame["loss"].max()
        expected = ((ties >= 3) | (top & (top.sum() >= 3))).sum()
        assert len(told) == (expected >= 3)
        assert not told or f"{expected} of {len(frame)} losses are exactly the largest" in told[0]
        whole = JointLossModel().fit(history(frame.assign(loss=frame["whole"]))).flags_
        assert not any("look cut off" in flag for flag in whole)


def test_losses_in_round_numbers_look_cut_off_nowhere():
    frame = pool(3, [1e9])
    frame["loss"] = np.ceil(frame["whole"] / 10) * 10
    assert not any("look cut off" in flag for flag in JointLossModel().fit(history(frame)).flags_)
