"""Every estimator of frequency, dependence and ratio sits scikit-learn's exam, and keeps the promises of the design."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from calibrate.errors import CalibrateError, DataError, ModelError
from calibrate.models import dependence, frequency, ratio

EXPECTED_FAILURES = {"check_fit1d": "a vector is one column: a history of one member"}
RNG = np.random.default_rng(7)
LOSSES = np.where(RNG.random((40, 4)) < 0.3, 0.0, np.exp(RNG.normal(0, 1, (40, 4))))
COUNTS = RNG.poisson(2.0 * RNG.gamma(1.0, 1.0, (40, 4))).astype(float)
EXPOSURES = np.exp(RNG.normal(0, 0.5, (40, 4)))


def families(*modules):
    found = [getattr(module, name) for module in modules for name in module.__all__]
    # Hawkes is a model of event times, Vine another library's: they sit exams of their own
    kinds = (frequency.CountModel, dependence.Dependence, ratio.Ratio)
    ours = (family for family in found if issubclass(family, kinds) and not inspect.isabstract(family))
    return [family for family in ours if family is not dependence.Vine]


def decades(step):
    """All from 1e-18 to 1e24, each `step`-th of them in the default tests."""
    return [one if (one + 18) % step == 0 else pytest.param(one, marks=pytest.mark.slow) for one in range(-18, 25)]


def names(family):
    return family.__name__


EVERY = families(frequency, dependence, ratio)
EXPOSED = families(frequency, ratio)


def data(family):
    return COUNTS if issubclass(family, frequency.CountModel) else LOSSES


def fit(family, values, exposure):
    return family().fit(values, exposure=exposure) if family in EXPOSED else family().fit(values)


def fitted_numbers(model):
    return {
        name: np.asarray(value)
        for name, value in vars(model).items()
        if name.endswith("_") and not name.startswith("_")
    }


def test_all_families_are_examined():
    assert [family.__name__ for family in EVERY] == [
        *("Drifting", "Elastic", "LogLinear", "NegativeBinomial", "Poisson", "SharedShock", "Trend", "ZeroInflated"),
        *("Gaussian", "GroupedT", "Independent", "StudentT"),
        *("EmpiricalRatio", "GammaRatio", "GeneralizedGammaRatio", "LogNormalRatio"),
    ]


@pytest.mark.parametrize("family", EVERY, ids=names)
def test_scikit_learn_checks(family):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(family(), expected_failed_checks=EXPECTED_FAILURES, on_fail=None, on_skip=None)
    failed = [result["check_name"] for result in results if result["status"] == "failed"]
    excused = [result["check_name"] for result in results if result["status"] == "xfail"]
    passed = [result for result in results if result["status"] == "passed"]
    assert failed == []
    assert excused == list(EXPECTED_FAILURES)
    assert len(passed) >= 40


@pytest.mark.parametrize("power", [-18, *(pytest.param(one, marks=pytest.mark.slow) for one in (-7, 3, 12)), 24])
@pytest.mark.parametrize("family", EXPOSED, ids=names)
def test_exposures_in_other_units(family, power):
    base, other = (fit(family, data(family), EXPOSURES * unit) for unit in (1.0, 10.0**power))
    np.testing.assert_allclose(other.mean(3.0 * 10.0**power), base.mean(3.0), rtol=1e-8)
    if hasattr(base, "size_"):
        np.testing.assert_allclose(other.size_, base.size_, rtol=1e-8)
    else:
        np.testing.assert_allclose(other.log_deviation_, base.log_deviation_, rtol=1e-8)
    np.testing.assert_allclose(other.credibility_, base.credibility_, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("power", decades(3))
@pytest.mark.parametrize("family", families(dependence, ratio), ids=names)
def test_losses_in_other_units(family, power):
    unit = 10.0**power
    base, other = fit(family, LOSSES, EXPOSURES), fit(family, LOSSES * unit, EXPOSURES)
    if family in EXPOSED:
        np.testing.assert_allclose(other.mean() / unit, base.mean(), rtol=1e-8)
        np.testing.assert_allclose(other.log_deviation_, base.log_deviation_, rtol=1e-8)
        np.testing.assert_allclose(other.ppf(0.999, 2.0) / unit, base.ppf(0.999, 2.0), rtol=1e-8)
    else:
        np.testing.assert_allclose(other.correlation_, base.correlation_, rtol=1e-8)


@pytest.mark.parametrize("family", EVERY, ids=names)
def test_the_data_are_not_touched_and_clones_are_unfitted(family):
    values = data(family).copy()
    values.setflags(write=False)
    model = fit(family, values, EXPOSURES)
    np.testing.assert_array_equal(values, data(family))
    assert not [name for name in vars(clone(model)) if name.endswith("_")]


# where the order of the periods matters, a period that comes again comes later
@pytest.mark.parametrize("family", [family for family in EVERY if family is not frequency.Drifting], ids=names)
def test_weight_two_is_the_row_twice(family):
    values, weights = data(family)[:12], np.r_[np.ones(6), np.full(6, 2.0)]
    exposure = EXPOSURES[:12]
    twice = np.r_[np.arange(12), np.arange(6, 12)]
    if family in EXPOSED:
        weighted = family().fit(values, sample_weight=weights, exposure=exposure)
        repeated = family().fit(values[twice], exposure=exposure[twice])
        between_points = (
            5e-3 if family is ratio.EmpiricalRatio else 1e-8
        )  # it interpolates, and two equal points have a step
        np.testing.assert_allclose(weighted.mean(), repeated.mean(), rtol=between_points)
    else:
        weighted, repeated = family().fit(values, sample_weight=weights), family().fit(values[twice])
        np.testing.assert_allclose(weighted.correlation_, repeated.correlation_, atol=1e-8)


REFUSED = [(family, np.inf, "infinity") for family in EVERY] + [(family, np.nan, "NaN") for family in EXPOSED]


@pytest.mark.parametrize(("family", "bad", "words"), REFUSED)
def test_what_is_no_number_is_refused(family, bad, words):
    """To a dependence NaN is a period in which a column was not there."""
    values = data(family).copy()
    values[3, 2] = bad
    with pytest.raises(DataError, match=words):
        family().fit(values)


@pytest.mark.parametrize("family", EXPOSED, ids=names)
def test_negative_values_are_named(family):
    values = data(family).copy()
    values[3, 2] = -4.0
    with pytest.raises(DataError, match=r"row 3, column 2: a (loss|count) is -4, expected a number >= 0"):
        family().fit(values)


@pytest.mark.parametrize("family", EXPOSED, ids=names)
def test_exposures_are_checked(family):
    values = data(family)
    with pytest.raises(DataError, match=r"exposure has shape \(7,\), expected \(40, 4\)"):
        family().fit(values, exposure=np.ones(7))
    with pytest.raises(DataError, match="column 1 has zero exposure in every row"):
        family().fit(values, exposure=[1.0, 0.0, 1.0, 1.0])
    with pytest.raises(DataError, match="exposure must hold finite numbers >= 0"):
        family().fit(values, exposure=-1.0)


@pytest.mark.parametrize("family", EXPOSED, ids=names)
def test_labelled_exposures_stand_beside_their_data(family):
    columns, rows = list("dbca"), pd.period_range("2001", periods=len(data(family)), freq="Y")
    values = pd.DataFrame(data(family), rows, columns)
    exposure = pd.DataFrame(np.broadcast_to(EXPOSURES, values.shape) * [1.0, 2.0, 3.0, 4.0], rows, columns)
    placed, each = (fit(family, data(family), one) for one in (exposure.to_numpy(), exposure.to_numpy()[-1]))
    for one in (exposure, exposure[sorted(columns)].iloc[::-1], exposure.set_axis(range(len(rows)))):
        np.testing.assert_allclose(fit(family, values, one).mean(2.0), placed.mean(2.0), rtol=1e-9)
    np.testing.assert_allclose(fit(family, values, exposure.iloc[-1].sort_index()).mean(2.0), each.mean(2.0), rtol=1e-9)
    with pytest.raises(
        DataError, match=r"exposure: the columns name unknown 'e', leave out 'a'; .* columns of the data"
    ):
        fit(family, values, exposure.rename(columns={"a": "e"}))
    with pytest.raises(
        DataError, match=r"exposure: the rows name unknown '2041', leave out '2001'; .* rows of the data"
    ):
        fit(family, values, exposure.set_axis(rows + 1))
    alone = values["d"], exposure["d"]
    np.testing.assert_allclose(fit(family, alone[0], alone[1].iloc[::-1]).mean(), fit(family, *alone).mean(), rtol=1e-9)


@pytest.mark.parametrize("family", EVERY, ids=names)
def test_weights_are_checked(family):
    with pytest.raises(DataError, match=r"sample_weight has shape \(3,\), expected \(40,\)"):
        family().fit(data(family), sample_weight=[1.0, 1.0, 1.0])


@pytest.mark.parametrize("family", EXPOSED, ids=names)
def test_weights_that_are_shares_are_refused(family):
    with pytest.raises(
        DataError,
        match=r"sample_weight sums to 1 \(rows of positive weight: 40\): a weight is how often .* give counts",
    ):
        family().fit(data(family), sample_weight=np.full(40, 1 / 40))


def test_one_period_is_one_period_whatever_stands_beside_it():
    alone = frequency.Poisson().fit(COUNTS[:1])
    weighted = frequency.Poisson().fit(COUNTS[:3], sample_weight=[1.0, 0.0, 0.0])
    np.testing.assert_allclose(weighted.mean(), alone.mean())
    with pytest.raises(DataError, match=r"sample_weight sums to 0.5 \(rows of positive weight: 1\)"):
        frequency.Poisson().fit(COUNTS[:1], sample_weight=[0.5])
    fading = 0.5 ** np.arange(len(COUNTS))[::-1]  # sums to nearly two: the latest period counts as one
    rates = frequency.Poisson().fit(COUNTS, sample_weight=fading).mean()
    assert rates.sum() == pytest.approx(fading @ COUNTS.sum(axis=1) / fading.sum())


@pytest.mark.parametrize("family", EXPOSED, ids=names)
def test_zeros_are_refused_in_words(family):
    with pytest.raises(ModelError, match=r"no loss was counted in 10 periods|no member has two positive losses"):
        family().fit(np.zeros((10, 3)))


@pytest.mark.parametrize("family", EXPOSED, ids=names)
def test_constants_stay_constant(family):
    model = family().fit(np.full((10, 3), 5.0))
    np.testing.assert_allclose(model.mean(2.0), 10.0)
    if isinstance(model, ratio.Ratio):
        np.testing.assert_allclose(model.ppf([[0.01], [0.5], [0.999]]), 5.0)


@pytest.mark.parametrize("family", EVERY, ids=names)
@pytest.mark.parametrize(
    "values",
    [
        np.full((10, 46), 3.0),
        np.zeros((10, 4)),
        np.tile(np.arange(10.0)[:, None], (1, 4)),
        LOSSES[:10],
        LOSSES[:10, :1],
        LOSSES[:2],
    ],
    ids=["constant", "zero", "identical", "ten", "one column", "two rows"],
)
def test_hopeless_data_get_finite_numbers_or_words(family, values):
    try:
        model = family().fit(values)
    except CalibrateError as error:
        assert len(str(error)) > 40
        return
    for name, value in fitted_numbers(model).items():
        if value.dtype.kind in "fiu" and name != "size_" and name != "tail_dependence_":
            assert np.isfinite(value).all(), name
    if isinstance(model, dependence.Dependence):
        assert np.linalg.eigvalsh(model.correlation_)[0] > 0
        drawn = model.sample(100, 1)
    else:
        drawn = model.sample(1.0, 1, 100)
    assert drawn.shape == (100, values.shape[1])
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize("family", EVERY, ids=names)
def test_the_same_seed_gives_the_same_bytes(family):
    model = fit(family, data(family), EXPOSURES)
    draw = (
        (lambda seed: model.sample(50, seed))
        if isinstance(model, dependence.Dependence)
        else (lambda seed: model.sample(1.0, seed, 50))
    )
    assert draw(3).tobytes() == draw(3).tobytes()
    assert draw(3).tobytes() != draw(4).tobytes()
    assert draw(3).tobytes() == draw(np.random.SeedSequence(3)).tobytes()
