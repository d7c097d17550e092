"""Hand-made calibrations: realistic in shape, from no model."""

import numpy as np
import pandas as pd
import pytest

from calibrate.calibration import Calibration

RULES = {
    "ActuarialFairness(band=0.5)": (0.0, True, -0.0312),
    "ShareCap(cap=0.125)": (-182_400.0, False, 0.0),
    "LoadingRatio(limit=3)": (-51_250.5, False, 0.0),
    "CVaR 99% of shortfall <= 2,500,000": (-12_000.0, False, 0.0),
    "TreasuryRule(anything)": (-1.0, False, float("nan")),
}


def make(names, *, segments=(), unit=1e6, seed=7, currency="USD", reserves=("pool",), rules=RULES):
    """A calibration of members with lognormal sizes and simulated lognormal losses."""
    random = np.random.default_rng(seed)
    n = len(names)
    size = random.lognormal(0, 1.1, n) * unit
    mu = size * random.uniform(0.02, 0.08, n)
    losses = random.lognormal(-0.5, 1.0, (4000, n)) * mu * np.exp(0.5 * random.standard_normal((4000, 1)))
    members = pd.Index(names, name="member", dtype=object)
    paid = mu * random.uniform(1.1, 1.9, n)
    if segments:
        index = pd.MultiIndex.from_product([members, segments], names=["member", "segment"])
        split = random.dirichlet(np.ones(len(segments)), n)
        contributions = pd.Series((paid[:, None] * split).ravel(), index=index)
    else:
        contributions = pd.Series(paid, index=members)
    held = pd.Series({name: 0.4 * paid.sum() / len(reserves) for name in reserves}, dtype=float)
    held.index.name = "reserve"
    gross = losses.sum(axis=1)
    mutualised = np.maximum(np.maximum(losses - paid, 0).sum(axis=1) - held.sum(), 0)
    shortfall = np.maximum(gross - paid.sum() - held.sum(), 0)
    probability = np.array([1.0, 0.8, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001])
    curve = {
        "loss": np.quantile(gross, 1 - probability),
        "mutualised": np.quantile(mutualised, 1 - probability),
        "shortfall": np.quantile(shortfall, 1 - probability),
    }
    tail = np.sort(shortfall)[-40:].mean()
    risk = pd.DataFrame.from_dict(
        {
            "CVaR 99% of shortfall": (tail, 1.21 * tail, 0.05 * tail, 1.11 * tail, 1.31 * tail),
            "CVaR 99% of mutualised": (2.2 * tail, 2.5 * tail, 0.07 * tail, 2.36 * tail, 2.64 * tail),
            "expected loss of mutualised": (
                mutualised.mean(),
                1.02 * mutualised.mean(),
                0.0,
                mutualised.mean(),
                1.04 * mutualised.mean(),
            ),
        },
        orient="index",
        columns=["in_sample", "out_of_sample", "standard_error", "lower", "upper"],
    )
    fairness = pd.DataFrame.from_dict(rules, orient="index", columns=["gap", "binding", "shadow_price"]).astype(
        {"binding": bool}
    )
    table = pd.DataFrame(
        {
            "contribution": paid,
            "weight": paid / paid.sum(),
            "expected_loss": mu,
            "standalone_risk": np.quantile(losses, 0.99, axis=0),
            "exposure": size,
            "reference": np.nan,
        },
        index=members,
    )
    return Calibration(
        contributions=contributions,
        reserves=held,
        risk=risk,
        fairness=fairness,
        members=table,
        loss_curve=pd.DataFrame(curve, index=pd.Index(probability, name="probability")),
        objective=float(0.02 * paid.sum()),
        lower_bound=float(0.02 * paid.sum() * (1 - 2e-7)),
        currency=currency,
        provenance={
            "seed": 1,
            "scenarios": {"count": 4000, "sha256": "9f" * 32},
            "solver": {"name": "HIGHS", "attempts": ["HIGHS: optimal in 1.2 s"]},
            "versions": {"calibrate": "0.1.0", "numpy": np.__version__},
            "time": "2026-11-22T23:00:00+00:00",
        },
    )


@pytest.fixture
def calibration_of():
    return make
