"""Histories that determine nothing, through the whole chain: each has a stated answer, or a refusal in words."""

import numpy as np
import pandas as pd
import pytest

from calibrate import LossHistory, PoolCalibrator
from calibrate.errors import CalibrateError, DataError, ModelError

MONTHS = pd.period_range("2020-01", periods=36, freq="M")
MEMBERS = ["A", "B", "C"]


def events(amounts, members=None, every=10):
    """One loss every ten days, members in turn unless they are named."""
    n = len(amounts)
    dates = pd.Timestamp("2020-01-05") + pd.to_timedelta(every * np.arange(n), unit="D")
    who = [MEMBERS[i % 3] for i in range(n)] if members is None else members
    frame = pd.DataFrame({"when": dates, "who": who, "usd": amounts})
    exposures = pd.DataFrame(1.0, index=MONTHS, columns=MEMBERS)
    given = {"date": "when", "member": "who", "loss": "usd", "start": "2020-01", "end": "2022-12"}
    return LossHistory.from_events(frame, **given, exposures=exposures)


def panel(table):
    return LossHistory.from_panel(pd.DataFrame(np.asarray(table, dtype=float), index=MONTHS, columns=MEMBERS))


def calibrated(history):
    return PoolCalibrator(n_scenarios=500, n_out_of_sample=20_000).fit(history)


LOSSES = np.random.default_rng(0).lognormal(1.0, 1.0, 90)


def test_four_events_are_answered_and_flagged():
    fitted = calibrated(events([10.0, 200.0, 35.0, 1.0], every=200))
    assert (
        "4 losses are too few for a tail (expected 200); LogNormal, which may understate it" in fitted.model_.flags_[0]
    )
    assert np.isfinite(fitted.calibration_.contributions).all()
    assert fitted.calibration_.provenance["model_flags"] == list(fitted.model_.flags_)


def test_one_event_is_refused():
    with pytest.raises(ModelError, match=r"segment 'all': LogNormal: the 1 losses all equal 10; at least 2 distinct"):
        calibrated(events([10.0]))


def test_equal_events_are_refused_with_a_remedy():
    with pytest.raises(
        ModelError, match=r"the 90 losses all equal 5; .* Use Empirical, or borrow from a larger segment"
    ):
        calibrated(events(np.full(90, 5.0)))


def test_events_of_zero_are_refused():
    with pytest.raises(ModelError, match="no loss in any period, so neither frequency nor severity can be told"):
        calibrated(events(np.zeros(90)))


def test_one_member_with_every_event_pays_nearly_everything():
    fitted = calibrated(events(LOSSES, members=["A"] * 90))
    weights = fitted.calibration_.weights
    assert weights["A"] > 0.9
    assert (weights[["B", "C"]] >= 0).all()
    assert fitted.model_.summary_.loc["B", "expected_loss"].max() > 0  # silence is not proof of no risk


def test_events_piled_up_at_a_limit_are_flagged():
    limit = float(np.quantile(LOSSES, 0.4))
    fitted = calibrated(events(np.minimum(LOSSES, limit)))
    (said,) = [flag for flag in fitted.model_.flags_ if "they look cut off at a limit" in flag]
    assert "54 of 90 losses are exactly the largest" in said


def test_equal_months_are_paid_in_full_and_the_risk_has_no_interval():
    fitted = calibrated(panel(np.full((36, 3), 3.0)))
    assert fitted.calibration_.contributions.sum() + fitted.calibration_.reserves.sum() == pytest.approx(9.0)
    assert fitted.calibration_.risk["upper"].isna().all()
    assert "no loss lies beyond the value at risk" in fitted.calibration_.provenance["risk_notes"][0]


@pytest.mark.parametrize("table", [np.zeros((36, 3)), np.eye(36, 3) * [7.0, 0.0, 0.0]], ids=["all zero", "one loss"])
def test_months_without_losses_are_refused(table):
    with pytest.raises(ModelError, match=r"no member has two positive losses .* the scatter cannot be told; lengthen"):
        calibrated(panel(table))


def test_a_panel_of_one_member_who_loses():
    table = np.zeros((36, 3))
    table[:, 0] = LOSSES[:36]
    weights = calibrated(panel(table)).calibration_.weights
    assert weights["A"] > 0.9


def test_months_at_a_limit_never_understate_it():
    fitted = calibrated(panel(np.minimum(LOSSES.reshape(30, 3)[np.arange(36) % 30], 2.0)))
    assert fitted.calibration_.total >= 3.0
    assert np.isfinite(fitted.calibration_.risk["out_of_sample"]).all()


def test_one_period_is_refused():
    with pytest.raises((ModelError, DataError), match="the history has one period, 2020-01"):
        calibrated(LossHistory.from_panel(pd.DataFrame({"A": [1.0], "B": [2.0]}, index=MONTHS[:1])))


@pytest.mark.parametrize("scale", [1e-18, 1e24])
def test_hopeless_in_other_units_is_the_same_answer_or_the_same_refusal(scale):
    for table in (np.full((36, 3), 3.0), np.zeros((36, 3)), np.minimum(LOSSES.reshape(30, 3)[np.arange(36) % 30], 2.0)):
        answers = []
        for unit in (1.0, scale):
            try:
                answers.append(calibrated(panel(table * unit)).calibration_.total / unit)
            except CalibrateError as refusal:
                answers.append(str(refusal))
        assert answers[1] == (pytest.approx(answers[0], rel=1e-5) if isinstance(answers[0], float) else answers[0])
