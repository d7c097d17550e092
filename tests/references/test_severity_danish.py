"""Danish fire losses 1980-90 (million kroner): published fits of the tail.

Source: McNeil, "Estimating the tails of loss severity distributions using extreme value theory", ASTIN Bulletin 27(1),
1997, threshold 10: shape 0.497, scale 6.98, 109 exceedances; expected shortfall 99 % 58.2. Published errors 0.14 and
1.1: from the observed information 0.136 and 1.11, from the expected one `(1 + shape)/sqrt n = 0.143`.
"""

from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import genpareto

from calibrate.models.severity import DownwardThreshold, GeneralizedPareto, Spliced

FILE = Path(__file__).resolve().parents[2] / "../shared/data/danish/danish_multi.csv"
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason=f"{FILE.name} is not beside this checkout")


@pytest.fixture(scope="module")
def losses():
    frame = pd.read_csv(FILE)
    total = frame[["Building", "Contents", "Profits"]].sum(axis=1)
    assert (total - frame["Total"]).abs().max() < 1e-4
    assert len(total) == 2167
    return total.to_numpy()


def test_threshold_ten(losses):
    model = GeneralizedPareto(threshold=10).fit(losses)
    assert model.n_exceedances_ == 109
    assert round(model.shape_, 3) == 0.497
    assert round(model.scale_, 2) == 6.98
    assert round(model.var(0.99), 1) == 27.3
    assert round(model.expected_shortfall(0.99), 1) == 58.2
    assert model.standard_errors_["shape"] == pytest.approx(0.136, abs=5e-4)
    assert model.standard_errors_["scale"] == pytest.approx(1.11, abs=5e-3)
    assert model.log_likelihood_ == pytest.approx(-374.893, abs=5e-4)


def test_no_lower_likelihood_than_scipy_at_any_threshold(losses):
    for threshold in (0.5, 2, 3, 5, 10, 15, 20, 40):
        excesses = losses[losses > threshold] - threshold
        ours = GeneralizedPareto(threshold).fit(losses)
        theirs = genpareto.fit(excesses, floc=0)
        assert ours.log_likelihood_ >= genpareto.logpdf(excesses, *theirs).sum() - 1e-9
        law = genpareto(ours.shape_, scale=ours.scale_)
        assert law.logpdf(excesses).sum() == pytest.approx(ours.log_likelihood_, rel=1e-12)


def test_the_spliced_law_has_the_same_tail(losses):
    tail = GeneralizedPareto(threshold=10)
    spliced = Spliced(tail=tail).fit(losses)
    alone = tail.fit(losses)
    assert spliced.expected_shortfall(0.99) == pytest.approx(alone.expected_shortfall(0.99), rel=1e-12)
    assert spliced.cdf(10.0) == pytest.approx(1 - 109 / 2167, rel=1e-12)


def test_a_chosen_threshold_agrees_with_the_published_tail(losses):
    model = GeneralizedPareto(DownwardThreshold()).fit(losses)
    assert 5.0 < model.threshold_ < 10.0
    interval = model.expected_shortfall_interval(0.99)
    assert interval.lower < 58.2 < interval.upper
    assert abs(model.shape_ - 0.497) < model.standard_errors_["shape"]
