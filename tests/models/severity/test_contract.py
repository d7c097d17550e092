"""Every severity sits the same exam: scikit-learn's contract, units, weights, derived quantities, and hopeless data."""

import itertools
import math
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats
from scipy.integrate import quad
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks

from calibrate.errors import DataError, ModelError
from calibrate.models import severity
from calibrate.models.severity import Observation

LOSSES = np.random.default_rng(11).lognormal(1.0, 1.2, 400)
U = float(np.quantile(LOSSES, 0.8))


def tail(threshold):
    return severity.GeneralizedPareto(threshold=threshold)


# each maker takes the unit, so that thresholds are in the unit of the data
MAKERS = {
    "LogNormal": lambda unit: severity.LogNormal(),
    "Gamma": lambda unit: severity.Gamma(),
    "Weibull": lambda unit: severity.Weibull(),
    "Burr": lambda unit: severity.Burr(),
    "Pareto": lambda unit: severity.Pareto(),
    "Empirical": lambda unit: severity.Empirical(),
    "GeneralizedPareto": lambda unit: tail(0.0),
    "GeneralizedPareto above U": lambda unit: tail(U * unit),
    "GeneralizedPareto by quantile": lambda unit: tail(severity.QuantileThreshold(0.8)),
    "GeneralizedPareto by test": lambda unit: tail(severity.SequentialThreshold()),
    "Spliced": lambda unit: severity.Spliced(),
    "Spliced gamma": lambda unit: severity.Spliced(severity.Gamma(), tail(U * unit)),
    "Spliced empirical": lambda unit: severity.Spliced(severity.Empirical(), tail(U * unit)),
    "BestOf": lambda unit: severity.BestOf([severity.LogNormal(), severity.Gamma()]),
}
WHOLE = [name for name in MAKERS if not name.startswith("GeneralizedPareto ")]
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
whole = pytest.mark.parametrize("make", [MAKERS[name] for name in WHOLE], ids=WHOLE)

DATA_FREE_CHECKS = (
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_get_params_invariance",
    "check_set_params",
    "check_parameters_default_constructible",
    "check_mixin_order",
    "check_do_not_raise_errors_in_init_or_set_params",
)


@every
@pytest.mark.parametrize("check", DATA_FREE_CHECKS)
def test_scikit_learn_checks_that_need_no_matrix(make, check):
    """scikit-learn leaves estimators of one column of positive numbers alone; its other checks hand over matrices with
    several columns, zeros or negative numbers, which a loss cannot be. What they ask for is asked below."""
    estimator = make(1.0)
    getattr(estimator_checks, check)(type(estimator).__name__, estimator)


@every
def test_fit_returns_self_and_changes_nothing_it_was_given(make):
    losses, weights = LOSSES.copy(), np.ones(LOSSES.size)
    losses.setflags(write=False)
    weights.setflags(write=False)
    estimator = make(1.0)
    before = repr(estimator.get_params())
    assert estimator.fit(losses, sample_weight=weights) is estimator
    assert repr(estimator.get_params()) == before
    assert np.array_equal(losses, LOSSES)
    assert estimator.n_features_in_ == 1
    assert estimator.n_observations_ == LOSSES.size


@every
def test_forms_of_input_give_the_same_fit(make):
    first = make(1.0).fit(LOSSES)
    for form in (LOSSES[:, None], list(LOSSES), pd.Series(LOSSES, index=range(7, 407)), pd.DataFrame({"loss": LOSSES})):
        assert make(1.0).fit(form).log_likelihood_ == first.log_likelihood_


@every
def test_survives_clone_and_pickle_and_a_second_fit(make):
    fitted = make(1.0).fit(LOSSES)
    again = clone(fitted).fit(LOSSES)
    assert again.log_likelihood_ == fitted.log_likelihood_
    assert fitted.fit(LOSSES).log_likelihood_ == again.log_likelihood_
    assert pickle.loads(pickle.dumps(fitted)).var(0.99) == fitted.var(0.99)


@every
def test_unfitted_says_so(make):
    for ask in (lambda m: m.cdf(1.0), lambda m: m.var(0.99), lambda m: m.sample(3, 1), lambda m: m.mean(cap=1.0)):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            ask(make(1.0))


@every
def test_unit_does_not_matter_over_43_decades(make):
    fitted = make(1.0).fit(LOSSES)
    shortfall = fitted.expected_shortfall(0.995, cap=1e5)
    for power in range(-18, 25, 7 if isinstance(fitted, severity.BestOf) else 1):
        unit = 10.0**power
        other = make(unit).fit(LOSSES * unit)
        assert other.var(0.99) == pytest.approx(fitted.var(0.99) * unit, rel=1e-8)
        assert other.expected_shortfall(0.995, cap=1e5 * unit) == pytest.approx(shortfall * unit, rel=1e-8)
        assert getattr(other, "shape_", 1.0) == pytest.approx(getattr(fitted, "shape_", 1.0), rel=1e-8)
        if hasattr(fitted, "scale_"):
            assert other.scale_ == pytest.approx(fitted.scale_ * unit, rel=1e-8)
        if hasattr(fitted, "standard_errors_"):
            relative = other.standard_errors_ / fitted.standard_errors_
            assert relative.iloc[0] == pytest.approx(1.0, rel=1e-6)


@every
def test_a_weight_of_two_is_the_loss_twice(make):
    weights = np.random.default_rng(3).integers(0, 4, LOSSES.size)
    if "by test" in next(k for k, v in MAKERS.items() if v is make):
        with pytest.raises(ModelError, match="equally weighted losses only"):
            make(1.0).fit(LOSSES, sample_weight=weights)
        return
    weighted = make(1.0).fit(LOSSES, weights)
    assert weighted.log_likelihood_ == make(1.0).fit(LOSSES, sample_weight=weights).log_likelihood_
    repeated = make(1.0).fit(np.repeat(LOSSES, weights))
    assert weighted.log_likelihood_ == pytest.approx(repeated.log_likelihood_, rel=1e-9)
    assert weighted.var(0.99) == pytest.approx(repeated.var(0.99), rel=1e-7)
    assert weighted.bic_ == pytest.approx(repeated.bic_, rel=1e-9)


@whole
def test_mean_layers_and_shortfall_are_integrals_of_the_survival(make):
    model = make(1.0).fit(LOSSES)
    top = max(40.0, 2 * model.var(0.9))
    edges = [0.0, 0.5, 2.0, getattr(model, "threshold_", U), 15.0, 40.0, top]
    if isinstance(model, severity.Empirical):
        by_hand = float(np.mean(np.minimum(LOSSES, top)))
    elif "Empirical" in repr(model):  # steps: exact sum of rectangles below the threshold
        steps = np.concatenate([[0.0], np.sort(LOSSES[LOSSES <= U]), [U]])
        by_hand = float(np.diff(steps) @ model.sf(steps[:-1])) + quad(lambda x: float(model.sf(x)), U, top)[0]
    else:
        by_hand = sum(quad(lambda x: float(model.sf(x)), a, b, limit=500)[0] for a, b in itertools.pairwise(edges))
    assert model.mean(cap=top) == pytest.approx(by_hand, rel=1e-8)
    assert model.layer_mean(2.0, 15.0) + model.layer_mean(15.0, top) == pytest.approx(model.layer_mean(2.0, top))
    q = model.var(0.9)
    capped = q + model.layer_mean(q, top) / 0.1
    assert model.expected_shortfall(0.9, cap=top) == pytest.approx(capped, rel=1e-12)
    assert model.expected_shortfall(0.9, cap=q / 2) == q / 2


@whole
def test_quantile_undoes_the_cdf_and_the_tail_is_exact(make):
    model = make(1.0).fit(LOSSES)
    levels = np.array([0.001, 0.1, 0.5, 0.79, 0.85, 0.99, 0.9999])
    if hasattr(model, "values_") or "Empirical" in repr(model):
        levels = levels[-3:] if not hasattr(model, "values_") else levels[:0]
    assert model.cdf(model.ppf(levels)) == pytest.approx(levels, rel=1e-9)
    if not hasattr(model, "values_"):
        assert model.sf(model.isf(1e-12)) == pytest.approx(1e-12, rel=1e-6)
    assert model.ppf(levels.reshape(-1, 1)).shape == (levels.size, 1)


@whole
def test_layers_and_quantiles_that_are_none_are_refused(make):
    model = make(1.0).fit(LOSSES)
    for low in (-1.0, np.nan):
        with pytest.raises(ModelError, match=f"the layer begins at {low}, expected an amount >= 0"):
            model.layer_mean(low, 2.0)
    for ask, level in itertools.product((model.ppf, model.isf), (1.5, -0.1, np.nan)):
        with pytest.raises(ModelError, match=rf"quantile levels must lie in \[0, 1\], got \[{level}\]"):
            ask(level)


@whole
def test_sample_follows_the_model_and_the_seed(make):
    model = make(1.0).fit(LOSSES)
    drawn = model.sample(20_000, 5)
    assert np.array_equal(drawn, model.sample(20_000, np.random.SeedSequence(5)))
    assert np.array_equal(drawn, model.sample(20_000, np.random.default_rng(5)))
    for level in (0.25, 0.5, 0.9):
        share = np.mean(drawn <= model.ppf(level))
        assert share == pytest.approx(float(model.cdf(model.ppf(level))), abs=5 * math.sqrt(0.25 / 20_000))


@every
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([1.0, 0.0, 2.0], r"row 1: loss is 0.0, expected a finite number > 0 \(leave out zeros"),
        ([1.0, -3.0], r"row 1: loss is -3.0"),
        ([1.0, np.inf], r"row 1: loss is inf"),
        ([np.nan, np.nan], r"2 problems in the data:\n  - row 0: loss is nan"),
        ([], "at least one"),
        ([[1.0, 2.0]], r"shape \(n,\) or \(n, 1\), got \(1, 2\)"),
        (["a"], "losses must be real numbers"),
        ([1j], "losses must be real numbers"),
    ],
)
def test_bad_losses_are_refused_by_row(make, bad, words):
    with pytest.raises(DataError, match=words):
        make(1.0).fit(bad)


@every
def test_bad_weights_are_refused(make):
    with pytest.raises(DataError, match=r"row 0: sample_weight is -1.0"):
        make(1.0).fit([1.0, 2.0], sample_weight=[-1.0, 1.0])
    with pytest.raises(DataError, match="every sample_weight is zero"):
        make(1.0).fit([1.0, 2.0], sample_weight=[0, 0])
    with pytest.raises(DataError, match="one for each of the 2 losses"):
        make(1.0).fit([1.0, 2.0], sample_weight=[1, 2, 3])


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "Empirical"])
def test_constant_losses_are_refused_in_words(name):
    with pytest.raises(ModelError, match=r"(equal|distinct|spread|exceed|between|no candidate)"):
        MAKERS[name](1.0).fit(np.full(60, 5.0))


def test_constant_losses_are_a_stated_answer_of_the_empirical_law():
    model = severity.Empirical().fit(np.full(60, 5.0))
    assert (model.mean(), model.var(0.99), model.expected_shortfall(0.99)) == (5.0, 5.0, 5.0)
    assert set(model.sample(10, 0)) == {5.0}


@pytest.mark.parametrize("name", MAKERS)
def test_ten_losses_get_an_answer_or_a_refusal(name):
    few = np.exp(np.linspace(-1.0, 2.0, 10))
    try:
        model = MAKERS[name](1.0).fit(few)
    except ModelError as refusal:
        assert any(word in str(refusal) for word in ("at least 10", "no threshold can be tested", "no maximum"))
    else:
        assert 0 < model.var(0.95) < 1e6


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, math.nan])
def test_levels_outside_are_refused(level):
    with pytest.raises(ModelError, match="strictly between 0 and 1"):
        severity.LogNormal().fit(LOSSES).var(level)


def test_observation_faults_are_named():
    with pytest.raises(DataError, match=r"row 0: loss is 1.0, expected more than its deductible"):
        severity.LogNormal().fit([1.0, 3.0, 4.0], observation=Observation(deductible=2.0))
    with pytest.raises(DataError, match="deductible must be one number or one for each"):
        severity.LogNormal().fit([3.0, 4.0], observation=Observation(deductible=[1.0, 2.0, 1.0]))
    with pytest.raises(ModelError, match="distinct"):
        severity.LogNormal().fit([3.0, 4.0], observation=Observation(open_claim=True))


def hopeless():
    rng = np.random.default_rng(0)
    return {
        "two values": [5.0] * 20 + [5.1] * 20,
        "one outlier": [1.0] * 50 + [1e12],
        "one number, rounded": 1 + 1e-9 * rng.random(50),
        "four losses": [1.0, 10.0, 100.0, 1000.0],
        "all but one alike": [3.0] * 10 + [4.0],
        "sixty decades": np.exp(rng.normal(0, 30, 200)),
        "tiny": 1e-300 * rng.random(50) + 1e-305,
        "huge": 1e300 * rng.random(30) + 1e299,
        "counts": rng.integers(1, 4, 100).astype(float),
        "uniform": rng.random(300),
        "two clusters": np.concatenate([rng.random(100), 1e6 + rng.random(100)]),
        "no mean": rng.pareto(0.3, 300) + 1e-9,
        "one loss": [2.0],
        "two losses": [1.0, 2.0],
        "rounded and heavy": np.ceil(rng.pareto(1.1, 500) * 10),
    }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("losses", hopeless().values(), ids=hopeless())
@every
def test_hopeless_losses_get_numbers_or_a_refusal(make, losses):
    for observation in (None, Observation(limit=float(np.quantile(losses, 0.8)))):
        try:
            model = make(1.0).fit(losses, observation=observation)
        except (ModelError, DataError) as refusal:
            assert len(str(refusal)) > 40
            continue
        for ask in (
            lambda m: m.var(0.99),
            lambda m: m.expected_shortfall(0.99),
            lambda m: m.mean(cap=10.0),
            lambda m: m.sample(20, 1),
            lambda m: m.log_likelihood_,
            lambda m: m.cdf(losses),
        ):
            try:
                assert not np.isnan(ask(model)).any()
            except ModelError as refusal:
                assert len(str(refusal)) > 40


@pytest.mark.parametrize(
    ("family", "shape", "survival"),
    [(severity.LogNormal(), s, lambda z, s: stats.lognorm.sf(z, s)) for s in (0.5, 9.0, 20.0, 45.0)]
    + [(severity.Weibull(), k, lambda z, k: stats.weibull_min.sf(z, k)) for k in (2.0, 0.5, 0.1)],
)
def test_layers_of_any_scatter_are_integrals(family, shape, survival):
    """In steps of the log, where a mean is many powers of ten above the layer, and far in the tail."""
    for low, high in ((0.0, 10.0), (0.5, 2.0), (3.0, 3000.0), (1e6, 1e9)):
        logs = np.linspace(np.log(max(low, 1e-12)), np.log(high), 200_001)
        heights = survival(np.exp(logs), shape) * np.exp(logs)
        exact = integrate.simpson(heights, x=logs) + (low == 0.0) * 1e-12
        assert family._z_layer(low, high, shape) == pytest.approx(exact, rel=1e-7, abs=1e-290)


def test_losses_of_sixty_powers_of_ten_have_no_mean():
    model = severity.LogNormal().fit(10.0 ** np.random.default_rng(0).uniform(-30, 30, 100))
    assert 0 < model.mean(cap=10.0) < 10.0
    with pytest.raises(ModelError, match="the mean does not exist"):
        model.mean()
