"""The published numbers of credibility and of compound losses, to every printed digit; Danish fire: its own file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from calibrate.models.aggregate import PoissonCount, compound_by_recursion, compound_by_transform, discretise
from calibrate.models.credibility import BuhlmannStraub
from calibrate.models.severity import Gamma

FILE = Path(__file__).resolve().parents[2] / "../shared/data/hachemeister/claims.csv"
needs_data = pytest.mark.skipif(not FILE.is_file(), reason=f"hachemeister/{FILE.name} is not beside this checkout")


@needs_data
def test_hachemeister():
    """Hachemeister 1975, as printed in Goovaerts and Hoogstad 1987 and in the manual of the R package actuar."""
    frame = pd.read_csv(FILE).pivot_table(index="state", columns="quarter")
    model = BuhlmannStraub().fit(frame["avg_claim"], frame["n_claims"])
    assert f"{model.collective_mean_:.0f}" == "1684"
    assert f"{model.between_variance_:.0f}" == "89639"
    assert f"{model.within_variance_:.0f}" == "139120026"
    assert [f"{z:.3f}" for z in model.credibility_] == ["0.985", "0.928", "0.898", "0.728", "0.959"]
    assert [f"{premium:.0f}" for premium in model.premiums_] == ["2055", "1524", "1793", "1443", "1603"]


@pytest.mark.parametrize("method", [compound_by_recursion, compound_by_transform])
def test_compound_poisson_gamma(method):
    """Manual of the R package actuar, vignette on risk theory: Poisson(10), gamma(2, 1), unbiased grid of 0.5."""
    law = Gamma().fit([1.0, 2.0, 3.0])
    law.shape_, law.scale_ = 2.0, 1.0
    total = method(PoissonCount(10.0), discretise(law, 0.5, 256))
    tails = [total.conditional_tail_expectation(level) for level in (0.9, 0.95, 0.99)]
    assert [f"{tail:.2f}" for tail in tails] == ["35.42", "38.55", "45.01"]
    assert total.mean == pytest.approx(20.0, rel=1e-14)
    assert np.isclose(total.probabilities.sum(), 1.0)
