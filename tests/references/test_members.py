"""Is a member inside its own interval as often as it says? Pools whose members' true laws are known in closed form."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from calibrate import JointLossModel, LossHistory

MEMBERS, POOLS = 12, 25


def pool(kind, years, rng):
    """Losses of the years, and the true mean and deviation of each member's log in the year after."""
    own, scatter = 0.15 * rng.standard_normal(MEMBERS), 0.2 * np.sqrt(6 / rng.chisquare(6, MEMBERS))
    shocks, noise = rng.standard_normal((2, years))
    if kind == "forgets":
        common, ahead, around = 0.2 * noise, 0.0, 0.2
    else:
        walk = 0.1 * np.cumsum(shocks)
        common, ahead, around = walk + 0.1 * noise, walk[-1], 0.1 * np.sqrt(2)
    logs = common[:, None] + own + scatter * rng.standard_normal((years, MEMBERS))
    table = pd.DataFrame(100 * np.exp(logs), range(2000, 2000 + years), [f"member {i}" for i in range(MEMBERS)])
    history = LossHistory.from_panel(table, confirm_unit_jumps=list(table.columns))
    return history, norm(np.log(100) + ahead + own, np.sqrt(scatter**2 + around**2))


def covered(kind, years):
    """Chance of the true laws, mean over members and pools, that the intervals of 90 % hold, and beyond 99 %."""
    found = []
    for seed in range(POOLS):
        history, truth = pool(kind, years, np.random.default_rng([42, seed, years]))
        drawn = JointLossModel(n_jobs=1).fit(history).sample(5000, seed).losses
        low, high, far = np.log(np.quantile(drawn, [0.05, 0.95, 0.99], axis=0))
        found.append([(truth.cdf(high) - truth.cdf(low)).mean(), truth.sf(far).mean()])
    return np.mean(found, axis=0)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "years"), [("wanders", 9), ("forgets", 9)])
def test_members_are_inside_as_often_as_it_says(kind, years):
    inside, far = covered(kind, years)
    assert 0.87 <= inside <= 0.93
    assert far <= 0.02
