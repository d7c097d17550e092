"""PoolCalibrator: scikit-learn's contract, fresh scenarios, what it says of its origin."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError

from calibrate import LossHistory, PoolCalibrator, Scenarios, fairness, models, program
from calibrate.errors import DataError, ModelError, ProblemError, RuleConflictError


@pytest.fixture(scope="module")
def history():
    rng = np.random.default_rng(3)
    losses = pd.DataFrame(np.exp(rng.normal(3, 0.3, (12, 4))), columns=list("ABCD"), index=range(2010, 2022))
    return LossHistory.from_panel(losses, exposures=dict.fromkeys("ABCD", 100.0))


@pytest.fixture(scope="module")
def fitted(history):
    return PoolCalibrator(n_scenarios=300, n_out_of_sample=20_000).fit(history)


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
    """`E L = 100 E R` of a lognormal ratio at the pool's level, by numerical integration of its quantiles."""
    ratio = fitted.model_.margins_.ratio
    q = (np.arange(200_000) + 0.5) / 200_000
    exact = ratio.ppf(q[:, None], 100.0).mean(axis=0) * fitted.model_.pool_level_.level_
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
    again = PoolCalibrator(model=model, n_scenarios=300, n_out_of_sample=20_000).fit(history)
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
    for previous in ({"A": 1.0}, "last month", 3, dollars.contributions):
        with pytest.raises(DataError, match=f"previous is a {type(previous).__name__}, expected a Calibration"):
            PoolCalibrator().fit(history, previous=previous)
    with pytest.raises(ProblemError, match=r"waterfall is \[OwnContribution\(\)\], expected a Waterfall"):
        PoolCalibrator(waterfall=[program.OwnContribution()]).fit(history)


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True, np.random.default_rng(0)])
def test_a_seed_is_a_whole_number(history, seed):
    for work in (PoolCalibrator(random_state=seed).fit, PoolCalibrator(random_state=seed).uncertainty):
        with pytest.raises(ProblemError, match=r"random_state is .*, expected a whole number >= 0"):
            work(history)


EVENTS = LossHistory.from_events(
    pd.DataFrame(
        {
            "date": pd.date_range("2020-01-01", periods=90, freq="9D"),
            "member": ["A", "B", "C"] * 30,
            "loss": np.random.default_rng(6).lognormal(0, 1, 90),
        }
    ),
    date="date",
    member="member",
    loss="loss",
)


@pytest.mark.parametrize("copied", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy])
@pytest.mark.parametrize("kind", ["panel", "events"])
def test_a_copy_of_what_was_fitted_draws_and_solves_the_same(kind, copied, fitted):
    one = fitted if kind == "panel" else PoolCalibrator(n_scenarios=200, n_out_of_sample=200).fit(EVENTS)
    again = copied(one)
    assert again.calibration_ == one.calibration_
    assert again.model_.sample(3000, 5).losses.tobytes() == one.model_.sample(3000, 5).losses.tobytes()
    assert again.problem_.solve().contributions.equals(one.problem_.solve().contributions)


def test_a_rule_that_does_not_know_the_members_is_told_before_anything_is_fitted(history):
    rules = [fairness.AbilityToPay({"A": 1.0, "B": 1.0, "C": 1.0}, 0.1)]
    calibrator = PoolCalibrator(subject_to=rules)
    with pytest.raises(ProblemError, match=r"AbilityToPay.*D"):
        calibrator.fit(history)
    assert not hasattr(calibrator, "model_")


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


class Exponentials(BaseEstimator):
    """Two members with exponential losses: one of its scenarios' programs has a closed form."""

    def fit(self, history):
        return self

    def sample(self, n, random_state=None, periods=1):
        return Scenarios(np.random.default_rng(random_state).exponential([1.0, 2.0], (n, 2)), ["A", "B"])


def test_the_optimality_gap_holds_the_true_one():
    """`min q r + price CVaR(S - r)` with `S` the sum: `r` at a quantile, so any plan's true gap is an integral."""
    price, cost, level = 0.2, 0.05, 0.9
    mutual = program.Waterfall((program.PoolReserve(),))
    terms = [program.CostOfCapital(contributions=1.0, reserves=cost), price * program.CVaR(level)]
    calibrator = PoolCalibrator(
        model=Exponentials(), waterfall=mutual, minimise=terms, subject_to=[], n_scenarios=400, n_out_of_sample=500
    )
    calibrator.fit(LossHistory.from_panel(pd.DataFrame({"A": [1.0, 2.0], "B": [2.0, 1.0]}, index=[2020, 2021])))
    found = calibrator.optimality_gap(batches=20)
    world = np.sort(np.random.default_rng(0).exponential([1.0, 2.0], (2_000_000, 2)).sum(axis=1))

    def value(reserve):
        left = np.maximum(world - reserve, 0.0)
        return cost * reserve + price * left[int(level * world.size) :].mean()

    held = float(calibrator.calibration_.reserves["pool"])
    true_gap = value(held) - min(value(reserve) for reserve in np.linspace(0.9, 1.1, 21) * np.quantile(world, 0.975))
    assert -1e-4 < true_gap <= found["upper"]
    assert 0 <= found["estimate"] <= found["upper"] < 0.05 * value(held)
    assert found["share"] == pytest.approx(found["estimate"] / value(held), rel=0.1)
    assert found["batches"] == 20


def test_a_plan_is_valued_on_other_scenarios(fitted, history):
    calibration = fitted.calibration_
    assert fitted.problem_.value(calibration) == pytest.approx(calibration.objective, rel=1e-9)
    other = PoolCalibrator(
        waterfall=program.Waterfall((program.PoolReserve(),)), n_scenarios=100, n_out_of_sample=100
    ).fit(history)
    alone = PoolCalibrator(
        waterfall=program.Waterfall((program.OwnContribution(),)), n_scenarios=100, n_out_of_sample=100
    ).fit(history)
    with pytest.raises(ProblemError, match=r"the plan is for 4 contributions and the reserves \['pool'\], the problem"):
        alone.problem_.value(other.calibration_)


def test_the_origin_tells_of_the_tails():
    frame = pd.DataFrame(
        {
            "date": pd.date_range("2020-01-01", periods=300, freq="3D"),
            "member": ["A", "B"] * 150,
            "loss": np.random.default_rng(5).permutation((1 - (np.arange(300) + 0.5) / 300) ** -1.2),
        }
    )
    history = LossHistory.from_events(frame, date="date", member="member", loss="loss", exposures={"A": 1e4, "B": 2e4})
    heavy = models.severity.Spliced(tail=models.severity.GeneralizedPareto(models.severity.QuantileThreshold(0.5)))
    model = models.JointLossModel(severity=heavy, exposure_cap=0.1)
    calibration = PoolCalibrator(model=model, n_scenarios=300, n_out_of_sample=300).fit(history).calibration_
    tails = calibration.provenance["tails"]
    assert [(row["member"], row["cap"]) for row in tails] == [("A", 1000.0), ("B", 2000.0)]
    assert tails[0]["shape"] == pytest.approx(1.2, abs=0.2)
    assert tails[0]["lower"] < 1.2 < tails[0]["upper"]
    assert "no mean without the cap" in tails[0]["mind"]


def test_progress_is_said_and_what_cannot_be_solved_is_counted(history, caplog):
    small = PoolCalibrator(n_scenarios=60, n_out_of_sample=60)
    with caplog.at_level("INFO", logger="calibrate"):
        table = small.uncertainty(history, replications=2, seeds=1)
    said = [record.message for record in caplog.records if record.name == "calibrate.calibrator"]
    assert said == [f"uncertainty: run {k} of 3" for k in (1, 2, 3)]
    assert set(table.index.get_level_values("number")) == {"contribution", "reserve", "risk"}
    greedy = small.set_params(subject_to=[fairness.FundFloor(100.0), program.Budget(1.0)])
    with pytest.raises(ModelError, match="no plan: "):
        greedy.uncertainty(history, replications=2, seeds=1)


@pytest.mark.parametrize("seed", [1, 3, 6])  # whose samples look harmless: where they do not, they say so themselves
def test_an_interval_is_labelled_by_what_the_model_knows_of_its_tails(seed):
    """Some of the laws that 400 losses allow have no variance, and a sample of them looks harmless all the same."""
    x = 1 + stats.genpareto(0.3, scale=0.5).ppf((np.arange(400) + 0.5) / 400)
    dates = pd.date_range("2020-01-01", periods=400, freq="4D")
    frame = pd.DataFrame({"date": dates, "member": ["A", "B"] * 200, "loss": np.random.default_rng(1).permutation(x)})
    events = LossHistory.from_events(frame, date="date", member="member", loss="loss")
    dear = [program.CostOfCapital(0.3, 0.3), 2 * program.CVaR(0.9, of="mutualised")]
    sizes = {"n_scenarios": 5_000, "n_out_of_sample": 20_000, "random_state": seed}
    plan = PoolCalibrator(minimise=dear, **sizes).fit(events).calibration_
    notes = [note for note in plan.provenance["risk_notes"] if "heavy tail (losses without cap have no" in note]
    assert [note.split(": heavy tail (")[0] for note in notes] == list(plan.risk.index)
    assert sum("models that the history allows, losses" in flag for flag in plan.provenance["model_flags"]) == 1


def test_expected_losses_of_several_periods_are_not_the_next_one_times_their_number():
    """After six busy months the level finds its way back: twelve months ahead are calmer than twelve times the next."""
    rng = np.random.default_rng(3)
    months = pd.period_range("2019-01", periods=60, freq="M")
    counts = {"A": rng.poisson(np.r_[np.full(54, 1.0), np.full(6, 8.0)]), "B": rng.poisson(2.0, 60)}
    rows = [
        (month.start_time + pd.Timedelta(days=k), member, float(rng.lognormal()))
        for member, of in counts.items()
        for month, n in zip(months, of, strict=True)
        for k in range(n)
    ]
    frame = pd.DataFrame(rows, columns=["date", "member", "loss"]).assign(segment=lambda table: table["member"])
    names = {"date": "date", "member": "member", "loss": "loss", "segment": "segment"}
    events = LossHistory.from_events(frame, **names, start="2019-01", end="2023-12")
    model = models.JointLossModel(frequency=models.frequency.Drifting(), severity=models.severity.LogNormal())
    few = {"n_scenarios": 4_000, "n_out_of_sample": 2_000}
    ahead = PoolCalibrator(model=model, periods=12, **few).fit(events)
    members, next_one = ahead.calibration_.members, ahead.model_.summary_["expected_loss"].groupby(level=0).sum()
    assert members.loc["A", "expected_loss"] == pytest.approx(members.loc["A", "sampled_loss"])
    assert members.loc["A", "expected_loss"] < 0.9 * 12 * next_one["A"]
    month = PoolCalibrator(model=model, **few).fit(events).calibration_.members
    assert month["expected_loss"].to_dict() == pytest.approx(next_one.to_dict())


@pytest.mark.parametrize("name", ["minimise", "subject_to"])
def test_what_can_be_read_only_once_is_refused(name, history):
    """Rules from a generator were read by the check, and the plan knew of none."""
    given = {"minimise": iter([program.CVaR(0.9)]), "subject_to": map(fairness.ShareCap, [0.9])}[name]
    with pytest.raises(ProblemError, match=f"{name} is a .*, which is empty once it was read; expected a list"):
        PoolCalibrator(n_scenarios=50, n_out_of_sample=50).set_params(**{name: given}).fit(history)


def test_a_fit_that_fails_leaves_nothing_of_the_one_before(history):
    """Scenarios of the new fit stood beside the plan of the old one, which passed for its own."""
    calibrator = PoolCalibrator(n_scenarios=50, n_out_of_sample=50).fit(history)
    calibrator.set_params(n_scenarios=60, subject_to=[fairness.FundFloor(1e9), program.Budget(1.0)])
    with pytest.raises(RuleConflictError):
        calibrator.fit(history)
    assert len(calibrator.scenarios_) == 60
    assert not hasattr(calibrator, "calibration_")
    with pytest.raises(NotFittedError):
        calibrator.optimality_gap(2)


def test_a_fit_takes_nothing_that_is_not_its_own(history):
    """An attribute that somebody else set, and a parameter of a subclass, may end like a fitted one."""
    calibrator = PoolCalibrator(n_scenarios=50, n_out_of_sample=50)
    calibrator.seen_ = history
    assert calibrator.fit(history).fit(history).seen_ is history
