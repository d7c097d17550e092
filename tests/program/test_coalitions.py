"""The search for a coalition that would leave, against all groups one by one."""

import numpy as np
import pytest

from calibrate import Scenarios
from calibrate.program.fairness.coalitions import TOLERANCE, all_coalitions, most_aggrieved

LEVEL = 0.9


def gains(paid: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """What every group gains by leaving: the CVaR 90 % of 60 scenarios is the mean of the worst six."""
    groups = all_coalitions(len(paid)).astype(float)
    return groups @ paid - np.sort(losses @ groups.T, axis=0)[-6:].mean(axis=0)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("gain", [-3.0, -0.5, 0.5, 3.0, 9.0])
def test_a_gain_of_a_few_tolerances_is_told_from_none(seed: int, gain: float) -> None:
    """Around the tolerance, below the accuracy to which a solver of integer programs keeps its rows by default."""
    rng = np.random.default_rng(seed)
    losses = rng.pareto(2.5, (60, 8)) * (rng.random((60, 8)) < 0.4)
    paid = rng.uniform(0.5, 1.5, 8) * np.sort(losses, axis=0)[-6:].mean(axis=0)
    low, high = 0.0, 1.0
    for _ in range(200):  # the multiple of the contributions at which the best group gains so much
        middle = 0.5 * (low + high)
        too_much = gains(middle * paid, losses).max() > gain * TOLERANCE * middle * paid.sum()
        low, high = (low, middle) if too_much else (middle, high)
    found = most_aggrieved(low * paid, Scenarios(losses), LEVEL, 0.0)
    assert (found is not None) == (gain > 1.0)
    if found is not None:
        assert found @ (low * paid) - np.sort(losses @ found)[-6:].mean() > 0.99 * TOLERANCE * low * paid.sum()
