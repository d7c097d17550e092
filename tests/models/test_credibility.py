"""Credibility against published tables, closed forms and a simulation of known truth."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from calibrate.errors import DataError, ModelError
from calibrate.models.credibility import BuhlmannStraub, HierarchicalCredibility

FILE = Path(__file__).resolve().parents[2] / "../shared/data/hachemeister/claims.csv"
needs_data = pytest.mark.skipif(not FILE.is_file(), reason=f"hachemeister/{FILE.name} is not beside this checkout")


def hachemeister():
    frame = pd.read_csv(FILE)
    return tuple(frame.set_index(["state", "quarter"])[column].unstack() for column in ("avg_claim", "n_claims"))  # noqa: PD010


@needs_data
def test_hachemeister():
    """Hachemeister 1975, as in Goovaerts and Hoogstad 1987 and the manual of the R package actuar."""
    model = BuhlmannStraub().fit(*hachemeister())
    assert round(model.collective_mean_) == 1684
    assert round(model.between_variance_) == 89639
    assert round(model.within_variance_) == 139120026
    assert model.credibility_.round(3).tolist() == [0.985, 0.928, 0.898, 0.728, 0.959]
    assert model.premiums_.round().tolist() == [2055, 1524, 1793, 1443, 1603]


@needs_data
def test_hachemeister_in_two_cohorts():
    """Manual of actuar, vignette on credibility: states 1 and 3 in one cohort, 2, 4 and 5 in the other, iterative."""
    model = HierarchicalCredibility().fit(*hachemeister(), cohorts=[1, 2, 1, 2, 2])
    assert round(model.collective_mean_) == 1746
    assert round(model.between_cohort_variance_) == 88981
    assert round(model.between_variance_) == 10952
    assert round(model.within_variance_) == 139120026
    assert model.cohort_credibility_.round(4).tolist() == [0.9196, 0.9284]
    assert model.cohort_premiums_.round().tolist() == [1949, 1543]
    assert model.credibility_.round(4).tolist() == [0.8874, 0.6103, 0.5195, 0.2463, 0.7398]
    assert model.premiums_.round().tolist() == [2048, 1524, 1875, 1497, 1585]


@pytest.mark.parametrize("power", [-18, 0, 24])
def test_unit_does_not_matter(power):
    rng = np.random.default_rng(1)
    values, weights = rng.gamma(2.0, 3.0, (8, 5)), rng.random((8, 5)) + 0.1
    one, other = BuhlmannStraub().fit(values, weights), BuhlmannStraub().fit(values * 10.0**power, weights)
    assert other.credibility_.to_numpy() == pytest.approx(one.credibility_.to_numpy(), rel=1e-9)
    assert other.premiums_.to_numpy() == pytest.approx(one.premiums_.to_numpy() * 10.0**power, rel=1e-9)
    cohorts = list("aabbccdd")
    one = HierarchicalCredibility().fit(values, weights, cohorts=cohorts)
    other = HierarchicalCredibility().fit(values * 10.0**power, weights, cohorts=cohorts)
    assert other.premiums_.to_numpy() == pytest.approx(one.premiums_.to_numpy() * 10.0**power, rel=1e-8)


@pytest.mark.slow
def test_variances_are_unbiased_and_premiums_beat_both_extremes():
    """2,000 pools of 10 members, 6 periods: variance between members 4, within 9 over the weight."""
    rng = np.random.default_rng(7)
    weights = rng.uniform(0.5, 3.0, (10, 6))
    between, within, errors = [], [], []
    for _ in range(2000):
        truth = 20 + 2 * rng.standard_normal(10)
        values = truth[:, None] + 3 * rng.standard_normal((10, 6)) / np.sqrt(weights)
        model = BuhlmannStraub().fit(values, weights)
        between.append(model.between_variance_)
        within.append(model.within_variance_)
        estimates = (model.premiums_, model.individual_means_, pd.Series([model.collective_mean_] * 10))
        errors.append([float(((estimate - truth) ** 2).mean()) for estimate in estimates])
    assert np.mean(within) == pytest.approx(9.0, abs=3 * np.std(within) / np.sqrt(2000))
    assert np.mean(between) == pytest.approx(4.0, abs=3 * np.std(between) / np.sqrt(2000) + 0.02)  # cut at zero, rarely
    blended, own, collective = np.mean(errors, axis=0)
    assert blended < 0.97 * min(own, collective)


def test_members_that_do_not_differ_are_not_believed():
    model = BuhlmannStraub().fit([[1.0, 3.0], [3.0, 1.0], [1.0, 3.0]], [[1, 2], [2, 1], [1, 2]])
    assert model.between_variance_ == 0.0
    assert model.credibility_.tolist() == [0.0, 0.0, 0.0]
    assert model.premiums_.tolist() == pytest.approx([model.collective_mean_] * 3)
    flat = BuhlmannStraub().fit(np.full((3, 4), 2.0))
    assert flat.premiums_.tolist() == [2.0, 2.0, 2.0]
    certain = BuhlmannStraub().fit([[2.0, 2.0], [5.0, 5.0]])
    assert certain.credibility_.tolist() == [1.0, 1.0]
    assert HierarchicalCredibility().fit(np.full((4, 4), 2.0), cohorts=list("aabb")).premiums_.tolist() == [2.0] * 4


def test_periods_and_members_without_experience():
    values = pd.DataFrame([[1.0, 3.0, np.nan], [5.0, 7.0, 6.0], [np.nan] * 3], index=["A", "B", "new"])
    weights = pd.DataFrame([[1.0, 1.0, 0.0], [1.0, 1.0, 2.0], [0.0] * 3], index=["A", "B", "new"])
    model = BuhlmannStraub().fit(values, weights)
    assert model.credibility_["new"] == 0.0
    assert model.premiums_["new"] == pytest.approx(model.collective_mean_)
    assert np.isnan(model.individual_means_["new"])
    assert model.credibility_["B"] > model.credibility_["A"]
    assert BuhlmannStraub().fit(values, weights.loc[["new", "B", "A"]]).premiums_.equals(model.premiums_)


@pytest.mark.parametrize(
    ("values", "weights", "error", "words"),
    [
        ([[1.0, np.inf], [1.0, 2.0]], None, DataError, "member 0, period 1: value inf with weight 1.0"),
        ([[1.0, np.nan], [1.0, 2.0]], [[1, 1], [1, 1]], DataError, "member 0, period 1: value nan with weight 1.0"),
        (
            [[1.0, 2.0], [1.0, 2.0]],
            [[1, -1], [1, 1]],
            DataError,
            "weight -1.0, expected finite numbers and a weight >= 0",
        ),
        ([[1.0, 2.0]], [[1.0]], DataError, r"weights must have the shape of the values, \(1, 2\)"),
        ([], None, DataError, "members as rows and periods as columns"),
        ([[1.0, 2.0]], None, ModelError, "needs two members with experience"),
        ([[1.0], [2.0]], None, ModelError, "no member was observed in two periods"),
    ],
)
def test_faults_are_named(values, weights, error, words):
    with pytest.raises(error, match=words):
        BuhlmannStraub().fit(values, weights)


@pytest.mark.parametrize("members", [list("ABCD"), range(4)])
def test_cohorts_by_member_are_of_the_members(members):
    values = pd.DataFrame([[1.0, 2.0], [4.0, 6.0], [2.0, 3.0], [5.0, 7.0]], index=members)
    by_row = HierarchicalCredibility().fit(values, cohorts=list("xyxy"))
    by_member = dict(zip(reversed(members), "yxyx", strict=True))
    by_name = HierarchicalCredibility().fit(values, cohorts=by_member)
    pd.testing.assert_series_equal(by_name.premiums_, by_row.premiums_)
    assert list(by_name.cohort_premiums_.index) == ["x", "y"]
    del by_member[members[2]]
    with pytest.raises(DataError, match=f"no cohort is given for {members[2]!r}"):
        HierarchicalCredibility().fit(values, cohorts=by_member)


def test_faults_of_cohorts_are_named():
    values = pd.DataFrame([[1.0, 2.0], [2.0, 3.0], [0.0, 4.0]], index=["A", "B", "C"])
    with pytest.raises(DataError, match="one for each of the 3 members, got 2"):
        HierarchicalCredibility().fit(values, cohorts=["x", "y"])
    with pytest.raises(DataError, match="no cohort is given for 'C'"):
        HierarchicalCredibility().fit(values, cohorts=pd.Series({"A": "x", "B": "y"}))
    with pytest.raises(ModelError, match="needs at least two cohorts"):
        HierarchicalCredibility().fit(values, cohorts=["x", "y", "z"])
    with pytest.raises(DataError, match="weights are missing for 'C'"):
        BuhlmannStraub().fit(values, values.loc[["A", "B"]])


def test_cohorts_are_believed_no_more_where_their_members_are_alike():
    """`z / (z + a/b)` as `a` vanishes is `W / (W + s2/b)`; such cohorts were believed whole, of noise as well."""
    rng, cohorts, alike, believed = np.random.default_rng(0), np.repeat(list("abcd"), 5), 0, []
    for _ in range(60):
        values = rng.normal(10.0, 3.0, (20, 5))
        model = HierarchicalCredibility().fit(values, cohorts=cohorts)
        if model.between_variance_ == 0:
            alike += 1
            b, weight = model.between_cohort_variance_, 25.0
            assert model.cohort_credibility_.to_numpy() == pytest.approx(
                weight * b / (weight * b + model.within_variance_)
            )
            believed.append(model.cohort_credibility_.mean())
    assert alike > 20
    assert np.mean(believed) < 0.3
