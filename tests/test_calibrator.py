"""PoolCalibrator: scikit-learn's contract, fresh scenarios, what it says of its origin."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from calibrate import LossHistory, PoolCalibrator, Scenarios, fairness, models, program
from calibrate.errors import DataError, ProblemError


@pytest.fixture(scope="module")
def history():
    rng = np.random.default_rng(3)
    losses = pd.DataFrame(np.exp(rng.normal(3, 0.3, (12, 4))), columns=list("ABCD"), index=range(2010, 2022))
    return LossHistory.from_panel(losses, exposures=dict.fromkeys("ABCD", 100.0))


@pytest.fixture(scope="module")
def fitted(history):
    return PoolCalibrator(n_scenarios=300, n_out_of_sample=12_000).fit(history)


def test_the_constructor_only_stores():
    rules = [fairness.ShareCap(0.4)]
    calibrator = PoolCalibrator(subject_to=rules, n_scenarios=-1)
    assert calibrator.subject_to is rules
    assert calibrator.get_params()["n_scenarios"] == -1
    assert clone(calibrator).get_params()["n_scenarios"] == -1
    assert calibrator.set_params(n_scenarios=5).n_scenarios == 5


def test_the_defaults_calibrate(fitted):
    calibration = fitted.calibration_
    assert calibration.weights.sum() == pytest.approx(1)
    assert np.isfinite(
        calibration.risk.loc["CVaR 99% of mutualised", ["out_of_sample", "lower", "upper"]].to_numpy()
    ).all()
    assert list(calibration.fairness.index) == ["ActuarialFairness(band=0.25)"]
    assert calibration.members["exposure"].to_dict() == dict.fromkeys("ABCD", 100.0)


def test_expected_losses_are_those_of_the_law_and_not_of_a_sample(history, fitted):
    """`E L = 100 E R` of a lognormal ratio, by numerical integration of its quantiles."""
    ratio = fitted.model_.margins_.ratio
    q = (np.arange(200_000) + 0.5) / 200_000
    exact = ratio.ppf(q[:, None], 100.0).mean(axis=0)
    members = fitted.calibration_.members
    assert members["expected_loss"].to_numpy() == pytest.approx(exact, rel=1e-4)
    assert members["sampled_loss"].to_numpy() == pytest.approx(fitted.scenarios_.losses.mean(axis=0))
    assert members["sampled_loss"].to_numpy() != pytest.approx(exact, rel=1e-4)
    year = PoolCalibrator(n_scenarios=300, n_out_of_sample=500, periods=12).fit(history).calibration_.members
    assert year["expected_loss"].to_numpy() == pytest.approx(12 * exact, rel=1e-4)


def test_a_mutual_needs_no_other_objective(history):
    mutual = program.Waterfall((program.PoolReserve(),))
    risk = PoolCalibrator(waterfall=mutual, n_scenarios=100, n_out_of_sample=100).fit(history).calibration_.risk
    assert list(risk.index) == ["CVaR 99% of shortfall", "expected loss of shortfall"]


def test_the_seed_decides_and_the_caller_s_model_is_left_alone(history, fitted):
    model = models.JointLossModel()
    again = PoolCalibrator(model=model, n_scenarios=300, n_out_of_sample=12_000).fit(history)
    np.testing.assert_array_equal(again.scenarios_.losses, fitted.scenarios_.losses)
    pd.testing.assert_series_equal(again.calibration_.contributions, fitted.calibration_.contributions)
    assert not hasattr(model, "margins_")
    other = PoolCalibrator(n_scenarios=300, n_out_of_sample=500, random_state=1).fit(history)
    assert not np.array_equal(other.scenarios_.losses, fitted.scenarios_.losses)


def test_out_of_sample_is_a_fresh_stream(history):
    """No fresh scenario was optimised on, and how many there are does not change what was."""
    drawn = []

    class Recorder(models.JointLossModel):
        def sample(self, *arguments, **named):
            drawn.append(super().sample(*arguments, **named))
            return drawn[-1]

    PoolCalibrator(model=Recorder(), n_scenarios=100, n_out_of_sample=200).fit(history)
    inside, fresh = (scenarios.losses for scenarios in drawn)
    assert inside.shape == (100, 4)
    assert fresh.shape == (200, 4)
    assert not set(map(tuple, inside)) & set(map(tuple, fresh))
    PoolCalibrator(model=Recorder(), n_scenarios=100, n_out_of_sample=400).fit(history)
    np.testing.assert_array_equal(drawn[2].losses, inside)


def test_any_loss_model_will_do(history):
    class Fixed:
        def get_params(self, deep=False):
            return {}

        def fit(self, history):
            return self

        def sample(self, n, random_state, periods=1):
            losses = np.random.default_rng(random_state).exponential(10.0, (n, 4))
            return Scenarios(losses, members=list("ABCD"))

    calibration = PoolCalibrator(model=Fixed(), n_scenarios=50, n_out_of_sample=50).fit(history).calibration_
    assert set(calibration.contributions.index) == set("ABCD")


def test_among_optimal_plans_the_one_closest_to_the_previous_is_chosen(history):
    mutual = program.Waterfall((program.PoolReserve(),))  # who pays does not matter here: all ties
    settings = {"waterfall": mutual, "n_scenarios": 200, "n_out_of_sample": 200}
    steep = PoolCalibrator(**settings, subject_to=[fairness.ShareCap(0.27)]).fit(history).calibration_
    free = PoolCalibrator(**settings, subject_to=[]).fit(history, previous=steep).calibration_
    np.testing.assert_allclose(free.weights, steep.weights, rtol=1e-3)


def test_origin_is_told(history, fitted):
    origin = fitted.calibration_.provenance
    assert origin["history"]["sha256"] == history.digest
    assert origin["seed"] == 0
    assert "JointLossModel" in origin["model"]
    assert origin["scenarios"]["count"] == 300
    assert {"python", "numpy", "cvxpy", "calibrate"} <= set(origin["versions"])


def test_wrong_arguments_are_named(history):
    with pytest.raises(ProblemError, match="n_scenarios is 0, expected a whole number >= 1"):
        PoolCalibrator(n_scenarios=0).fit(history)
    with pytest.raises(DataError, match="history is a DataFrame, expected a LossHistory"):
        PoolCalibrator().fit(history.losses)
    euro = LossHistory.from_panel(history.losses, currency="EUR")
    dollars = PoolCalibrator(n_scenarios=50, n_out_of_sample=50).fit(history).calibration_
    with pytest.raises(DataError, match="previous calibration is in USD, the history in EUR"):
        PoolCalibrator().fit(euro, previous=dollars)


def test_what_the_history_leaves_open_is_told_apart_from_the_simulation(history):
    """Against the textbook: the mean of 12 yearly losses has a standard error of sd / sqrt(12)."""
    mutual = program.Waterfall((program.PoolReserve(),))
    calibrator = PoolCalibrator(
        waterfall=mutual,
        minimise=[program.CostOfCapital(0.1, 0.2), program.ExpectedLoss()],
        n_scenarios=400,
        n_out_of_sample=400,
    )
    table = calibrator.uncertainty(history, replications=12, seeds=3)
    assert set(table.index.get_level_values("number")) == {"contribution", "reserve", "risk"}
    total = table.loc["contribution"]
    assert (total["history_error"] > 0).all()
    assert (total["lower"] <= total["upper"]).all()
    textbook = history.losses.std().mean() / np.sqrt(12)
    assert 0.3 * textbook < total["history_error"].mean() < 3 * textbook
    published = calibrator.fit(history).calibration_.members["contribution"]
    assert total["estimate"].to_dict() == published.to_dict()
