"""Pools of known truth end to end: the true CVaR of the published plan lies in the published interval.

Mutuals of gamma losses of one scale, whose sum is gamma: the truth is a closed form. tests/benchmarks/known_pools.py
runs all kinds of pools, with truths from 10,000,000 scenarios.
"""

import contextlib
import importlib.util
import sys
from pathlib import Path

import pytest

from calibrate.errors import SolverError

FILE = Path(__file__).parents[1] / "benchmarks" / "known_pools.py"
spec = importlib.util.spec_from_file_location("known_pools", FILE)
known_pools = importlib.util.module_from_spec(spec)
sys.modules["known_pools"] = known_pools  # dataclasses look their module up
spec.loader.exec_module(known_pools)


@pytest.mark.slow
def test_intervals_of_100_pools_hold_the_truth():
    rows = []
    for k in range(100):
        with contextlib.suppress(SolverError):  # no plan is published: counted below
            rows.append(known_pools.pool(k, 0, ("gamma",)))
    answered = [row for row in rows if row["upper"] == row["upper"]]
    assert len(answered) >= 95
    inside = sum(row["lower"] <= row["truth"] <= row["upper"] for row in answered)
    assert inside / len(answered) >= 0.93


def test_the_closed_form_is_an_integral():
    law = known_pools.stats.gamma(3.5, scale=2.0)
    for fund in (3.0, 12.0, 25.0):
        from_zero = law.expect(lambda x, f=fund: max(x - f, 0.0), lb=max(fund, law.ppf(0.95))) / 0.05
        assert known_pools.gamma_truth(3.5, 2.0, fund, 0.95) == pytest.approx(from_zero, rel=1e-6)
