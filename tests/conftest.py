"""A small pool of a user's own, as files: three members, 24 months."""

import numpy as np
import pandas as pd
import pytest

collect_ignore_glob = ["benchmarks/*"]  # scripts, which may import each other and packages that are not installed

CONFIG = """
[data]
events = "losses.csv"
date = "when"
member = "who"
loss = "usd"
exposures = "exposures.csv"
start = 2024-01-01
end = 2025-12-31

[model]
severity = "LogNormal"
frequency = "Poisson"
dependence = "Independent"

[program]
waterfall = ["OwnContribution", "PoolReserve"]

[[program.minimise]]
term = "CostOfCapital"
contributions = 0.02
reserves = 0.03

[[program.minimise]]
term = "CVaR"
level = 0.95
of = "mutualised"
price = 0.2

[[rules]]
rule = "ActuarialFairness"
band = 0.5

[run]
n_scenarios = 200
n_out_of_sample = 2500
seed = 7
"""


def _write_pool(folder, config=CONFIG, members=("A", "B", "C"), seed=0):
    """Write the pool's files and its configuration; the path of the latter."""
    rng = np.random.default_rng(seed)
    months = pd.period_range("2024-01", "2025-12", freq="M")
    events = pd.DataFrame(
        [
            (f"{month}-{rng.integers(1, 29):02d}", member, round(float(np.exp(rng.normal(10, 0.8))), 2))
            for month in months
            for member in members
            for _ in range(rng.poisson(1.5))
        ],
        columns=["when", "who", "usd"],
    )
    exposures = pd.DataFrame({member: 1e6 * (k + 1) for k, member in enumerate(members)}, index=months)
    folder.mkdir(parents=True, exist_ok=True)
    events.to_csv(folder / "losses.csv", index=False)
    exposures.to_csv(folder / "exposures.csv", index_label="month")
    path = folder / "pool.toml"
    path.write_text(config, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def pool_config():
    """The text of the pool's configuration."""
    return CONFIG


@pytest.fixture(scope="session")
def write_pool():
    """`write_pool(folder, config, members, seed)` writes the files and returns the path of the configuration."""
    return _write_pool
